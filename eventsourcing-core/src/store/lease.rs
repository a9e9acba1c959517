//! Leases: which of many processes runs a follower. A hint with a guard: the token that goes with a lease lets the
//! store refuse a holder who has slept past its lease.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HolderId, LogId, Name, Position, StoreError};

/// Tells the holders of a lease apart: each new holder gets a larger number than all before. (Known as a fencing token
/// from Martin Kleppmann, "How to do distributed locking", 2016.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseToken(u64);

impl LeaseToken {
    /// The token with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
            return Err(StoreError::Invalid { reason: format!("follower {:?} {fault}", self.follower) });
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
