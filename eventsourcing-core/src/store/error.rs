//! What can go wrong in a store, split by what the caller does next.

use std::error::Error;
use std::fmt;

use super::{Epoch, EventIdentity, Expected, LeaseToken, LogId, Name, Position, StreamId, Version};

/// The source of an error, of any type.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Decide again: a stream is not as expected. Nothing was written.
    #[error("stream {stream} is at version {actual}, expected {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the append required.
        expected: Expected,
        /// The version of its last event.
        actual: Version,
    },
    /// Read again from `actual`: somebody else moved the follower. Nothing was written.
    #[error("follower {follower} is at position {actual}, expected {expected}")]
    TrackingConflict {
        /// The follower.
        follower: Name,
        /// Where the append wanted to start from.
        expected: Position,
        /// Where the follower is.
        actual: Position,
    },
    /// Stop: somebody else runs the follower by now. Nothing was written.
    #[error("follower {follower} is leased with token {current}, the step was made with {token}")]
    LeaseLost {
        /// The follower.
        follower: Name,
        /// The token of the step.
        token: LeaseToken,
        /// The token of whoever holds or last held the lease.
        current: LeaseToken,
    },
    /// Stop: the follower is cut into another number of partitions than the step relies on. Nothing was written.
    #[error("follower {follower} is cut into {actual} partitions, the step relies on {expected}")]
    CutChanged {
        /// The whole follower.
        follower: Name,
        /// The number of partitions the step relies on.
        expected: u32,
        /// The number of partitions that is recorded.
        actual: u32,
    },
    /// Load and decide again: events may have been lost since the epoch that was named. Nothing was written.
    #[error(
        "the log may have lost events since they were read (epoch {asked}, now {current}); load and decide again"
    )]
    OutdatedEpoch {
        /// The epoch of what was asked.
        asked: Epoch,
        /// The epoch it is now.
        current: Epoch,
    },
    /// Stop: the log no longer has what was read from it. Its server has lost commits, or an older copy was restored.
    #[error(
        "log {log} went back: {}, and it ends at position {end}; its server has lost commits or was restored to an \
         earlier moment, so compare what was done because of the lost events before you go on",
        Lost { position: *position, known: *known, found: *found }
    )]
    LogWentBack {
        /// The log.
        log: LogId,
        /// The position up to which it was read.
        position: Position,
        /// The event that was read there; `None` if only the position is known.
        known: Option<EventIdentity>,
        /// The event that is there now.
        found: Option<EventIdentity>,
        /// The position of the last event it has now.
        end: Position,
    },
    /// Wait and retry: the store cannot be reached or is overloaded. `written` says what is known of the append; where
    /// that is nothing, a retry with the same command id is safe.
    #[error("the store is unavailable: {reason}{written}")]
    Unavailable {
        /// What was tried.
        reason: String,
        /// What is known of what was to be written. The one place for that: no `reason` says anything of it.
        written: Written,
        /// What the driver said.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Call a human: what is stored cannot be understood. Nothing was written.
    #[error("the store is corrupt: {reason}")]
    Corrupt {
        /// What is wrong, and where.
        reason: String,
        /// What the decoder or driver said.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Ask a newer release: it may be able to read what this one does not know. Nothing was written.
    #[error("{reason}")]
    Newer {
        /// What this release cannot read.
        reason: String,
        /// What it does not know.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Create a store there, or correct the address: a store that must exist is not there. Nothing was made.
    #[error("{reason}")]
    NoStore {
        /// The place that was looked at.
        reason: String,
    },
    /// Fix the program: this can never succeed. Nothing was written.
    #[error("invalid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// What is known of the append, or of the transaction, that ended in [`StoreError::Unavailable`].
///
/// It speaks of one attempt. A command with an id may have had others, of which the store of the last attempt knows
/// nothing: so an attempt that wrote nothing proves nothing about the command, unless it was the only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// It is not known whether it was written, or nothing was to be written.
    #[default]
    Unknown,
    /// This attempt wrote nothing, and never will.
    Nothing,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "",
            Self::Nothing => "; this attempt wrote nothing",
        })
    }
}

impl StoreError {
    /// The store cannot be reached, because of `source`. Nothing is known of what was to be written.
    pub fn unavailable(
        reason: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            written: Written::Unknown,
            source: Some(source.into()),
        }
    }

    /// The same error, where it is known that the attempt wrote nothing.
    #[must_use]
    pub fn before_commit(self) -> Self {
        match self {
            Self::Unavailable { reason, source, .. } => Self::Unavailable {
                reason,
                written: Written::Nothing,
                source,
            },
            other => other,
        }
    }

    /// The same error, where the commit had begun and may have happened: whatever the reason is, it is not known whether
    /// anything was written, and every other kind of error would claim that nothing was.
    #[must_use]
    pub fn at_commit(self) -> Self {
        match self {
            Self::Unavailable { reason, source, .. } => Self::Unavailable {
                reason,
                written: Written::Unknown,
                source,
            },
            other => Self::unavailable(other.to_string(), other),
        }
    }

    /// Returns `true` if the attempt that ended in this error is known to have written nothing.
    #[must_use]
    pub fn proves_nothing_written(&self) -> bool {
        !matches!(
            self,
            Self::Unavailable {
                written: Written::Unknown,
                ..
            }
        )
    }

    /// What is stored cannot be understood, because of `source`.
    pub fn corrupt(
        reason: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }
}

/// The missing event, in words.
struct Lost {
    position: Position,
    known: Option<EventIdentity>,
    found: Option<EventIdentity>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.position;
        match (self.known, self.found) {
            (Some(known), Some(found)) => {
                write!(
                    f,
                    "at position {position} stood event {known}, and event {found} is there now"
                )
            }
            (Some(known), None) => write!(f, "event {known}, read at position {position}, is gone"),
            (None, _) => write!(f, "it was read up to position {position}"),
        }
    }
}
