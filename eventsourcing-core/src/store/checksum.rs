//! [`LogChecksum`]: the number and the hash of a set of events, in 24 bytes. Comparing checksums
//! proves that a follower has processed every event once.

use std::fmt;
use std::ops::BitXor;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Filter, Position, StoredEvent, StreamId, Version};

/// A part of the log: the positions from n times [`LogSlice::POSITIONS`] plus 1 to n plus 1 times
/// as many.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogSlice(u64);

impl LogSlice {
    /// The number of positions in a slice.
    pub const POSITIONS: u64 = 10_000;

    /// Returns the slice with this number, from 0.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the slice that contains `position`.
    #[must_use]
    pub const fn of(position: Position) -> Self {
        Self(position.as_u64().saturating_sub(1) / Self::POSITIONS)
    }

    /// Returns the number of the slice, from 0.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the position before the first one of the slice.
    #[must_use]
    pub const fn start(self) -> Position {
        Position::new(self.0 * Self::POSITIONS)
    }

    /// Returns the last position of the slice.
    #[must_use]
    pub const fn end(self) -> Position {
        Position::new((self.0 + 1) * Self::POSITIONS)
    }
}

impl fmt::Display for LogSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{}", self.start().as_u64() + 1, self.end())
    }
}

/// The number and the hash of a set of events, independent of their order.
///
/// Two sets of events with the same checksums are the same set: an event that is missing, doubled
/// or replaced by another changes the checksum. (Together the count and an exclusive or of hashes
/// determine how often each event occurs: every hash must occur an odd number of times, and the
/// count leaves no room for more than once.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChecksum {
    /// The number of events.
    pub count: u64,
    /// The exclusive or of their [hashes](EventHash::of).
    pub digest: EventHash,
}

impl LogChecksum {
    /// Adds one event.
    pub fn add(&mut self, stream: &StreamId, version: Version) {
        self.count += 1;
        self.digest = self.digest ^ EventHash::of(stream, version);
    }

    /// Adds all events of another checksum.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.digest = self.digest ^ other.digest;
    }
}

/// A hash of 128 bits that stands for an event, or for a set of events.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash(u128);

impl EventHash {
    /// Returns the hash of one event: the first 16 bytes of the SHA-256 of the id of its stream (16
    /// bytes), its version (8 bytes, the highest first), and the category (UTF-8).
    #[must_use]
    pub fn of(stream: &StreamId, version: Version) -> Self {
        let hash = Sha256::new()
            .chain_update(stream.id.as_bytes())
            .chain_update(version.as_u64().to_be_bytes())
            .chain_update(stream.category.as_str())
            .finalize();
        Self(u128::from_be_bytes(
            hash[..16].try_into().expect("a SHA-256 has 32 bytes"),
        ))
    }

    /// Returns the hash with these bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the bits of the hash.
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        self.0
    }
}

impl BitXor for EventHash {
    type Output = Self;

    fn bitxor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Selects the events to count: those after `after` up to and including `to` that the filter
/// selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChecksumsQuery {
    /// Only events after this position.
    pub after: Position,
    /// Only events up to this position. Counts beyond the end of the log may grow.
    pub to: Position,
    /// The events to count.
    pub filter: Filter,
}

impl LogChecksumsQuery {
    /// Counts all events at these positions.
    #[must_use]
    pub fn new(after: Position, to: Position) -> Self {
        Self {
            after,
            to,
            filter: Filter::all(),
        }
    }

    /// Adds categories to those named before; only events of these are counted.
    #[must_use]
    pub fn categories<N: Into<super::Name>>(
        mut self,
        categories: impl IntoIterator<Item = N>,
    ) -> Self {
        self.filter
            .categories
            .extend(categories.into_iter().map(Into::into));
        self
    }
}

impl LogChecksum {
    /// Returns the checksum of these events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        let mut checksums = Self::default();
        events
            .into_iter()
            .for_each(|event| checksums.add(&event.stream, event.version));
        checksums
    }
}
