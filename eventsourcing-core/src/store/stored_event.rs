//! Events and snapshots as a store sees them: names, numbers and bytes.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{EventIdentity, EventRef, LogId, Name, Position, StoreError, StreamId, Version};

/// The number of the encoding of stored bytes, so that one store may hold several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodecId(pub u8);

/// An event to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The stored name of the event.
    pub name: Name,
    /// The version of the payload's schema, from 1.
    pub schema_version: u16,
    /// The encoding of the payload.
    pub codec: CodecId,
    /// The event's fields. Any bytes, at most [`PAYLOAD_BYTES_MAX`](super::PAYLOAD_BYTES_MAX).
    pub payload: Vec<u8>,
    /// Facts about the event beyond its payload. Any bytes, at most
    /// [`METADATA_BYTES_MAX`](super::METADATA_BYTES_MAX).
    pub metadata: Vec<u8>,
}

/// An event that a store has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The place of the event in the log.
    pub position: Position,
    /// The stream that the event belongs to.
    pub stream: StreamId,
    /// The place of the event in the stream.
    pub version: Version,
    /// The time of recording, by the clock of the application, to the microsecond. Never used for
    /// ordering.
    pub recorded_at: Timestamp,
    /// The stored name of the event.
    pub name: Name,
    /// The version of the payload's schema, from 1.
    pub schema_version: u16,
    /// The encoding of the payload.
    pub codec: CodecId,
    /// The event's fields.
    pub payload: Vec<u8>,
    /// Facts about the event beyond its payload.
    pub metadata: Vec<u8>,
}

/// An event for folding: a [`StoredEvent`] without the fields that only its history needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedEvent {
    /// The place of the event in the stream.
    pub version: Version,
    /// The stored name of the event.
    pub name: Name,
    /// The version of the payload's schema, from 1.
    pub schema_version: u16,
    /// The encoding of the payload.
    pub codec: CodecId,
    /// The event's fields.
    pub payload: Vec<u8>,
}

impl From<&StoredEvent> for LoadedEvent {
    fn from(event: &StoredEvent) -> Self {
        let StoredEvent {
            version,
            ref name,
            schema_version,
            codec,
            ref payload,
            ..
        } = *event;
        Self {
            version,
            name: name.clone(),
            schema_version,
            codec,
            payload: payload.clone(),
        }
    }
}

/// The fields needed to decode an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedEvent<'a> {
    pub(crate) name: &'a Name,
    pub(crate) schema_version: u16,
    pub(crate) codec: CodecId,
    pub(crate) payload: &'a [u8],
}

impl<'a> From<&'a StoredEvent> for EncodedEvent<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        let StoredEvent {
            name,
            schema_version,
            codec,
            payload,
            ..
        } = event;
        Self {
            name,
            schema_version: *schema_version,
            codec: *codec,
            payload,
        }
    }
}

impl<'a> From<&'a LoadedEvent> for EncodedEvent<'a> {
    fn from(event: &'a LoadedEvent) -> Self {
        let LoadedEvent {
            name,
            schema_version,
            codec,
            payload,
            ..
        } = event;
        Self {
            name,
            schema_version: *schema_version,
            codec: *codec,
            payload,
        }
    }
}

/// Tells apart snapshots that were written by different definitions of an aggregate.
///
/// A snapshot is used only by a program that asks for the same fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// A snapshot to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The stream whose state it is.
    pub stream: StreamId,
    /// The version of the last event folded into it.
    pub version: Version,
    /// The fingerprint of the definition of the aggregate that wrote it.
    pub fingerprint: Fingerprint,
    /// The encoding of the payload.
    pub codec: CodecId,
    /// The state. Any bytes, at most [`PAYLOAD_BYTES_MAX`](super::PAYLOAD_BYTES_MAX).
    pub payload: Vec<u8>,
}

impl NewSnapshot {
    /// Checks that this snapshot is not beyond its stream, whose last event has version `head`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: the snapshot has a state that no stored event has led to.
    pub fn check_within(&self, head: Version) -> Result<(), StoreError> {
        if Version::FIRST <= self.version && self.version <= head {
            return Ok(());
        }
        let Self {
            stream, version, ..
        } = self;
        Err(StoreError::Invalid {
            reason: format!("snapshot of {stream} at version {version}; the stream is at {head}"),
        })
    }
}

/// A snapshot that a store has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The version of the last event folded into it.
    pub version: Version,
    /// The encoding of the payload.
    pub codec: CodecId,
    /// The state.
    pub payload: Vec<u8>,
}

impl EventIdentity {
    /// Returns the identity of `event` in the log `log`.
    #[must_use]
    pub fn of(event: &StoredEvent, log: LogId) -> Self {
        let mut hash = Sha256::new()
            .chain_update(log.as_uuid().as_bytes())
            .chain_update(event.stream.id.as_bytes())
            .chain_update(event.position.as_u64().to_be_bytes())
            .chain_update(event.version.as_u64().to_be_bytes())
            .chain_update(event.recorded_at.as_microsecond().to_be_bytes())
            .chain_update(event.schema_version.to_be_bytes())
            .chain_update([event.codec.0]);
        let names = [
            event.stream.category.as_str().as_bytes(),
            event.name.as_str().as_bytes(),
        ];
        for bytes in names.into_iter().chain([&*event.metadata, &*event.payload]) {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        Self::from_bytes(
            hash.finalize()[..16]
                .try_into()
                .expect("a SHA-256 has 32 bytes"),
        )
    }
}

impl EventRef {
    /// Returns the reference to `event` of the log `log`.
    #[must_use]
    pub fn of(event: &StoredEvent, log: LogId) -> Self {
        Self {
            position: event.position,
            identity: EventIdentity::of(event, log),
        }
    }
}
