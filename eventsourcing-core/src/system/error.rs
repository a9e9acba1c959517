//! What can go wrong in a system.

use std::error::Error;
use std::sync::Arc;

use crate::store::{Name, Position, StoreError};

/// Why a system does not run, or not as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// A follower met an event it cannot deal with, and stopped before it. What it did before stands.
    ///
    /// Mend the cause and start the system again: the follower goes on at that event.
    #[error(transparent)]
    FollowerStopped(#[from] FollowerStopped),
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

/// Which follower stopped, where and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("follower {follower} stopped before position {position} ({event}): {cause}")]
#[non_exhaustive]
pub struct FollowerStopped {
    /// The follower.
    pub follower: Name,
    /// The position of the event it cannot deal with.
    pub position: Position,
    /// The name, stream and version of that event.
    pub event: String,
    /// What the policy or projection said, in one line.
    pub cause: String,
    /// What the policy or projection said.
    #[source]
    pub source: Arc<dyn Error + Send + Sync>,
}
