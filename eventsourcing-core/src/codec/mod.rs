//! [`Codec`]: typed events and states to bytes and back.
//!
//! Stored bytes name their codec, so that a store may hold several and changing it needs no migration.

#[cfg(feature = "zstd")]
mod compression;
#[cfg(feature = "message-pack")]
mod depth;
mod json;
#[cfg(feature = "message-pack")]
mod message_pack;
mod payload;
mod variant;

use std::error::Error;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer};
use serde::{Serialize, Serializer};

#[cfg(feature = "zstd")]
pub use compression::Compression;
pub(crate) use payload::Encoded;
pub(crate) use payload::Encoding;
pub(crate) use variant::{deserialize_variant, serialize_variant};

use crate::store::{CodecId, PAYLOAD_BYTES_MAX, StoredEvent};
use crate::upcast::{self, Decoded};
use crate::{Aggregate, Event};

/// How payloads are encoded: chosen for what is written, with [`Application::with_codec`](crate::Application::with_codec)
/// or [`SystemBuilder::with_codec`](crate::SystemBuilder::with_codec). What was written by another codec is read all the
/// same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Compact JSON: readable in every database and log. Floating-point numbers that are not finite become null.
    #[default]
    Json,
    /// MessagePack, with the names of fields: everything that serde makes of JSON it makes of this too (defaults, added
    /// fields, renames), in fewer bytes. Unlike JSON it keeps floating-point numbers that are not finite, and maps with
    /// keys of any type.
    #[cfg(feature = "message-pack")]
    #[cfg_attr(docsrs, doc(cfg(feature = "message-pack")))]
    MessagePack,
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
        source: Cause,
    },
    /// The bytes are not the fields of such a value.
    #[error("cannot decode {what}")]
    Decode {
        /// The event or state.
        what: String,
        /// What the decoder said.
        #[source]
        source: Cause,
    },
    /// The bytes are compressed, and more than a payload may have: [`PAYLOAD_BYTES_MAX`].
    #[error("cannot decode {what}: it has more than {PAYLOAD_BYTES_MAX} bytes when it is decompressed")]
    TooLarge {
        /// The event or state.
        what: String,
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
    /// The bytes were written by a codec that this program was built without.
    #[error("{what} cannot be read by this program; build it with the feature {feature:?} of eventsourcing-core")]
    MissingFeature {
        /// What the bytes are.
        what: &'static str,
        /// The feature to turn on.
        feature: &'static str,
    },
}

impl CodecError {
    /// Whether it is not this release that can read the event, but perhaps a newer one: the name is unknown, the version is
    /// higher than the known one, or the codec is not there.
    #[must_use]
    pub fn is_of_newer_release(&self) -> bool {
        match self {
            Self::UnknownEvent { .. } | Self::UnknownCodec(_) | Self::MissingFeature { .. } => true,
            Self::UnknownVersion { found, known, .. } => found > known,
            _ => false,
        }
    }
}

fn hint(found: u16, known: u16) -> &'static str {
    if found > known { "; was it written by a newer release?" } else { "" }
}

/// What an encoder or decoder said.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// How much room a payload is given to begin with.
const PAYLOAD_BYTES_EXPECTED: usize = 128;

impl Codec {
    const JSON: CodecId = CodecId(1);
    const MESSAGE_PACK: CodecId = CodecId(2);
    const JSON_COMPRESSED: CodecId = CodecId(3);
    const MESSAGE_PACK_COMPRESSED: CodecId = CodecId(4);

    /// The number that names this codec in a store.
    #[must_use]
    pub const fn id(self) -> CodecId {
        match self {
            Self::Json => Self::JSON,
            #[cfg(feature = "message-pack")]
            Self::MessagePack => Self::MESSAGE_PACK,
        }
    }

    #[cfg(feature = "zstd")]
    const fn compressed_id(self) -> CodecId {
        match self {
            Self::Json => Self::JSON_COMPRESSED,
            #[cfg(feature = "message-pack")]
            Self::MessagePack => Self::MESSAGE_PACK_COMPRESSED,
        }
    }

