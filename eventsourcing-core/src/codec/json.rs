//! Compact JSON, the codec that every tool can read.

use serde::Serialize;
use serde::de::DeserializeSeed;

use super::PAYLOAD_BYTES_EXPECTED;
use super::checked::{self, NumbersAsText, Refused, Written};
use crate::store::BoxError;

pub(super) fn encode(value: &(impl Serialize + ?Sized)) -> Result<Written<Vec<u8>>, Refused> {
    let mut bytes = Vec::with_capacity(PAYLOAD_BYTES_EXPECTED);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    let Written { is_doubtful, .. } =
        checked::serialize(value, &mut serializer, NumbersAsText::AsTheyAre)?;
    Ok(Written {
        ok: bytes,
        is_doubtful,
    })
}

pub(super) fn decode<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    seed: S,
) -> Result<S::Value, BoxError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

pub(super) fn value(bytes: &[u8]) -> Result<serde_json::Value, BoxError> {
    Ok(serde_json::from_slice(bytes)?)
}
