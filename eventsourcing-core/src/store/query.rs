//! What can be read: ranges of a stream, pages of the log, state to load.

use super::{
    Epoch, Fingerprint, LoadedEvent, Name, Position, StoredEvent, StoredSnapshot, StreamId, Version,
};

/// Which end of a range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forwards,
    /// Newest first.
    Backwards,
}

/// A range of one stream. Both ends are inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamQuery {
    /// Which stream.
    pub stream: StreamId,
    /// The lowest version wanted.
    pub from: Version,
    /// The highest version wanted.
    pub to: Version,
    /// How many events at most.
    pub limit: usize,
    /// Which end comes first, and so which end a limit keeps.
    pub direction: Direction,
}

impl StreamQuery {
    /// The whole stream, oldest first.
    #[must_use]
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            from: Version::ZERO,
            to: Version::MAX,
            limit: usize::MAX,
            direction: Direction::Forwards,
        }
    }

    /// Nothing before `version`.
    #[must_use]
    pub fn from(mut self, version: Version) -> Self {
        self.from = version;
        self
    }

    /// Nothing after `version`.
    #[must_use]
    pub fn to(mut self, version: Version) -> Self {
        self.to = version;
        self
    }

    /// At most `events` events.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events;
        self
    }

    /// Newest first.
    #[must_use]
    pub fn backwards(mut self) -> Self {
        self.direction = Direction::Backwards;
        self
    }
}

/// Which events of the log are wanted. An empty list wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only events of these categories.
    pub categories: Vec<Name>,
    /// Only events of these names.
    pub names: Vec<Name>,
    /// Only the first event of each stream, which is one event for each aggregate there is.
    pub first_of_stream: bool,
}

impl Filter {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether `event` is wanted.
    #[must_use]
    pub fn allows(&self, event: &StoredEvent) -> bool {
        (self.categories.is_empty() || self.categories.contains(&event.stream.category))
            && (self.names.is_empty() || self.names.contains(&event.name))
            && (!self.first_of_stream || event.version == Version::FIRST)
    }
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Only events after this position.
    pub after: Position,
    /// How many events at most; at least 1.
    pub limit: usize,
    /// Which events.
    pub filter: Filter,
    /// The epoch in which `after` was learnt; in another one nothing is read. `None`: the position is valid in any.
    pub epoch: Option<Epoch>,
    /// Up to here the caller knows that no event can appear any more: a follower's step to this position has been
    /// recorded, or a page has had this ceiling. The page reaches at least this position, unless its limit ends it
    /// before, also if this store handle has not learnt yet that it is decided.
    pub decided: Position,
}

impl LogQuery {
    /// How many events a page has unless [`limit`](Self::limit) says otherwise.
    pub const LIMIT_DEFAULT: usize = 500;

    /// The events after `position`.
    #[must_use]
    pub fn after(position: Position) -> Self {
        let decided = Position::ZERO;
        Self {
            after: position,
            limit: Self::LIMIT_DEFAULT,
            filter: Filter::all(),
            epoch: None,
            decided,
        }
    }

    /// At most `events` events; 0 counts as 1, so that following ceilings always moves on.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events.max(1);
        self
    }

    /// Only events of these categories, besides those named before.
    #[must_use]
    pub fn categories<N: Into<Name>>(mut self, categories: impl IntoIterator<Item = N>) -> Self {
        self.filter
            .categories
            .extend(categories.into_iter().map(Into::into));
        self
    }

    /// Only events of these names, besides those named before.
    #[must_use]
    pub fn names<N: Into<Name>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.filter.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Only the first event of each stream.
    #[must_use]
    pub fn first_of_stream(mut self) -> Self {
        self.filter.first_of_stream = true;
        self
    }

    /// Reads only in this epoch.
    #[must_use]
    pub fn in_epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// The caller knows that no event can appear up to `position`, as [`decided`](Self::decided) says.
    #[must_use]
    pub fn decided_up_to(mut self, position: Position) -> Self {
        self.decided = position;
        self
    }
}

/// Events of the log, and how far the page reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The wanted events, in order of position.
    pub events: Vec<StoredEvent>,
    /// Every wanted event up to here is in this page or an earlier one, and none will appear later. Continue
    /// after it. It moves over events the filter left out, and is never before the position asked for.
    pub ceiling: Position,
    /// The epoch in which it was read: positions are valid in it.
    pub epoch: Epoch,
}

/// What is needed to bring an aggregate to life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which stream.
    pub stream: StreamId,
    /// Only what comes after this version.
    pub after: Version,
    /// The last event wanted.
    pub to: Version,
    /// Which snapshots may be used; `None` reads every event.
    pub fingerprint: Option<Fingerprint>,
    /// How many events to read at most.
    pub limit: usize,
}

impl Load {
    /// All events of `stream`.
    #[must_use]
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            after: Version::ZERO,
            to: Version::MAX,
            fingerprint: None,
            limit: usize::MAX,
        }
    }

    /// Only what comes after `version`.
    #[must_use]
    pub fn after(self, version: Version) -> Self {
        Self {
            after: version,
            ..self
        }
    }

    /// Nothing after `version`.
    #[must_use]
    pub fn to(self, version: Version) -> Self {
        Self {
            to: version,
            ..self
        }
    }

    /// Instead of what a snapshot with this fingerprint shows, the snapshot.
    #[must_use]
    pub fn with_snapshot(self, fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint: Some(fingerprint),
            ..self
        }
    }

    /// At most `events` events, the oldest of those wanted. To go on, ask for what comes after the last one.
    #[must_use]
    pub fn limit(self, events: usize) -> Self {
        Self {
            limit: events,
            ..self
        }
    }
}

/// A snapshot, if there is one, and the events after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest snapshot that may be used.
    pub snapshot: Option<StoredSnapshot>,
    /// Exactly the events after the snapshot, or all, oldest first; no more than asked for.
    pub events: Vec<LoadedEvent>,
}
