//! What can go wrong in a system.

use super::{FollowerFailure, Parked};
use crate::store::{Name, Position, StoreError};

/// Why a system does not run, or not as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// A follower met an event it cannot deal with, and stopped before it. What it did before stands.
    ///
    /// Mend the cause, and [resume](super::RunningSystem::resume) the follower or start the system again: it goes on at that event.
    #[error(transparent)]
    FollowerStopped(#[from] FollowerFailure),
    /// A follower has not got where it was waited for. It goes on.
    #[error("follower {follower} is at position {reached}, and has not got to {position} in time")]
    TimedOut {
        /// The follower.
        follower: Name,
        /// Where it was waited for.
        position: Position,
        /// Where it is.
        reached: Position,
    },
    /// The follower has put the event aside that was waited for: it could not deal with it, or with an earlier one of the
    /// same aggregate. It is dealt with when somebody [retries](super::Parking::retry) it.
    #[error("follower {follower} has parked {}, at version {}: {}", parked.stream, parked.version, parked.cause)]
    Parked {
        /// The follower.
        follower: Name,
        /// What it has parked.
        parked: Box<Parked>,
    },
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
