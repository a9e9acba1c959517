//! The one place where values become stored bytes and stored bytes become values, whatever codec they name.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeSeed;
use serde_json::Value;

#[cfg(feature = "zstd")]
use super::compression::{self, Compression, DecompressError};
#[cfg(feature = "message-pack")]
use super::message_pack;
use super::{Cause, Codec, CodecError, json};
use crate::store::CodecId;

/// How an application encodes what it writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encoding {
    pub(crate) codec: Codec,
    #[cfg(feature = "zstd")]
    pub(crate) compression: Option<Compression>,
}

/// Bytes, and the codec that they name.
pub(crate) struct Encoded {
    pub(crate) codec: CodecId,
    pub(crate) payload: Vec<u8>,
}

impl Encoding {
    pub(super) fn encode(self, value: &impl Serialize) -> Result<Encoded, Cause> {
        let payload = self.codec.encode(value)?;
        #[cfg(feature = "zstd")]
        if let Some(compressed) = self.compression.and_then(|compression| compression.compress(&payload)) {
            return Ok(Encoded { codec: self.codec.compressed_id(), payload: compressed });
        }
        Ok(Encoded { codec: self.codec.id(), payload })
    }
}

impl Codec {
    pub(super) fn encode(self, value: &impl Serialize) -> Result<Vec<u8>, Cause> {
        match self {
            Self::Json => json::encode(value),
            #[cfg(feature = "message-pack")]
            Self::MessagePack => message_pack::encode(value),
        }
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
    decoded.map_err(|source| CodecError::Decode { what: what(), source })
}

/// Stored bytes as a JSON value.
pub(super) fn value(id: CodecId, bytes: &[u8], what: impl Fn() -> String) -> Result<Value, CodecError> {
    let codec = Codec::from_id(id)?;
    let bytes = decompressed(id, bytes, &what)?;
    let value = match codec {
        Codec::Json => json::value(&bytes),
        #[cfg(feature = "message-pack")]
        Codec::MessagePack => message_pack::value(&bytes),
    };
    value.map_err(|source| CodecError::Decode { what: what(), source })
}

#[cfg(feature = "zstd")]
fn decompressed<'a>(id: CodecId, bytes: &'a [u8], what: impl Fn() -> String) -> Result<Cow<'a, [u8]>, CodecError> {
    if !Codec::is_compressed(id) {
        return Ok(Cow::Borrowed(bytes));
    }
    compression::decompress(bytes).map(Cow::Owned).map_err(|error| match error {
        DecompressError::TooLarge => CodecError::TooLarge { what: what() },
        DecompressError::Broken(source) => CodecError::Decode { what: what(), source: source.into() },
    })
}

/// [`Codec::from_id`] has refused what is compressed.
#[cfg(not(feature = "zstd"))]
fn decompressed<'a>(_: CodecId, bytes: &'a [u8], _: impl Fn() -> String) -> Result<Cow<'a, [u8]>, CodecError> {
    Ok(Cow::Borrowed(bytes))
}
