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
    /// The system has no such application.
    #[error("{system} has no application {application:?}; it has {known}")]
    UnknownApplication {
        /// The name of the system.
        system: &'static str,
        /// The name that was asked for.
        application: String,
        /// The names of its applications.
        known: String,
    },
    /// The system has no such policy or projection.
    #[error("{system} has no follower {follower:?}; it has {known}")]
    UnknownFollower {
        /// The name of the system.
        system: &'static str,
        /// The name that was asked for.
        follower: String,
        /// The names of its policies and projections.
        known: String,
    },
    /// The follower has parked nothing of the kind: it was processed or discarded meanwhile, or never parked. Nothing was done.
    #[error("follower {follower} has not parked {what}")]
    NotParked {
        /// The follower.
        follower: Name,
        /// A stream, or the key of a timer.
        what: String,
    },
    /// The follower is no read model in a SQL database, so it cannot be rebuilt.
    #[error("{follower} cannot be rebuilt: it is {why}")]
    NotARebuildableReadModel {
        /// The follower.
        follower: Name,
        /// What it is instead, and what to do.
        why: &'static str,
    },
    /// An import into a store of the system is not finished. Nothing was started.
    #[error(
        "an import into this store is not finished; run it again with the same file, or start over with an empty store"
    )]
    ImportUnfinished,
    /// The system has stopped: what was waited for does not happen in this process.
    #[error("the system has stopped")]
    Stopped,
    /// The system is configured, or a method called, in a way that cannot work.
    #[error("invalid: {reason}")]
    Invalid {
        /// The mistake, and the way to fix it.
        reason: String,
    },
}
