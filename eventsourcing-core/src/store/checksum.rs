//! [`LogChecksum`]: how many events there are, and which, in 24 bytes. What proves that a follower has dealt with all.

use std::fmt;
use std::ops::BitXor;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Filter, Position, StoredEvent, StreamId, Version};

/// A part of the log: the positions from n times [`LogSlice::POSITIONS`] plus 1 to n plus 1 times as many.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogSlice(u64);

impl LogSlice {
    /// How many positions a slice has.
    pub const POSITIONS: u64 = 10_000;

    /// The slice with this number, from 0.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The slice in which `position` lies.
    #[must_use]
    pub const fn of(position: Position) -> Self {
        Self(position.as_u64().saturating_sub(1) / Self::POSITIONS)
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The position before its first one.
    #[must_use]
    pub const fn start(self) -> Position {
        Position::new(self.0 * Self::POSITIONS)
    }

    /// Its last position.
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

/// How many events, and which, whatever their order.
///
/// Two sets of events with the same checksums are the same set: an event that is missing, doubled or in place of another
/// changes them. (Together the count and an exclusive or of hashes pin down how often each event occurs: every hash
/// must occur an odd number of times, and the count leaves no room for more than once.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChecksum {
    /// How many events.
    pub count: u64,
    /// The exclusive or of their [digests](EventHash::of).
    pub digest: EventHash,
}

impl LogChecksum {
    /// One event more.
    pub fn add(&mut self, stream: &StreamId, version: Version) {
        self.count += 1;
        self.digest = self.digest ^ EventHash::of(stream, version);
    }

    /// All these events more.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.digest = self.digest ^ other.digest;
    }
}

/// 128 bits that stand for an event, or for a set of events.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash(u128);

impl EventHash {
    /// The digest of one event: the first 16 bytes of the SHA-256 of the id of its stream (16 bytes), its version
    /// (8 bytes, the highest first), and the category (UTF-8).
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

    /// The digest with these bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
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

/// Which events are counted: those after `after` up to and including `to` that the filter wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChecksumsQuery {
    /// Only events after this position.
    pub after: Position,
    /// Only events up to this position. What is counted beyond the end of the log may grow.
    pub to: Position,
    /// Which events.
    pub filter: Filter,
}

impl LogChecksumsQuery {
    /// Of all events in these positions.
    #[must_use]
    pub fn new(after: Position, to: Position) -> Self {
        Self {
            after,
            to,
            filter: Filter::all(),
        }
    }

    /// Only events of these categories, besides those named before.
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
    /// Of these events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        let mut checksums = Self::default();
        events
            .into_iter()
            .for_each(|event| checksums.add(&event.stream, event.version));
        checksums
    }
}
