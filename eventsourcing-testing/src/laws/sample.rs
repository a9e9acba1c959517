//! [`Sample`]: an event that an earlier release has stored.

use eventsourcing_core::Codec;
use eventsourcing_core::store::{Name, Position, StoredEvent, StreamId, Version};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// An event that an earlier release has stored: its stored name, the version of its payload, and the payload.
///
/// ```
/// use eventsourcing_testing::laws::Sample;
/// use serde_json::json;
///
/// let sample = Sample::from(("Credited", 1, json!({ "amount": "1.00" })));
/// assert_eq!(sample, Sample::new("Credited", 1, json!({ "amount": "1.00" })));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The stored name.
    pub name: String,
    /// The version of the payload.
    pub version: u16,
    /// The payload.
    pub payload: Value,
}

impl Sample {
    /// Creates a sample.
    #[must_use]
    pub fn new(name: impl Into<String>, version: u16, payload: Value) -> Self {
        Self {
            name: name.into(),
            version,
            payload,
        }
    }

    pub(super) fn to_stored(&self, category: &'static str) -> StoredEvent {
        let bytes =
            serde_json::to_vec(&self.payload).expect("a value of JSON can be written as JSON");
        stored(
            category,
            self.name.as_str().into(),
            self.version,
            Codec::Json,
            bytes,
        )
    }
}

impl<N: Into<String>> From<(N, u16, Value)> for Sample {
    fn from((name, version, payload): (N, u16, Value)) -> Self {
        Self::new(name, version, payload)
    }
}

/// Converts samples of a schema lock: `samples = lock.samples::<Account>()`.
impl From<eventsourcing_core::schema::Sample> for Sample {
    fn from(golden: eventsourcing_core::schema::Sample) -> Self {
        Self::new(golden.event, golden.version, golden.payload)
    }
}

/// Returns the stored event at version 1 of a stream.
pub(super) fn stored(
    category: &'static str,
    name: Name,
    version: u16,
    codec: Codec,
    payload: Vec<u8>,
) -> StoredEvent {
    StoredEvent {
        position: Position::new(1),
        stream: StreamId {
            category: Name::from_static(category),
            id: Uuid::nil(),
        },
        version: Version::FIRST,
        recorded_at: Timestamp::UNIX_EPOCH,
        name,
        schema_version: version,
        codec: codec.id(),
        payload,
        metadata: b"{}".to_vec(),
    }
}
