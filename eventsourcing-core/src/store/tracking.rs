//! The steps of followers, their positions, and the notes they keep.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::{invalid, validate_name, validate_size};
use super::{Epoch, EventRef, LeaseToken, LogId, Name, Position, StoreError};

/// The longest key of a note, in bytes.
pub const NOTE_KEY_BYTES_MAX: usize = 512;
/// The largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A follower's step from one position of an upstream log to a later one, or to the same one if
/// only its notes change. Promises P20 and P21.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// The follower that makes the step.
    pub follower: Name,
    /// The log that is followed.
    pub upstream: LogId,
    /// The position at which the follower must be; at another one nothing is written.
    pub from: Position,
    /// The position after the step. Not before `from`, unless the step [goes
    /// back](Self::goes_back).
    pub to: Position,
    /// Permits the step to end before it begins: the follower accepts that its log was restored to
    /// an earlier moment.
    pub goes_back: bool,
    /// The lease under which the step is made; with an outdated one nothing is written. `None`:
    /// under none, and then only `from` keeps two runners of one follower from doing the same work.
    pub lease: Option<LeaseToken>,
    /// The number of steps that the follower must have made before this one; with another one
    /// nothing is written. `None`: any number, and then a step that only changed notes in between
    /// is not noticed.
    pub revision: Option<Revision>,
    /// The last event of the upstream log that the follower has seen. `None` keeps the one that is
    /// stored.
    pub last_event: Option<EventRef>,
    /// The cut into partitions that the step relies on; with another one nothing is written. The
    /// first step that names a cut records it. `None`: the step relies on none.
    pub cut: Option<Cut>,
    /// The notes to store, by their keys, or to delete (`None`). They are written with the step or
    /// not at all.
    pub notes: BTreeMap<String, Option<String>>,
    /// The epoch in which the step was decided; in another one nothing is written. `None`: the step
    /// relies on nothing that was read.
    pub epoch: Option<Epoch>,
}

impl Tracking {
    /// Returns a step under no lease that leaves the notes as they are.
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

    /// Makes the step under a lease, or under none.
    #[must_use]
    pub fn with_lease(mut self, lease: impl Into<Option<LeaseToken>>) -> Self {
        self.lease = lease.into();
        self
    }

    /// Makes the step on the condition that the follower has made this number of steps.
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

    /// Stores `value` as the note of this key.
    #[must_use]
    pub fn with_note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.notes.insert(key.into(), Some(value.into()));
        self
    }

    /// Deletes the note of this key, if there is one.
    #[must_use]
    pub fn without_note(mut self, key: impl Into<String>) -> Self {
        self.notes.insert(key.into(), None);
        self
    }

    /// Checks everything that does not depend on stored data. Every store calls this first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: the step goes back and does not say so, names an impossible cut, or
    /// exceeds a limit.
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
    /// The largest number of partitions of a follower.
    pub const PARTITIONS_MAX: u32 = i32::MAX as u32;

    /// Returns the cut of `follower` into `partitions`.
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

/// The number of steps that a follower has made in a log. It tells apart the states of its notes
/// over time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a follower that was never seen.
    pub const ZERO: Self = Self(0);

    /// Returns the revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the revision after one more step.
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

/// Selects the notes of a follower whose keys begin with `prefix`, in the byte order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotesQuery {
    /// The follower whose notes are read.
    pub follower: Name,
    /// The log in which the follower made the notes.
    pub upstream: LogId,
    /// The beginning of the keys; empty for all.
    pub prefix: String,
    /// Only keys after this one; empty for the first page.
    pub after: String,
    /// The largest number of notes in the answer.
    pub limit: usize,
}

impl NotesQuery {
    /// Selects all notes whose keys begin with `prefix`.
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

    /// Selects only keys after this one.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = key.into();
        self
    }

    /// Returns at most `notes` notes.
    #[must_use]
    pub fn limit(mut self, notes: usize) -> Self {
        self.limit = notes;
        self
    }
}

/// A page of the followers of a store, in the byte order of their names, and under one name in that
/// of the ids of the logs they follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowersQuery {
    /// Only followers after this one; `None` for the first page.
    pub after: Option<(Name, LogId)>,
    /// The largest number of followers in the answer.
    pub limit: usize,
}

impl FollowersQuery {
    /// Selects all followers.
    #[must_use]
    pub fn all() -> Self {
        Self {
            after: None,
            limit: usize::MAX,
        }
    }

    /// Selects only followers after this one of this log.
    #[must_use]
    pub fn after(self, follower: Name, upstream: LogId) -> Self {
        Self {
            after: Some((follower, upstream)),
            ..self
        }
    }

    /// Returns at most `followers` followers.
    #[must_use]
    pub fn limit(self, followers: usize) -> Self {
        Self {
            limit: followers,
            ..self
        }
    }
}

/// A follower that has made a step in a log, with its position.
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

/// The position and the notes of a follower, from one consistent view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowerNotes {
    /// The position of the follower.
    pub position: Position,
    /// The number of steps that the follower has made.
    pub revision: Revision,
    /// The last event that a step has named as seen; `None` if no step has.
    pub last_event: Option<EventRef>,
    /// The number of partitions that the follower of this name is cut into, if a step has recorded
    /// it.
    pub partitions: Option<u32>,
    /// The selected notes.
    pub notes: BTreeMap<String, String>,
}
