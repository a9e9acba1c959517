//! [`Codec`]: converts typed events and states to bytes and back.
//!
//! Stored bytes name their codec, so a store may hold several, and changing the codec needs no
//! migration.

mod checked;
#[cfg(feature = "zstd")]
mod compression;
#[cfg(feature = "message-pack")]
mod depth;
mod json;
#[cfg(feature = "message-pack")]
mod message_pack;
mod payload;
mod read_back;
mod trace;
mod variant;

use std::error::Error;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};
use serde::{Serialize, Serializer};

pub use checked::VALUE_DEPTH_MAX;
#[cfg(feature = "zstd")]
pub use compression::Compression;
pub(crate) use payload::{Encoded, Encoding};
pub(crate) use variant::{deserialize_variant, serialize_variant};

use crate::store::{BoxError, CodecId, PAYLOAD_BYTES_MAX, StoredEvent};
use crate::{Aggregate, Event};
use checked::{Problem, Refused};

/// The encoding of new payloads, chosen with
/// [`Application::with_codec`](crate::Application::with_codec) or
/// [`SystemBuilder::with_codec`](crate::SystemBuilder::with_codec). Payloads written by another
/// codec can still be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Compact JSON: readable in every database and log.
    #[default]
    Json,
    /// MessagePack, with the names of fields: everything that serde can do with JSON works here too
    /// (defaults, added fields, renames), in fewer bytes.
    #[cfg(feature = "message-pack")]
    #[cfg_attr(docsrs, doc(cfg(feature = "message-pack")))]
    MessagePack,
}

/// The reason why a value cannot be converted to bytes, or bytes to a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value cannot be written.
    #[error("cannot encode {what}")]
    Encode {
        /// The event or state.
        what: String,
        /// The error of the encoder.
        #[source]
        source: BoxError,
    },
    /// The bytes are not the fields of such a value.
    #[error("cannot decode {what}")]
    Decode {
        /// The event or state.
        what: String,
        /// The error of the decoder.
        #[source]
        source: BoxError,
    },
    /// The bytes are compressed, and decompress to more than [`PAYLOAD_BYTES_MAX`].
    #[error(
        "cannot decode {what}: it has more than {PAYLOAD_BYTES_MAX} bytes when it is decompressed"
    )]
    TooLarge {
        /// The event or state.
        what: String,
    },
    /// An upcaster cannot convert a payload to the next version.
    #[error("event {name} cannot be upcast from version {from} to version {to}")]
    Upcast {
        /// The stored name.
        name: String,
        /// The version of the payload given to the upcaster.
        from: u16,
        /// The version that the upcaster should return.
        to: u16,
        /// The error of the upcaster.
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
        /// The error of the splitting function.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// This program does not know such an event. If this is the newest release, it has lost a
    /// former name, or does not declare that the event is retired.
    #[error(
        "unknown event {name:?}; this program knows {known}; was it written by a newer release?"
    )]
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
    #[error(
        "{what} cannot be read by this program; build it with the feature {feature:?} of eventsourcing-kit"
    )]
    MissingFeature {
        /// The kind of bytes.
        what: &'static str,
        /// The feature to turn on.
        feature: &'static str,
    },
}

impl CodecError {
    /// Returns `true` if a newer release may be able to read the event: the name is unknown, the
    /// version is higher than the known one, or the codec is unknown.
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
    if found > known {
        "; was it written by a newer release?"
    } else {
        ""
    }
}

/// The initial capacity of the buffer of a payload, in bytes.
const PAYLOAD_BYTES_EXPECTED: usize = 128;

impl Codec {
    const JSON: CodecId = CodecId(1);
    const MESSAGE_PACK: CodecId = CodecId(2);
    const JSON_COMPRESSED: CodecId = CodecId(3);
    const MESSAGE_PACK_COMPRESSED: CodecId = CodecId(4);

    /// The codecs that this program was built with.
    pub const ALL: &[Self] = &[
        Self::Json,
        #[cfg(feature = "message-pack")]
        Self::MessagePack,
    ];

    /// Returns the number that names this codec in a store.
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

    /// Returns the codec with this number; for compressed bytes, the codec of their contents.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`], [`CodecError::MissingFeature`].
    pub const fn from_id(id: CodecId) -> Result<Self, CodecError> {
        if Self::is_compressed(id) && cfg!(not(feature = "zstd")) {
            return Err(CodecError::MissingFeature {
                what: "a compressed payload",
                feature: "zstd",
            });
        }
        match id {
            Self::JSON | Self::JSON_COMPRESSED => Ok(Self::Json),
            #[cfg(feature = "message-pack")]
            Self::MESSAGE_PACK | Self::MESSAGE_PACK_COMPRESSED => Ok(Self::MessagePack),
            #[cfg(not(feature = "message-pack"))]
            Self::MESSAGE_PACK | Self::MESSAGE_PACK_COMPRESSED => Err(CodecError::MissingFeature {
                what: "MessagePack",
                feature: "message-pack",
            }),
            CodecId(number) => Err(CodecError::UnknownCodec(number)),
        }
    }

    const fn is_compressed(id: CodecId) -> bool {
        matches!(id, Self::JSON_COMPRESSED | Self::MESSAGE_PACK_COMPRESSED)
    }

    /// Encodes the fields of an event, as an application stores them.
    ///
    /// # Errors
    /// [`CodecError::Encode`]: a field has a value that would not be read back; the error names the
    /// field and what to do about it.
    pub fn encode_event<E: Event>(self, event: &E) -> Result<Vec<u8>, CodecError> {
        Encoding::from(self)
            .encode_event(event)
            .map(|encoded| encoded.payload)
    }

