//! Leases decide which of many processes runs a follower.
//!
//! A lease only saves work, because a process cannot know that its lease has not expired meanwhile.
//! The token that comes with a lease lets the store refuse the steps of a holder that has slept
//! past it.

use std::time::Duration;

use super::{HolderId, LeaseToken, LogId, Name, Position, StoreError};

/// Requests a lease, or its renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The follower to lease.
    pub follower: Name,
    /// The log that the follower follows.
    pub upstream: LogId,
    /// The holder that asks.
    pub holder: HolderId,
    /// The duration from now, on the store's clock; at most [`LeaseRequest::DURATION_MAX`].
    pub duration: Duration,
}

impl LeaseRequest {
    /// The longest duration of a lease that is not renewed.
    pub const DURATION_MAX: Duration = Duration::from_secs(3_600);

    /// Checks everything that does not depend on stored data. Every store calls this first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: the follower's name or the duration is beyond the limits.
    pub fn validate(&self) -> Result<(), StoreError> {
        if let Some(fault) = self.follower.fault() {
            return Err(StoreError::Invalid {
                reason: format!("follower {:?} {fault}", self.follower),
            });
        }
        if self.duration.is_zero() || self.duration > Self::DURATION_MAX {
            return Err(StoreError::Invalid {
                reason: format!("a lease of {:?}; at most an hour is allowed", self.duration),
            });
        }
        Ok(())
    }
}

/// The answer to a [`LeaseRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The requesting holder has the lease.
    Held {
        /// The token to send with every step of the follower. It stays the same when the holder
        /// renews the lease.
        token: LeaseToken,
        /// The position of the follower.
        position: Position,
    },
    /// Another holder has the lease.
    Taken {
        /// The other holder.
        holder: HolderId,
        /// The time until the lease expires if it is not renewed.
        expires_in: Duration,
    },
}

/// The holder of a lease, and the time until the lease expires if it is not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// The holder.
    pub holder: HolderId,
    /// The token that goes with every step made under the lease.
    pub token: LeaseToken,
    /// The time until the lease expires if it is not renewed.
    pub expires_in: Duration,
}