    /// The codec that a store names by this number; of bytes that are compressed, the codec of what is in them.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`], [`CodecError::MissingFeature`].
    pub const fn from_id(id: CodecId) -> Result<Self, CodecError> {
        if Self::is_compressed(id) && cfg!(not(feature = "zstd")) {
            return Err(CodecError::MissingFeature { what: "a compressed payload", feature: "zstd" });
        }
        match id {
            Self::JSON | Self::JSON_COMPRESSED => Ok(Self::Json),
            #[cfg(feature = "message-pack")]
            Self::MESSAGE_PACK | Self::MESSAGE_PACK_COMPRESSED => Ok(Self::MessagePack),
            #[cfg(not(feature = "message-pack"))]
            Self::MESSAGE_PACK | Self::MESSAGE_PACK_COMPRESSED => {
                Err(CodecError::MissingFeature { what: "MessagePack", feature: "message-pack" })
            }
            CodecId(number) => Err(CodecError::UnknownCodec(number)),
        }
    }

    const fn is_compressed(id: CodecId) -> bool {
        matches!(id, Self::JSON_COMPRESSED | Self::MESSAGE_PACK_COMPRESSED)
    }

    /// The bytes of an event's fields.
    ///
    /// # Errors
    /// [`CodecError::Encode`], for example in JSON for a map whose keys are not text.
    pub fn encode_event<E: Event>(self, event: &E) -> Result<Vec<u8>, CodecError> {
        self.encode(&EventFields(event)).map_err(|source| cannot_encode(event, source))
    }

    /// The events that come of `stored`, whatever codec and release wrote it: one, or several or none if it was split or
    /// retired since.
    ///
    /// # Errors
    /// Every [`CodecError`] but `Encode`.
    pub fn decode_events<E: Event>(stored: &StoredEvent) -> Result<Decoded<E>, CodecError> {
        upcast::decode(stored.into())
    }

    /// What `seed` makes of stored bytes. `what` they are is said in errors.
    pub(crate) fn read<T>(
        codec: CodecId,
        bytes: &[u8],
        seed: impl for<'de> DeserializeSeed<'de, Value = T>,
        what: impl Fn() -> String,
    ) -> Result<T, CodecError> {
        payload::decode(codec, bytes, seed, what)
    }

    /// The fields of `stored` as a JSON value, whatever codec wrote them, without knowing their type.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`], [`CodecError::MissingFeature`], [`CodecError::TooLarge`], [`CodecError::Decode`].
    pub fn decode_value(stored: &StoredEvent) -> Result<serde_json::Value, CodecError> {
        payload::value(stored.codec, &stored.payload, || format!("event {}", stored.name))
    }

    pub(crate) fn decode_state<A: Aggregate>(id: CodecId, bytes: &[u8]) -> Result<A, CodecError> {
        payload::decode(id, bytes, StateOf(PhantomData), || format!("snapshot of {}", A::NAME))
    }
}

impl Encoding {
    pub(crate) fn encode_event<E: Event>(self, event: &E) -> Result<Encoded, CodecError> {
        self.encode(&EventFields(event)).map_err(|source| cannot_encode(event, source))
    }

    pub(crate) fn encode_state<A: Aggregate>(self, state: &A) -> Result<Encoded, CodecError> {
        let encoded = self.encode(&State(state));
        encoded.map_err(|source| CodecError::Encode { what: format!("state of {}", A::NAME), source })
    }
}

fn cannot_encode<E: Event>(event: &E, source: Cause) -> CodecError {
    CodecError::Encode { what: format!("event {}", event.event_type().name), source }
}

struct EventFields<'a, E>(&'a E);

impl<E: Event> Serialize for EventFields<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_payload(serializer)
    }
}

struct State<'a, A>(&'a A);

impl<A: Aggregate> Serialize for State<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_state(serializer)
    }
}

struct StateOf<A>(PhantomData<A>);

impl<'de, A: Aggregate> DeserializeSeed<'de> for StateOf<A> {
    type Value = A;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<A, D::Error> {
        A::deserialize_state(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In whatever combination of features this is built.
    #[test]
    fn codecs_that_a_program_was_built_without_are_refused_with_the_feature() {
        let (packs, compresses) = (cfg!(feature = "message-pack"), cfg!(feature = "zstd"));
        for (number, missing) in [
            (1, None),
            (2, (!packs).then_some("message-pack")),
            (3, (!compresses).then_some("zstd")),
            (4, if compresses { (!packs).then_some("message-pack") } else { Some("zstd") }),
        ] {
            match (Codec::from_id(CodecId(number)), missing) {
                (Ok(_), None) => {}
                (Err(error), Some(feature)) => {
                    let expected = format!("build it with the feature {feature:?} of eventsourcing-core");
                    assert!(error.to_string().ends_with(&expected), "{number}: {error}");
                }
                (found, _) => panic!("codec {number}: {found:?}, missing {missing:?}"),
            }
        }
        assert!(matches!(Codec::from_id(CodecId(5)), Err(CodecError::UnknownCodec(5))));
    }
}
