//! [`Codec`]: typed events and states to bytes and back.
//!
//! Stored bytes name their codec, so that a store may hold several and changing it needs no migration.

mod variant;

pub(crate) use variant::{deserialize_variant, serialize_variant};

use std::error::Error;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::DeserializeSeed;

use crate::store::{CodecId, StoredEvent};
use crate::upcast::{self, Decoded};
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
    /// An upcaster cannot make the next version of a payload of this one.
    #[error("event {name} cannot be brought from version {from} to version {to}")]
    Upcast {
        /// The stored name.
        name: String,
        /// The version that the upcaster was given.
        from: u16,
        /// The version that it should have made.
        to: u16,
        /// What the upcaster said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A stored event cannot be split.
    #[error("version {version} of event {name} cannot be split")]
    Split {
        /// The stored name.
        name: String,
        /// The stored version.
        version: u16,
        /// What the function said that splits it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No such event is known to this program. If this is the newest release, it has lost a former name, or does not say
    /// that the event is retired.
    #[error("unknown event {name:?}; this program knows {known}; was it written by a newer release?")]
    UnknownEvent {
        /// The stored name.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// The event is known, but not in this version.
    #[error("event {name} has schema version {found}; this program knows version {known}{}", hint(*found, *known))]
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

impl CodecError {
    /// Whether it is not this release that can read the event, but perhaps a newer one: the name is unknown, the version is
    /// higher than the known one, or so is the codec.
    #[must_use]
    pub fn is_of_newer_release(&self) -> bool {
        match self {
            Self::UnknownEvent { .. } | Self::UnknownCodec(_) => true,
            Self::UnknownVersion { found, known, .. } => found > known,
            _ => false,
        }
    }
}

fn hint(found: u16, known: u16) -> &'static str {
    if found > known { "; was it written by a newer release?" } else { "" }
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

    /// The events that come of `stored`, whatever codec and release wrote it: one, or several or none if it was split or
    /// retired since.
    ///
    /// # Errors
    /// Every [`CodecError`] but `Encode`.
    pub fn decode_events<E: Event>(stored: &StoredEvent) -> Result<Decoded<E>, CodecError> {
        upcast::decode(stored)
    }

    /// The one place where stored bytes become values.
    pub(crate) fn read<'de, S: DeserializeSeed<'de>>(
        codec: CodecId,
        bytes: &'de [u8],
        seed: S,
        what: impl FnOnce() -> String,
    ) -> Result<S::Value, CodecError> {
        let Self::Json = Self::from_id(codec)?;
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = seed.deserialize(&mut deserializer);
        let value = value.and_then(|value| deserializer.end().map(|()| value));
        value.map_err(|source| CodecError::Decode { what: what(), source })
    }

    /// The fields of `stored` as a JSON value, without knowing its type.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`], [`CodecError::Decode`].
    pub fn decode_value(stored: &StoredEvent) -> Result<serde_json::Value, CodecError> {
        Self::read(stored.codec, &stored.payload, PhantomData, || format!("event {}", stored.name))
    }

    pub(crate) fn encode_state<A: Aggregate>(self, state: &A) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(128);
        match state.serialize_state(&mut serde_json::Serializer::new(&mut bytes)) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(CodecError::Encode { what: format!("state of {}", A::NAME), source }),
        }
    }

    pub(crate) fn decode_state<A: Aggregate>(id: CodecId, bytes: &[u8]) -> Result<A, CodecError> {
        Self::read(id, bytes, State(PhantomData), || format!("snapshot of {}", A::NAME))
    }
}

struct State<A>(PhantomData<fn() -> A>);

impl<'de, A: Aggregate> DeserializeSeed<'de> for State<A> {
    type Value = A;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<A, D::Error> {
        A::deserialize_state(deserializer)
    }
}
