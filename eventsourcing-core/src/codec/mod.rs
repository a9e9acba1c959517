//! [`Codec`]: typed events and states to bytes and back.
//!
//! Stored bytes name their codec, so that a store may hold several and changing it needs no migration.

mod variant;

pub(crate) use variant::{deserialize_variant, serialize_variant};

use crate::store::{CodecId, StoredEvent};
use crate::{Aggregate, Event};

/// How payloads are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Compact JSON: readable in every database and log.
    #[default]
    Json,
}

/// Why bytes and types do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value cannot be written.
    #[error("cannot encode {what}")]
    Encode {
        /// The event or state.
        what: String,
        /// What the encoder said.
        #[source]
        source: serde_json::Error,
    },
    /// The bytes are not the fields of such a value.
    #[error("cannot decode {what}")]
    Decode {
        /// The event or state.
        what: String,
        /// What the decoder said.
        #[source]
        source: serde_json::Error,
    },
    /// No such event is known to this program.
    #[error("unknown event {name:?}; this program knows {known}; was it written by a newer release?")]
    UnknownEvent {
        /// The stored name.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// The event is known, but not in this version.
    #[error("event {name} has schema version {found}; this program knows version {known}")]
    UnknownVersion {
        /// The stored name.
        name: String,
        /// The stored version.
        found: u16,
        /// The version that is known.
        known: u16,
    },
    /// The bytes were written by a codec this program does not have.
    #[error("unknown codec {0}; was this written by a newer release?")]
    UnknownCodec(u8),
}

impl Codec {
    const JSON: CodecId = CodecId(1);

    /// The number that names this codec in a store.
    #[must_use]
    pub const fn id(self) -> CodecId {
        match self {
            Self::Json => Self::JSON,
        }
    }

    /// The codec that a store names by this number.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`].
    pub const fn from_id(id: CodecId) -> Result<Self, CodecError> {
        match id {
            Self::JSON => Ok(Self::Json),
            CodecId(number) => Err(CodecError::UnknownCodec(number)),
        }
    }

    /// The bytes of an event's fields.
    ///
    /// # Errors
    /// [`CodecError::Encode`], for example for a map whose keys are not text.
    pub fn encode_event<E: Event>(self, event: &E) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(128);
        let mut serializer = serde_json::Serializer::new(&mut bytes);
        match event.serialize_payload(&mut serializer) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(CodecError::Encode { what: format!("event {}", event.event_type().name), source }),
        }
    }

    /// The event that `stored` holds, whatever codec wrote it.
    ///
    /// # Errors
    /// Every [`CodecError`] but `Encode`.
    pub fn decode_event<E: Event>(stored: &StoredEvent) -> Result<E, CodecError> {
        let index = index_of::<E>(stored)?;
        let Self::Json = Self::from_id(stored.codec)?;
        let mut deserializer = serde_json::Deserializer::from_slice(&stored.payload);
        let event = E::deserialize_payload(index, &mut deserializer);
        let event = event.and_then(|event| deserializer.end().map(|()| event));
        event.map_err(|source| CodecError::Decode { what: format!("event {}", stored.name), source })
    }

    /// The fields of `stored` as a JSON value, without knowing its type.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`], [`CodecError::Decode`].
    pub fn decode_value(stored: &StoredEvent) -> Result<serde_json::Value, CodecError> {
        let Self::Json = Self::from_id(stored.codec)?;
        serde_json::from_slice(&stored.payload)
            .map_err(|source| CodecError::Decode { what: format!("event {}", stored.name), source })
    }

    pub(crate) fn encode_state<A: Aggregate>(self, state: &A) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(128);
        match state.serialize_state(&mut serde_json::Serializer::new(&mut bytes)) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(CodecError::Encode { what: format!("state of {}", A::NAME), source }),
        }
    }

    pub(crate) fn decode_state<A: Aggregate>(id: CodecId, bytes: &[u8]) -> Result<A, CodecError> {
        let Self::Json = Self::from_id(id)?;
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let state = A::deserialize_state(&mut deserializer);
        let state = state.and_then(|state| deserializer.end().map(|()| state));
        state.map_err(|source| CodecError::Decode { what: format!("snapshot of {}", A::NAME), source })
    }
}

fn index_of<E: Event>(stored: &StoredEvent) -> Result<usize, CodecError> {
    let name = stored.name.as_str();
    let Some(index) = E::TYPES.iter().position(|known| known.name == name) else {
        let known: Vec<_> = E::TYPES.iter().map(|known| known.name).collect();
        return Err(CodecError::UnknownEvent { name: name.into(), known: known.join(", ") });
    };
    let known = E::TYPES[index].version;
    if stored.schema_version != known {
        return Err(CodecError::UnknownVersion { name: name.into(), found: stored.schema_version, known });
    }
    Ok(index)
}
