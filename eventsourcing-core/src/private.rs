//! What macro expansions name. No promises: use what the crate root exports.

pub use serde;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;

/// See [`Event::serialize_payload`](crate::Event::serialize_payload).
pub fn serialize_variant<E: Serialize, S: Serializer>(event: &E, serializer: S) -> Result<S::Ok, S::Error> {
    codec::serialize_variant(event, serializer)
}

/// See [`Event::deserialize_payload`](crate::Event::deserialize_payload).
pub fn deserialize_variant<'de, E, D>(index: usize, deserializer: D) -> Result<E, D::Error>
where
    E: Deserialize<'de>,
    D: Deserializer<'de>,
{
    codec::deserialize_variant(index, deserializer)
}

/// Combines the fingerprint of a state's shape with that of its fold.
#[must_use]
pub const fn fingerprint(shape: u64, fold: u64) -> crate::store::Fingerprint {
    crate::store::Fingerprint(shape.rotate_left(32) ^ fold)
}
