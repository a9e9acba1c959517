//! [`Sample`]: a golden event, which every later release must be able to read.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::store::{Name, Position, StoredEvent, StreamId, Version};
use crate::{Aggregate, Codec, CodecError};

/// An event as a store may contain it: a golden event.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The stored name of its aggregate.
    pub aggregate: String,
    /// The stored name of the event.
    pub event: String,
    /// The version of its payload.
    pub version: u16,
    /// Its fields.
    pub payload: Value,
}

impl Sample {
    /// Decodes the events that this release reads in its place: one, or several or none if it was
    /// split or retired.
    ///
    /// # Errors
    /// The error that an application gets when it loads the event.
    pub fn decode<A: Aggregate>(&self) -> Result<Vec<A::Event>, CodecError> {
        Ok(Codec::decode_events(&self.to_stored())?.collect())
    }

    /// Returns the event as the first of a stream, encoded as JSON.
    #[must_use]
    pub fn to_stored(&self) -> StoredEvent {
        StoredEvent {
            position: Position::new(1),
            stream: StreamId {
                category: Name::from(self.aggregate.as_str()),
                id: Uuid::nil(),
            },
            version: Version::FIRST,
            recorded_at: Timestamp::UNIX_EPOCH,
            name: Name::from(self.event.as_str()),
            schema_version: self.version,
            codec: Codec::Json.id(),
            payload: self.payload.to_string().into_bytes(),
            metadata: Vec::new(),
        }
    }
}
