//! The errors of a store, split by what the caller does next.

use std::error::Error;
use std::fmt;

use super::{
    Epoch, EventIdentity, Expected, LeaseToken, LogId, Name, Position, Receipt, StreamId, Version,
};

/// The source of an error, of any type.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The reason why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Decide again: a stream is not as expected. Nothing was written.
    #[error("stream {stream} is at version {actual}, expected {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The state of the stream that the append required.
        expected: Expected,
        /// The version of the last event.
        actual: Version,
    },
    /// Read again from `actual`: another process moved the follower. Nothing was written.
    #[error("follower {follower} is at position {actual}, expected {expected}")]
    TrackingConflict {
        /// The follower.
        follower: Name,
        /// The position that the step started from.
        expected: Position,
        /// The position of the follower.
        actual: Position,
    },
    /// Stop: another process runs the follower by now. Nothing was written.
    #[error("follower {follower} is leased with token {current}, the step was made with {token}")]
    LeaseLost {
        /// The follower.
        follower: Name,
        /// The token of the step.
        token: LeaseToken,
        /// The token of the current or last holder of the lease.
        current: LeaseToken,
    },
    /// Stop: the follower is cut into another number of partitions than the step relies on. Nothing
    /// was written.
    #[error("follower {follower} is cut into {actual} partitions, the step relies on {expected}")]
    CutChanged {
        /// The whole follower.
        follower: Name,
        /// The number of partitions the step relies on.
        expected: u32,
        /// The number of partitions that is recorded.
        actual: u32,
    },
    /// Load and decide again: events may have been lost since the named epoch. Nothing was written.
    #[error(
        "the log may have lost events since they were read (epoch {asked}, now {current}); load and decide again"
    )]
    OutdatedEpoch {
        /// The epoch that the request named.
        asked: Epoch,
        /// The current epoch.
        current: Epoch,
    },
    /// Answer these commands with their receipts, and decide the others of the append again: these were answered before. Nothing
    /// was written. Only an append that several commands share ends in it.
    #[error(
        "{} of the commands that share the append were answered before; answer them with their receipts, and decide the \
         others again",
        receipts.len()
    )]
    Repeated {
        /// The first receipts of the commands that were answered before, in the order of the append.
        receipts: Vec<Receipt>,
    },
    /// Stop: the log no longer has the events that were read from it. Its server has lost commits,
    /// or an older copy was restored.
    #[error(
        "log {log} went back: {}, and it ends at position {end}; its server has lost commits or was restored to an \
         earlier moment, so compare what was done because of the lost events before you go on",
        Lost { position: *position, known: *known, found: *found }
    )]
    LogWentBack {
        /// The log.
        log: LogId,
        /// The position up to which the log was read.
        position: Position,
        /// The event that was read there; `None` if only the position is known.
        known: Option<EventIdentity>,
        /// The event that is there now.
        found: Option<EventIdentity>,
        /// The position of the last event in the log now.
        end: Position,
    },
    /// Wait and retry: the store cannot be reached or is overloaded. `written` tells what is known
    /// of the append; if it is known that nothing was written, a retry is safe. With a command id a
    /// retry is always safe.
    #[error("the store is unavailable: {reason}{written}")]
    Unavailable {
        /// The operation that failed.
        reason: String,
        /// The knowledge about the write. Only this field has it: no `reason` says anything about
        /// it.
        written: Written,
        /// The error of the driver.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Call a human: stored data cannot be understood. Nothing was written.
    #[error("the store is corrupt: {reason}")]
    Corrupt {
        /// The fault and its place.
        reason: String,
        /// The error of the decoder or driver.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Use a newer release: it may be able to read data that this one does not know. Nothing was
    /// written.
    #[error("{reason}")]
    Newer {
        /// The data that this release cannot read.
        reason: String,
        /// The error that names the unknown name or version.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Create a store there, or correct the address: a store that must exist is not there. Nothing
    /// was created.
    #[error("{reason}")]
    NoStore {
        /// The place where the store was expected.
        reason: String,
    },
    /// Fix the program: this can never succeed. Nothing was written.
    #[error("invalid: {reason}")]
    Invalid {
        /// The mistake, and what to do instead.
        reason: String,
    },
}

/// The knowledge about an append, or a transaction, that ended in [`StoreError::Unavailable`].
///
/// It is about one attempt. A command with an id may have had other attempts, of which the store of
/// the last one knows nothing: so an attempt that wrote nothing proves nothing about the command,
/// unless it was the only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// The attempt may have written, or there was nothing to write.
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
    /// Returns the error of a store that cannot be reached because of `source`. Nothing is known
    /// about the write.
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

    /// Adds the knowledge that the attempt wrote nothing.
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

    /// Converts an error that occurred after the commit had begun. The commit may have happened,
    /// and every other kind of error would claim that nothing was written, so each becomes
    /// `Unavailable`.
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

    /// Returns the error of stored data that cannot be understood because of `source`.
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

/// A missing event, for the text of an error.
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
