//! [`SystemError`]: the failures that callers of a running system see.

use super::{FollowerFailure, Parked};
use crate::store::{Name, Position, StoreError};

/// A failure of a running system, or of its start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// A follower failed to process an event, and stopped before it. The effects of earlier events
    /// stand.
    ///
    /// Fix the cause, and [resume](super::RunningSystem::resume) the follower or start the system
    /// again: it continues at that event.
    #[error(transparent)]
    FollowerStopped(#[from] FollowerFailure),
    /// A follower did not reach a position within the timeout. The follower itself goes on.
    #[error(
        "timed out waiting for follower {follower} to reach position {position}; it is at {reached}"
    )]
    TimedOut {
        /// The follower.
        follower: Name,
        /// The position that was waited for.
        position: Position,
        /// The position of the follower at the timeout.
        reached: Position,
    },
    /// The follower has parked the event that was waited for, because that event or an earlier one
    /// of the same aggregate failed. [Retry](super::Parking::retry) it after the cause is fixed.
    #[error("follower {follower} has parked {}, at version {}: {}", parked.stream, parked.version, parked.cause)]
    Parked {
        /// The follower.
        follower: Name,
        /// The parked stream.
        parked: Box<Parked>,
    },
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system is configured, or a method called, in a way that cannot work.
    #[error("invalid: {reason}")]
    Invalid {
        /// The mistake, and the way to fix it.
        reason: String,
    },
}
