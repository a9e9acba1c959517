//! What can go wrong in a system.

use super::FollowerFailure;
use crate::store::StoreError;

/// Why a system does not run, or not as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// A follower met an event it cannot deal with, and stopped before it. What it did before stands.
    ///
    /// Mend the cause and start the system again: the follower goes on at that event.
    #[error(transparent)]
    FollowerStopped(#[from] FollowerFailure),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system is put together wrongly.
    #[error("invalid: {reason}")]
    Invalid {
        /// What is wrong, and what to do.
        reason: String,
    },
}
