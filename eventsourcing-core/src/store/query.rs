//! The read requests of a store: ranges of a stream, pages of the log, state to load.

use super::{
    Epoch, Fingerprint, LoadedEvent, Name, Position, StoredEvent, StoredSnapshot, StreamId, Version,
};

/// The order of a range.
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
    /// The stream to read.
    pub stream: StreamId,
    /// The lowest version in the answer.
    pub from: Version,
    /// The highest version in the answer.
    pub to: Version,
    /// The largest number of events in the answer.
    pub limit: usize,
    /// The order of the events. It also decides which end a limit keeps.
    pub direction: Direction,
}

impl StreamQuery {
    /// Selects the whole stream, oldest first.
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

    /// Selects nothing before `version`.
    #[must_use]
    pub fn from(mut self, version: Version) -> Self {
        self.from = version;
        self
    }

    /// Selects nothing after `version`.
    #[must_use]
    pub fn to(mut self, version: Version) -> Self {
        self.to = version;
        self
    }

    /// Returns at most `events` events.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events;
        self
    }

    /// Returns the newest event first.
    #[must_use]
    pub fn backwards(mut self) -> Self {
        self.direction = Direction::Backwards;
        self
    }
}

/// Selects events of the log. An empty list selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only events of these categories.
    pub categories: Vec<Name>,
    /// Only events of these names.
    pub names: Vec<Name>,
    /// Only the first event of each stream, which is one event for each aggregate.
    pub first_of_stream: bool,
}

impl Filter {
    /// Selects every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Returns `true` if `event` is selected.
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
    /// The largest number of events in the page; at least 1.
    pub limit: usize,
    /// The events to select.
    pub filter: Filter,
    /// The epoch in which `after` was read; in another one nothing is read. `None`: the position is
    /// valid in any.
    pub epoch: Option<Epoch>,
    /// A position up to which the caller knows that no event can appear any more: a follower's step
    /// to it has been recorded, or a page has had this ceiling. The page reaches at least this
    /// position, unless its limit ends it before, also if this store handle does not know yet that
    /// it is decided.
    pub decided: Position,
}

impl LogQuery {
    /// The number of events in a page unless [`limit`](Self::limit) sets another one.
    pub const LIMIT_DEFAULT: usize = 500;

    /// Selects the events after `position`.
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

    /// Returns at most `events` events; 0 counts as 1, so that following ceilings always advances.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events.max(1);
        self
    }

    /// Adds categories to those named before; only events of these are selected.
    #[must_use]
    pub fn categories<N: Into<Name>>(mut self, categories: impl IntoIterator<Item = N>) -> Self {
        self.filter
            .categories
            .extend(categories.into_iter().map(Into::into));
        self
    }

    /// Adds event names to those named before; only events of these are selected.
    #[must_use]
    pub fn names<N: Into<Name>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.filter.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Selects only the first event of each stream.
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

    /// States that no event can appear up to `position`, as [`decided`](Self::decided) describes.
    #[must_use]
    pub fn decided_up_to(mut self, position: Position) -> Self {
        self.decided = position;
        self
    }
}

/// Events of the log, and the position up to which the page is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The selected events, in order of position.
    pub events: Vec<StoredEvent>,
    /// Every selected event up to here is in this page or an earlier one, and none will appear
    /// later. Continue after it. The ceiling moves past events that the filter left out, and is
    /// never before the position asked for.
    pub ceiling: Position,
    /// The epoch in which the page was read: its positions are valid in this epoch.
    pub epoch: Epoch,
}

/// A request for the state of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The stream of the aggregate.
    pub stream: StreamId,
    /// Only events after this version.
    pub after: Version,
    /// The last version to read.
    pub to: Version,
    /// The fingerprint of snapshots that may be used; `None` reads every event.
    pub fingerprint: Option<Fingerprint>,
    /// The largest number of events in the answer.
    pub limit: usize,
}

impl Load {
    /// Requests all events of `stream`.
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

    /// Requests only events after `version`.
    #[must_use]
    pub fn after(self, version: Version) -> Self {
        Self {
            after: version,
            ..self
        }
    }

    /// Requests nothing after `version`.
    #[must_use]
    pub fn to(self, version: Version) -> Self {
        Self {
            to: version,
            ..self
        }
    }

    /// Allows a snapshot with this fingerprint in place of the events up to its version.
    #[must_use]
    pub fn with_snapshot(self, fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint: Some(fingerprint),
            ..self
        }
    }

    /// Returns at most `events` events, the oldest of those requested. To continue, request the
    /// events after the last one.
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
    /// The newest usable snapshot.
    pub snapshot: Option<StoredSnapshot>,
    /// Exactly the events after the snapshot, or all, oldest first; not more than requested.
    pub events: Vec<LoadedEvent>,
}
