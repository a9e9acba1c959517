//! Leases: which of many processes runs a follower. A hint with a guard: the token that goes with a lease lets the
//! store refuse a holder who has slept past its lease.

use std::time::Duration;

use super::{HolderId, LeaseToken, LogId, Name, Position, StoreError};

/// Asks for a lease, or to keep it for longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Which follower.
    pub follower: Name,
    /// The log it follows.
    pub upstream: LogId,
    /// Who asks.
    pub holder: HolderId,
    /// For how long from now, on the store's clock; at most [`LeaseRequest::DURATION_MAX`].
    pub duration: Duration,
}

impl LeaseRequest {
    /// The longest a lease lasts without being renewed.
    pub const DURATION_MAX: Duration = Duration::from_secs(3_600);

    /// Checks what no store has to look into its data for. Every store calls it before anything else.
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
    /// The lease is held by whoever asked.
    Held {
        /// Goes with every step of the follower. The same as before if the holder already had the lease.
        token: LeaseToken,
        /// Where the follower is.
        position: Position,
    },
    /// Somebody else holds it.
    Taken {
        /// Who.
        holder: HolderId,
        /// How long it lasts if it is not renewed.
        expires_in: Duration,
    },
}

/// Who holds a lease, and for how long unless it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Who.
    pub holder: HolderId,
    /// The token that goes with every step made under the lease.
    pub token: LeaseToken,
    /// How long it lasts if it is not renewed.
    pub expires_in: Duration,
}
