//! Where followers are: their steps, and the notes they keep.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::{invalid, validate_name, validate_size};
use super::{Epoch, EventRef, LeaseToken, LogId, Name, Position, StoreError};

/// The longest key of a note, in bytes.
pub const NOTE_KEY_BYTES_MAX: usize = 512;
/// The largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A follower's step from one position of an upstream log to a later one, or to the same one if only its notes change. Promises
/// P20 and P21.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// Who steps.
    pub follower: Name,
    /// The log that is followed.
    pub upstream: LogId,
    /// Where the follower must be; elsewhere nothing is written.
    pub from: Position,
    /// Where it is afterwards. Not before `from`, unless the step [goes back](Self::goes_back).
    pub to: Position,
    /// Permits the step to end before it begins: the follower accepts that its log was restored to an earlier moment.
    pub goes_back: bool,
    /// The lease it is made under; with an outdated one nothing is written. `None`: under none, and then only `from`
    /// keeps two runners of one follower from doing the same work.
    pub lease: Option<LeaseToken>,
    /// How many steps the follower must have made before this one; otherwise nothing is written. `None`: any number,
    /// and then a step that only changed notes meanwhile is not noticed.
    pub revision: Option<Revision>,
    /// The last event of the upstream log that the follower has seen. `None` keeps the one that is stored.
    pub last_event: Option<EventRef>,
    /// The cut into partitions that the step relies on; with another one nothing is written. The first step that names a cut
    /// records it. `None`: the step relies on none.
    pub cut: Option<Cut>,
    /// Notes to keep from now on, by their keys, or to forget (`None`). They are written with the step or not at all.
    pub notes: BTreeMap<String, Option<String>>,
    /// The epoch in which the step was decided; in another one nothing is written. `None`: it relies on nothing that was read.
    pub epoch: Option<Epoch>,
}

impl Tracking {
    /// A step under no lease that leaves the notes as they are.
    #[must_use]
    pub fn new(follower: impl Into<Name>, upstream: LogId, from: Position, to: Position) -> Self {
        Self {
            follower: follower.into(),
            upstream,
            from,
            to,
            goes_back: false,
            lease: None,
            revision: None,
            last_event: None,
            cut: None,
            notes: BTreeMap::new(),
            epoch: None,
        }
    }

    /// Permits the step to end before it begins.
    #[must_use]
    pub fn going_back(self) -> Self {
        Self {
            goes_back: true,
            ..self
        }
    }

    /// Under a lease, or under none.
    #[must_use]
    pub fn with_lease(mut self, lease: impl Into<Option<LeaseToken>>) -> Self {
        self.lease = lease.into();
        self
    }

    /// On the condition that the follower has made so many steps.
    #[must_use]
    pub fn with_revision(mut self, revision: impl Into<Option<Revision>>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Stores `event` as the last one that the follower has seen, if it is known.
    #[must_use]
    pub fn with_last_event(mut self, event: impl Into<Option<EventRef>>) -> Self {
        self.last_event = event.into();
        self
    }

    /// Makes the step on the condition that the whole follower is cut like this, or not cut yet.
    #[must_use]
    pub fn with_cut(mut self, cut: impl Into<Option<Cut>>) -> Self {
        self.cut = cut.into();
        self
    }

    /// Makes the step only in this epoch of the follower's home.
    #[must_use]
    pub fn in_epoch(mut self, epoch: impl Into<Option<Epoch>>) -> Self {
        self.epoch = epoch.into();
        self
    }

    /// Keeps `value` as the note of this key from now on.
    #[must_use]
    pub fn with_note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.notes.insert(key.into(), Some(value.into()));
        self
    }

    /// Forgets the note of this key, if there is one.
    #[must_use]
    pub fn without_note(mut self, key: impl Into<String>) -> Self {
        self.notes.insert(key.into(), None);
        self
    }

    /// Checks what no store has to look into its data for. Every store calls it before anything else.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: the step goes back and does not say so, names an impossible cut, or exceeds a limit.
    pub fn validate(&self) -> Result<(), StoreError> {
        validate_name("follower", &self.follower)?;
        let Self {
            follower, from, to, ..
        } = self;
        if to < from && !self.goes_back {
            return Err(invalid(format!(
                "follower {follower} cannot step back from position {from} to {to}"
            )));
        }
        self.cut.iter().try_for_each(Cut::validate)?;
        self.notes
            .iter()
            .try_for_each(|(key, value)| validate_note(key, value.as_deref()))
    }
}

