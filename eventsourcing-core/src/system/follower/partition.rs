//! [`Partition`]: the share of the aggregates that one of several workers of a follower processes.

use crate::store::{Name, StreamId};
use crate::system::notes;

/// One share of all aggregates. All events of one aggregate belong to the same partition, so they
/// stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The number of the partition, from 0.
    number: u32,
    of: u32,
}

impl Partition {
    /// The only partition of a follower that is not split.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// Returns the `of` partitions that together cover all aggregates.
    pub fn split(of: u32) -> impl Iterator<Item = Self> {
        (0..of.max(1)).map(move |number| Self {
            number,
            of: of.max(1),
        })
    }

    /// Returns the number of the partition, from 0.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Returns the number of partitions.
    #[must_use]
    pub fn count(self) -> u32 {
        self.of
    }

    /// Returns `true` if the stream belongs to this partition. The last 32 bits of an id decide,
    /// since they are random in UUIDs of every version, and so spread evenly.
    #[must_use]
    pub fn contains(self, stream: &StreamId) -> bool {
        (stream.id.as_u128() as u32) % self.of == self.number
    }

    /// Returns the name under which the follower keeps its position in this partition.
    #[must_use]
    pub fn name(self, follower: &Name) -> Name {
        match self {
            Self::WHOLE => follower.clone(),
            Self { number, of } => notes::partition(follower, number + 1, of),
        }
    }
}
