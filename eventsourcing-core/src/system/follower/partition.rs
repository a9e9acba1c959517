//! [`Partition`]: the part of the aggregates whose events one of several feeds of a follower takes.

use crate::store::{Name, StreamId};
use crate::system::notes;

/// One of several parts of all aggregates. All events of one aggregate are in the same part, so they stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// From 0.
    number: u32,
    of: u32,
}

impl Partition {
    /// Everything in one part.
    pub(crate) const WHOLE: Self = Self { number: 0, of: 1 };

    /// `of` parts, which together are everything.
    pub(crate) fn split(of: u32) -> impl Iterator<Item = Self> {
        (0..of.max(1)).map(move |number| Self {
            number,
            of: of.max(1),
        })
    }

    /// Its number, from 0.
    pub(crate) fn number(self) -> u32 {
        self.number
    }

    /// How many there are.
    pub(crate) fn count(self) -> u32 {
        self.of
    }

    /// The last 32 bits of an id are random in ids of every version.
    pub(crate) fn contains(self, stream: &StreamId) -> bool {
        (stream.id.as_u128() as u32) % self.of == self.number
    }

    /// The name under which the follower's position in this part is kept.
    pub(crate) fn name(self, follower: &Name) -> Name {
        match self {
            Self::WHOLE => follower.clone(),
            Self { number, of } => notes::partition(follower, number + 1, of),
        }
    }
}