/// The cut of a follower into partitions, each with a position of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The whole follower.
    pub follower: Name,
    /// The number of its partitions, at least 1.
    pub partitions: u32,
}

impl Cut {
    /// The most partitions that a follower can be cut into.
    pub const PARTITIONS_MAX: u32 = i32::MAX as u32;

    /// The cut of `follower` into `partitions`.
    #[must_use]
    pub fn new(follower: impl Into<Name>, partitions: u32) -> Self {
        Self {
            follower: follower.into(),
            partitions,
        }
    }

    fn validate(&self) -> Result<(), StoreError> {
        validate_name("follower", &self.follower)?;
        if (1..=Self::PARTITIONS_MAX).contains(&self.partitions) {
            return Ok(());
        }
        let Self {
            follower,
            partitions,
        } = self;
        Err(invalid(format!(
            "follower {follower} cannot be cut into {partitions} partitions"
        )))
    }
}

fn validate_note(key: &str, value: Option<&str>) -> Result<(), StoreError> {
    if key.is_empty() || key.contains('\0') || value.is_some_and(|value| value.contains('\0')) {
        return Err(invalid("a note has a key, and no NUL character"));
    }
    validate_size("key of a note", key.as_bytes(), NOTE_KEY_BYTES_MAX)?;
    validate_size("note", value.unwrap_or_default().as_bytes(), NOTE_BYTES_MAX)
}

/// How many steps a follower has made in a log. Tells apart what its notes were at different times.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Of a follower that has never been seen.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// After one more step.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which notes of a follower are wanted: those whose keys begin with `prefix`, in the order of the bytes of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotesQuery {
    /// Whose notes.
    pub follower: Name,
    /// Of its work in this log.
    pub upstream: LogId,
    /// How their keys begin; empty for all.
    pub prefix: String,
    /// Only keys after this one; empty for the first page.
    pub after: String,
    /// How many at most.
    pub limit: usize,
}

impl NotesQuery {
    /// All notes whose keys begin with `prefix`.
    #[must_use]
    pub fn new(follower: Name, upstream: LogId, prefix: impl Into<String>) -> Self {
        Self {
            follower,
            upstream,
            prefix: prefix.into(),
            after: String::new(),
            limit: usize::MAX,
        }
    }

    /// Only keys after this one.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = key.into();
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, notes: usize) -> Self {
        self.limit = notes;
        self
    }
}

/// A page of the followers of a store, in the order of the bytes of their names, and under one name in that of the ids of
/// the logs they follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowersQuery {
    /// Only those after this one; `None` for the first page.
    pub after: Option<(Name, LogId)>,
    /// The number of followers at most.
    pub limit: usize,
}

impl FollowersQuery {
    /// All followers.
    #[must_use]
    pub fn all() -> Self {
        Self {
            after: None,
            limit: usize::MAX,
        }
    }

    /// Only those after this follower of this log.
    #[must_use]
    pub fn after(self, follower: Name, upstream: LogId) -> Self {
        Self {
            after: Some((follower, upstream)),
            ..self
        }
    }

    /// At most this number of followers.
    #[must_use]
    pub fn limit(self, followers: usize) -> Self {
        Self {
            limit: followers,
            ..self
        }
    }
}

/// A follower that has made a step in a log, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerPosition {
    /// The follower, as its steps name it.
    pub follower: Name,
    /// The log it follows.
    pub upstream: LogId,
    /// Its position in the log.
    pub position: Position,
    /// The number of steps it has made.
    pub revision: Revision,
}

/// Where a follower is and what it has noted, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowerNotes {
    /// Where it is.
    pub position: Position,
    /// How many steps it has made.
    pub revision: Revision,
    /// The last event that a step has named as seen; `None` if no step has.
    pub last_event: Option<EventRef>,
    /// The number of partitions that the follower of this name is cut into, if a step has recorded it.
    pub partitions: Option<u32>,
    /// The notes that were asked for.
    pub notes: BTreeMap<String, String>,
}
