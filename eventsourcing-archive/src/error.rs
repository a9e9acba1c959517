//! The errors of an export or import.

use std::io;

use eventsourcing_core::store::{Name, StoreError};

/// The reason why an export or import did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file is not an archive, was cut off, or was changed.
    #[error("line {line}: {reason}")]
    Line {
        /// The number of the line, from 1.
        line: u64,
        /// The fault of the line.
        reason: String,
    },
    /// The store of an import is not empty. Nothing was written.
    #[error("the store is not empty: {reason}; import into an empty one")]
    NotEmpty {
        /// The contents that were found.
        reason: String,
    },
    /// This import was finished before. Nothing was written.
    #[error("this archive is in the store already")]
    Finished,
    /// A process runs a follower of the store. During an import its policies would process the
    /// imported events; during an export they never rested long enough for a consistent cut.
    #[error("follower {follower} is running; stop the programs that run it, and try again")]
    AtWork {
        /// The follower.
        follower: Name,
    },
    /// The contents of the store differ from those of the file. The store stays marked as
    /// unfinished.
    #[error("the store differs from the archive: {reason}; start again with an empty store")]
    Different {
        /// The difference.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("the archive cannot be read or written: {0}")]
    File(#[source] io::Error),
    /// The store failed. An import continues where it was when it is run again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    pub(crate) fn line(line: u64, reason: impl ToString) -> Self {
        Self::Line {
            line,
            reason: reason.to_string(),
        }
    }
}
