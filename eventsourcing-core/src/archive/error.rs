//! What keeps an archive from being written or read.

use std::io;

use crate::store::{Name, StoreError};

/// Why an export or import did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file is not an archive, was cut off, or was changed.
    #[error("line {line}: {reason}")]
    Line {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An import into a store that has something else in it. Nothing was written.
    #[error("the store is not empty: {reason}; import into an empty one")]
    NotEmpty {
        /// What is there.
        reason: String,
    },
    /// This import was finished before. Nothing was written.
    #[error("this archive is in the store already")]
    Finished,
    /// Somebody runs a follower of the store: its policies must not deal with what is being imported, or are never at rest
    /// so that it could be seen what they have dealt with.
    #[error("{follower} is at work; stop the programs that run it, and try again")]
    AtWork {
        /// Who.
        follower: Name,
    },
    /// What is in the store is not what is in the file. The store stays marked as unfinished.
    #[error(
        "the store has not become what the file says: {reason}; begin anew with an empty store"
    )]
    Different {
        /// What differs.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("the archive cannot be read or written: {0}")]
    File(#[source] io::Error),
    /// The store failed. An import goes on where it was when it is run again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    pub(super) fn line(line: u64, reason: impl ToString) -> Self {
        Self::Line {
            line,
            reason: reason.to_string(),
        }
    }
}
