//! The two places of an event: its [`Version`] in its stream, its [`Position`] in the log.
//!
//! They are two types because the two numbers are never comparable.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of an event in its stream: 1, 2, 3 … without holes. [`Version::ZERO`] is a stream
/// without events.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(u64);

/// The place of an event in the log of its store: grows, may have holes. [`Position::ZERO`] is
/// before the first event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(u64);

impl Version {
    /// The version before the first event of a stream.
    pub const ZERO: Self = Self(0);
    /// The version of the first event of a stream.
    pub const FIRST: Self = Self(1);
    /// A version later than every event of every stream: databases count in signed 64 bits.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Returns the version with this number; numbers beyond [`Version::MAX`] become
    /// [`Version::MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(if number > Self::MAX.0 {
            Self::MAX.0
        } else {
            number
        })
    }

    /// Returns the number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the version of the next event.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// Returns the version `events` further on.
    #[must_use]
    pub const fn plus(self, events: u64) -> Self {
        Self::new(self.0.saturating_add(events))
    }

    /// Returns the number of events after `earlier` up to and including this version; 0 if
    /// `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Position {
    /// The position before the first event of the log.
    pub const ZERO: Self = Self(0);
    /// A position later than every event of every log: databases count in signed 64 bits.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Returns the position with this number; numbers beyond [`Position::MAX`] become
    /// [`Position::MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(if number > Self::MAX.0 {
            Self::MAX.0
        } else {
            number
        })
    }

    /// Returns the number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a log as one handle of its store knows it.
///
/// A new epoch begins whenever events *may* have been lost. It proves nothing: the owner of a
/// position compares the last event it has seen with the event that the log has there now. Epochs
/// of different handles do not compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch in which a handle is opened.
    pub const FIRST: Self = Self(0);

    /// Returns the following epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
