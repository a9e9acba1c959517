//! [`Recorded`]: an event with everything that is known about it.

use std::fmt;

use jiff::Timestamp;

use crate::store::{LogPage, Position, StoreError, StoredEvent, Version};
use crate::{Aggregate, Codec, CodecError, Event, EventRef, Id, Metadata};

/// An event of an aggregate as it stands in the log.
pub struct Recorded<A: Aggregate> {
    /// What happened.
    pub payload: A::Event,
    /// To which aggregate.
    pub aggregate_id: Id<A>,
    /// Its place among the events of the aggregate.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// When it was recorded, on the clock of the application. Never order by it.
    pub recorded_at: Timestamp,
    /// Who asked, and because of what.
    pub metadata: Metadata,
}

impl<A: Aggregate> Recorded<A> {
    /// The stored name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.payload.event_type().name
    }

    /// How other events refer to this one.
    #[must_use]
    pub fn event_ref(&self) -> EventRef {
        EventRef::new(&self.aggregate_id.stream(), self.version)
    }

    pub(crate) fn decode(stored: &StoredEvent) -> Result<Self, StoreError> {
        Ok(Self {
            payload: decode::<A>(stored)?,
            aggregate_id: Id::from_uuid(stored.stream.id),
            version: stored.version,
            position: stored.position,
            recorded_at: stored.recorded_at,
            metadata: Metadata::of(stored)?,
        })
    }
}

impl LogPage {
    /// The events of the aggregate `A` in this page. Those of other aggregates are left out.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: an event cannot be decoded; it says which.
    pub fn decode<A: Aggregate>(&self) -> Result<Vec<Recorded<A>>, StoreError> {
        self.events.iter().filter(|event| event.stream.category == *A::NAME).map(Recorded::decode).collect()
    }
}

/// The event that `stored` holds. A failure says which event it is.
pub(crate) fn decode<A: Aggregate>(stored: &StoredEvent) -> Result<A::Event, StoreError> {
    Codec::decode_event(stored).map_err(|error| corrupt(stored, error))
}

fn corrupt(stored: &StoredEvent, error: CodecError) -> StoreError {
    StoreError::corrupt(format!("version {} of {} cannot be read", stored.version, stored.stream), error)
}

impl<A: Aggregate> Clone for Recorded<A> {
    fn clone(&self) -> Self {
        Self { payload: self.payload.duplicate(), metadata: self.metadata.clone(), ..*self }
    }
}

impl<A: Aggregate<Event: fmt::Debug>> fmt::Debug for Recorded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("payload", &self.payload)
            .field("aggregate_id", &self.aggregate_id)
            .field("version", &self.version)
            .field("position", &self.position)
            .field("recorded_at", &self.recorded_at)
            .field("metadata", &self.metadata)
            .finish()
    }
}
