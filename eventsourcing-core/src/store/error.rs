//! What can go wrong in a store, split by what the caller does next.

use std::error::Error;

use super::{Expected, LeaseToken, Name, Position, StreamId, Version};

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
    /// Wait and retry: the store cannot be reached or is overloaded. Whether anything was written is not known;
    /// a retry with the same command id is safe.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What was tried.
        reason: String,
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
    /// Fix the program: this can never succeed. Nothing was written.
    #[error("invalid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

impl StoreError {
    /// The store cannot be reached, because of `source`.
    pub fn unavailable(reason: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { reason: reason.into(), source: Some(source.into()) }
    }

    /// What is stored cannot be understood, because of `source`.
    pub fn corrupt(reason: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Corrupt { reason: reason.into(), source: Some(source.into()) }
    }
}
