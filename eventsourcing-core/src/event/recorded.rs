//! [`RecordedEvent`]: a decoded event with everything that is known about it.
//!
//! One stored event is decoded into several of these if it was split since, and into none if it was
//! retired.

use std::fmt;

use jiff::Timestamp;

#[cfg(doc)]
use crate::LegacyEvent;
use crate::aggregate::name_of;
use crate::store::{LoadedEvent, LogPage, Position, StoreError, StoredEvent, StreamId, Version};
use crate::{
    Aggregate, Codec, CodecError, DecodedEvents, Event, EventRef, Id, Metadata, event::legacy,
};

/// An event of an aggregate as it is recorded in the log.
pub struct RecordedEvent<A: Aggregate> {
    /// The event itself.
    pub payload: A::Event,
    /// The id of the aggregate.
    pub aggregate_id: Id<A>,
    /// The stored name of the aggregate: its current one, or [another](Aggregate::OTHER_NAMES).
    pub category: &'static str,
    /// The place of the event in the stream of the aggregate.
    pub version: Version,
    /// The place of the event in the log.
    pub position: Position,
    /// The time of recording, by the clock of the application. Never order by it.
    pub recorded_at: Timestamp,
    /// The actor, the cause, and other facts about the event.
    pub metadata: Metadata,
    /// The index among the events decoded from the same stored event, from 0. It is 0 unless the
    /// stored event is [split](LegacyEvent): then the parts share position and version, and the
    /// index tells them apart.
    pub part: u32,
}

impl<A: Aggregate> RecordedEvent<A> {
    /// Returns the stored name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.payload.event_type().name
    }

    /// Returns the reference by which other events name this one.
    #[must_use]
    pub fn event_ref(&self) -> EventRef {
        EventRef::new(&self.aggregate_id.stream_under(self.category), self.version)
    }

    /// Decodes `stored` into its events, in order.
    pub(crate) fn decode(
        stored: &StoredEvent,
    ) -> Result<impl Iterator<Item = Self> + use<A>, StoreError> {
        let events = decode::<A>(stored)?;
        let metadata = Metadata::of(stored)?;

        let StoredEvent {
            position,
            version,
            recorded_at,
            ..
        } = *stored;
        let aggregate_id = Id::from_uuid(stored.stream.id);
        let category = name_of::<A>(&stored.stream.category).unwrap_or(A::NAME);
        let several = events.len() > 1;
        let mut metadata = Some(metadata);
        Ok(events.zip(0..).map(move |(payload, part)| {
            let metadata = if several {
                metadata.clone()
            } else {
                metadata.take()
            };
            let metadata = metadata.expect("it is taken by the only event there is");
            Self {
                payload,
                aggregate_id,
                category,
                version,
                position,
                recorded_at,
                metadata,
                part,
            }
        }))
    }
}

impl LogPage {
    /// Decodes the events of the aggregate `A` in this page. Events of other aggregates are left
    /// out.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Newer`]: an event cannot be decoded; the error
    /// names it.
    pub fn decode<A: Aggregate>(&self) -> Result<Vec<RecordedEvent<A>>, StoreError> {
        decode_all(
            self.events
                .iter()
                .filter(|event| name_of::<A>(&event.stream.category).is_some()),
        )
    }
}

/// Decodes the stored events, in order.
pub(crate) fn decode_all<'a, A: Aggregate>(
    stored: impl IntoIterator<Item = &'a StoredEvent>,
) -> Result<Vec<RecordedEvent<A>>, StoreError> {
    let stored = stored.into_iter();
    let mut events = Vec::with_capacity(stored.size_hint().0);
    for stored in stored {
        events.extend(RecordedEvent::decode(stored)?);
    }
    Ok(events)
}

/// Decodes `stored`. An error names the event.
fn decode<A: Aggregate>(stored: &StoredEvent) -> Result<DecodedEvents<A::Event>, StoreError> {
    Codec::decode_events(stored).map_err(|error| unreadable(&stored.stream, stored.version, error))
}

/// Decodes an event that was loaded from `stream`. An error names the event.
pub(crate) fn decode_loaded<A: Aggregate>(
    stream: impl FnOnce() -> StreamId,
    loaded: &LoadedEvent,
) -> Result<DecodedEvents<A::Event>, StoreError> {
    legacy::decode(loaded.into()).map_err(|error| unreadable(&stream(), loaded.version, error))
}

fn unreadable(stream: &StreamId, version: Version, error: CodecError) -> StoreError {
    let reason = format!("version {version} of {stream} cannot be read");
    match error.is_of_newer_release() {
        true => StoreError::Newer {
            reason,
            source: error.into(),
        },
        false => StoreError::corrupt(reason, error),
    }
}

impl<A: Aggregate> Clone for RecordedEvent<A> {
    fn clone(&self) -> Self {
        Self {
            payload: self.payload.duplicate(),
            metadata: self.metadata.clone(),
            ..*self
        }
    }
}

impl<A: Aggregate<Event: fmt::Debug>> fmt::Debug for RecordedEvent<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedEvent")
            .field("payload", &self.payload)
            .field("aggregate_id", &self.aggregate_id)
            .field("category", &self.category)
            .field("version", &self.version)
            .field("position", &self.position)
            .field("recorded_at", &self.recorded_at)
            .field("metadata", &self.metadata)
            .field("part", &self.part)
            .finish()
    }
}
