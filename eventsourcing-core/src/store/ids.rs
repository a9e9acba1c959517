//! Ids that cannot be mistaken for one another: of a command, of a log, of the holder of a lease.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $new:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Returns a new id, different from every other.
            #[expect(clippy::new_without_default, reason = "two calls give two values")]
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::$new())
            }

            /// Returns the id with these bits.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// Returns the bits of the id.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// Names a command, so that sending it again does not carry it out again.
    ///
    /// A store that has seen the id returns the first [`Receipt`](super::Receipt) and writes
    /// nothing.
    CommandId = now_v7;

    /// The identity of a store's log: generated when the store is created, and the same as long as
    /// the store lives.
    LogId = new_v4;

    /// The holder of a lease: one running system, in one process.
    HolderId = now_v7;
}

impl LogId {
    /// The log of a [`Receipt`](super::Receipt) that was written by an earlier release, which did
    /// not store the log. No log has this id.
    pub const UNKNOWN: Self = Self(Uuid::nil());
}

/// Tells the holders of a lease apart: each new holder gets a larger number than all before. (Known
/// as a fencing token from Martin Kleppmann, "How to do distributed locking", 2016.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseToken(u64);

impl LeaseToken {
    /// Returns the token with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number itself.
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
