//! The one place where values become stored bytes and stored bytes become values, whatever codec they name.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;

use super::checked::{Refused, Written};
#[cfg(feature = "zstd")]
use super::compression::{self, Compression, DecompressError};
#[cfg(feature = "message-pack")]
use super::message_pack;
use super::{Codec, CodecError, json};
use crate::store::{BoxError, CodecId};

/// How an application encodes what it writes.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub(crate) codec: Codec,
    #[cfg(feature = "zstd")]
    pub(crate) compression: Option<Compression>,
    /// All that is written is read again, and not only what is doubtful.
    pub(crate) reads_back: bool,
}

impl Default for Encoding {
    fn default() -> Self {
        Codec::default().into()
    }
}

impl From<Codec> for Encoding {
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            ..Self::JSON
        }
    }
}

/// Bytes, and the codec that they name.
pub(crate) struct Encoded {
    pub(crate) codec: CodecId,
    pub(crate) payload: Vec<u8>,
}

impl Encoding {
    pub(crate) const JSON: Self = Self {
        codec: Codec::Json,
        #[cfg(feature = "zstd")]
        compression: None,
        reads_back: cfg!(debug_assertions),
    };

    /// Whatever is not doubtful is not read again, in debug builds neither.
    #[cfg(feature = "testing")]
    pub(crate) const fn without_read_back(mut self) -> Self {
        self.reads_back = false;
        self
    }

    /// The bytes of a value. What is doubtful is put to `check`.
    pub(super) fn encode(
        self,
        value: &impl Serialize,
        check: impl FnOnce(&Encoded) -> Result<(), Refused>,
    ) -> Result<Encoded, BoxError> {
        let Written {
            ok: payload,
            is_doubtful,
        } = self.codec.encode(value)?;
        let encoded = self.compressed(payload);
        if self.reads_back || is_doubtful {
            check(&encoded)?;
        }
        Ok(encoded)
    }

    fn compressed(self, payload: Vec<u8>) -> Encoded {
        #[cfg(feature = "zstd")]
        if let Some(compressed) = self
            .compression
            .and_then(|compression| compression.compress(&payload))
        {
            return Encoded {
                codec: self.codec.compressed_id(),
                payload: compressed,
            };
        }
        Encoded {
            codec: self.codec.id(),
            payload,
        }
    }
}

impl Codec {
    pub(super) fn encode(self, value: &impl Serialize) -> Result<Written<Vec<u8>>, Refused> {
        match self {
            Self::Json => json::encode(value),
            #[cfg(feature = "message-pack")]
            Self::MessagePack => message_pack::encode(value),
        }
    }
}

/// Returns the field that `seed` cannot read, and the reason.
pub(super) fn why_unreadable<T>(
    id: CodecId,
    bytes: &[u8],
    seed: impl for<'de> DeserializeSeed<'de, Value = T>,
) -> (String, BoxError) {
    let mut track = serde_path_to_error::Track::new();
    let error = match decode(
        id,
        bytes,
        Tracked {
            seed,
            track: &mut track,
        },
        String::new,
    ) {
        Ok(_) => "it is read now, and was not a moment ago".into(),
        Err(CodecError::Decode { source, .. }) => source,
        Err(error) => error.into(),
    };
    let path = track.path();
    (
        if path.iter().len() == 0 {
            String::new()
        } else {
            path.to_string()
        },
        error,
    )
}

/// Remembers where reading has come to.
struct Tracked<'a, S> {
    seed: S,
    track: &'a mut serde_path_to_error::Track,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Tracked<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.seed
            .deserialize(serde_path_to_error::Deserializer::new(
                deserializer,
                self.track,
            ))
    }
}

/// What `seed` makes of stored bytes. `what` they are is said in errors.
pub(super) fn decode<T>(
    id: CodecId,
    bytes: &[u8],
    seed: impl for<'de> DeserializeSeed<'de, Value = T>,
    what: impl Fn() -> String,
) -> Result<T, CodecError> {
    let codec = Codec::from_id(id)?;
    let bytes = decompressed(id, bytes, &what)?;
    let decoded = match codec {
        Codec::Json => json::decode(&bytes, seed),
        #[cfg(feature = "message-pack")]
        Codec::MessagePack => message_pack::decode(&bytes, seed),
    };
    decoded.map_err(|source| CodecError::Decode {
        what: what(),
        source,
    })
}

/// Stored bytes as a JSON value.
pub(super) fn value(
    id: CodecId,
    bytes: &[u8],
    what: impl Fn() -> String,
) -> Result<Value, CodecError> {
    let codec = Codec::from_id(id)?;
    let bytes = decompressed(id, bytes, &what)?;
    let value = match codec {
        Codec::Json => json::value(&bytes),
        #[cfg(feature = "message-pack")]
        Codec::MessagePack => message_pack::value(&bytes),
    };
    value.map_err(|source| CodecError::Decode {
        what: what(),
        source,
    })
}

#[cfg(feature = "zstd")]
fn decompressed<'a>(
    id: CodecId,
    bytes: &'a [u8],
    what: impl Fn() -> String,
) -> Result<Cow<'a, [u8]>, CodecError> {
    if !Codec::is_compressed(id) {
        return Ok(Cow::Borrowed(bytes));
    }
    compression::decompress(bytes)
        .map(Cow::Owned)
        .map_err(|error| match error {
            DecompressError::TooLarge => CodecError::TooLarge { what: what() },
            DecompressError::Broken(source) => CodecError::Decode {
                what: what(),
                source: source.into(),
            },
        })
}

/// [`Codec::from_id`] has refused what is compressed.
#[cfg(not(feature = "zstd"))]
fn decompressed<'a>(
    _: CodecId,
    bytes: &'a [u8],
    _: impl Fn() -> String,
) -> Result<Cow<'a, [u8]>, CodecError> {
    Ok(Cow::Borrowed(bytes))
}