    /// Decodes stored bytes by `seed`. `what` describes the bytes in errors.
    pub(crate) fn read<T>(
        codec: CodecId,
        bytes: &[u8],
        seed: impl for<'de> DeserializeSeed<'de, Value = T>,
        what: impl Fn() -> String,
    ) -> Result<T, CodecError> {
        payload::decode(codec, bytes, seed, what)
    }

    /// Decodes stored bytes as a JSON value. `what` describes the bytes in errors.
    pub(crate) fn read_value(
        codec: CodecId,
        bytes: &[u8],
        what: impl Fn() -> String,
    ) -> Result<serde_json::Value, CodecError> {
        payload::value(codec, bytes, what)
    }

    /// Decodes the fields of `stored` as a JSON value, independent of their codec and without
    /// knowing their type.
    ///
    /// # Errors
    /// [`CodecError::UnknownCodec`], [`CodecError::MissingFeature`], [`CodecError::TooLarge`],
    /// [`CodecError::Decode`].
    pub fn decode_value(stored: &StoredEvent) -> Result<serde_json::Value, CodecError> {
        payload::value(stored.codec, &stored.payload, || {
            format!("event {}", stored.name)
        })
    }

    pub(crate) fn decode_state<A: Aggregate>(id: CodecId, bytes: &[u8]) -> Result<A, CodecError> {
        payload::decode(id, bytes, StateOf(PhantomData), || {
            format!("snapshot of {}", A::NAME)
        })
    }
}

impl Encoding {
    /// Encodes an event as an application stores it.
    pub(crate) fn encode_event<E: Event>(self, event: &E) -> Result<Encoded, CodecError> {
        let index = event.index();
        let compare = |read: &E| match read.index() == index {
            true => trace::compare(&EventFields(event), &EventFields(read)),
            false => Err(Refused::new(Problem::Different {
                written: event.event_type().name.into(),
                read: read.event_type().name.into(),
            })),
        };
        let encoded = self.encode(&EventFields(event), |encoded| {
            read_back::check(encoded, || Fields::new(index), compare)
        });
        encoded.map_err(|source| cannot_encode(event, source))
    }

    /// Encodes an event as JSON, also if the event could not be stored because it is read back as
    /// another.
    #[cfg(feature = "schema")]
    pub(crate) fn encode_event_unread<E: Event>(event: &E) -> Result<Vec<u8>, CodecError> {
        let written = json::encode(&EventFields(event))
            .map_err(|refused| cannot_encode(event, refused.into()))?;
        Ok(written.ok)
    }

    pub(crate) fn encode_state<A: Aggregate>(self, state: &A) -> Result<Encoded, CodecError> {
        let compare = |read: &A| trace::compare(&State(state), &State(read));
        let encoded = self.encode(&State(state), |encoded| {
            read_back::check(encoded, || StateOf(PhantomData), compare)
        });
        encoded.map_err(|source| CodecError::Encode {
            what: format!("state of {}", A::NAME),
            source,
        })
    }

    /// Encodes a value that is stored as JSON, independent of the codec of events: the payload of a
    /// timer, a rejection.
    pub(crate) fn encode_note<T: Serialize + DeserializeOwned>(
        self,
        value: &T,
    ) -> Result<String, BoxError> {
        let encoding = Self {
            reads_back: self.reads_back,
            ..Codec::Json.into()
        };
        let compare = |read: &T| trace::compare(value, read);
        let encoded = encoding.encode(value, |encoded| {
            read_back::check(encoded, || PhantomData, compare)
        })?;
        Ok(String::from_utf8(encoded.payload)?)
    }

    /// Encodes a value like [`encode_note`](Self::encode_note), without checking that it can be
    /// read: its type may lack `Deserialize`.
    pub(crate) fn encode_unread_note(value: &impl Serialize) -> Result<String, BoxError> {
        Ok(String::from_utf8(json::encode(value)?.ok)?)
    }
}

fn cannot_encode<E: Event>(event: &E, source: BoxError) -> CodecError {
    CodecError::Encode {
        what: format!("event {}", event.event_type().name),
        source,
    }
}

struct EventFields<'a, E>(&'a E);

impl<E: Event> Serialize for EventFields<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_payload(serializer)
    }
}

/// The fields of the event at an index.
pub(crate) struct Fields<E> {
    index: usize,
    of: PhantomData<fn() -> E>,
}

impl<E> Fields<E> {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            of: PhantomData,
        }
    }
}

impl<'de, E: Event> DeserializeSeed<'de> for Fields<E> {
    type Value = E;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<E, D::Error> {
        E::deserialize_payload(self.index, deserializer)
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

    /// Tests the present combination of features; the checks run with each of them.
    #[test]
    fn codecs_that_a_program_was_built_without_are_refused_with_the_feature() {
        let packs = cfg!(feature = "message-pack");
        let compresses = cfg!(feature = "zstd");

        for (number, missing) in [
            (1, None),
            (2, (!packs).then_some("message-pack")),
            (3, (!compresses).then_some("zstd")),
            (
                4,
                if compresses {
                    (!packs).then_some("message-pack")
                } else {
                    Some("zstd")
                },
            ),
        ] {
            match (Codec::from_id(CodecId(number)), missing) {
                (Ok(_), None) => {}
                (Err(error), Some(feature)) => {
                    let expected =
                        format!("build it with the feature {feature:?} of eventsourcing-kit");
                    assert!(error.to_string().ends_with(&expected), "{number}: {error}");
                }
                (found, _) => panic!("codec {number}: {found:?}, missing {missing:?}"),
            }
        }
        assert!(matches!(
            Codec::from_id(CodecId(5)),
            Err(CodecError::UnknownCodec(5))
        ));
    }
}
