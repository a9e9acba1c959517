//! Converts values to stored bytes and back, for every codec.
//!
//! All encoding and decoding passes through this file, so compression, limits and checks apply
//! everywhere.

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

/// The encoding of everything that an application writes.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub(crate) codec: Codec,
    #[cfg(feature = "zstd")]
    pub(crate) compression: Option<Compression>,
    /// `true` if every written value is read back, and not only the doubtful ones.
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

/// Encoded bytes and the codec that wrote them.
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

    /// Reads back only doubtful values, in debug builds too.
    pub(crate) const fn without_read_back(mut self) -> Self {
        self.reads_back = false;
        self
    }

    /// Encodes a value. A doubtful one is passed to `check`.
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
        // The check reads the compressed bytes, which are the ones that every later load has to
        // read.
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
        Ok(_) => "the value could not be read at first, but could when it was read again".into(),
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

/// Records the path of the value being read.
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

/// Decodes stored bytes by `seed`. `what` describes the bytes in errors.
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

/// Decodes stored bytes as a JSON value.
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

/// Returns the bytes as they are: without the feature, [`Codec::from_id`] has refused compressed
/// ones before.
#[cfg(not(feature = "zstd"))]
fn decompressed<'a>(
    _: CodecId,
    bytes: &'a [u8],
    _: impl Fn() -> String,
) -> Result<Cow<'a, [u8]>, CodecError> {
    Ok(Cow::Borrowed(bytes))
}
