//! MessagePack: the same fields by the same names as in JSON, in fewer bytes.
//!
//! Types are asked for their human-readable form, as with JSON: an id is text here too. This costs
//! bytes, and gives both codecs one shape: a payload written by either can be shown as JSON, and be
//! upcast as JSON.

use std::fmt;
use std::io::ErrorKind;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Serialize, de};
use serde_json::{Map, Number, Value};

use super::checked::{self, NumbersAsText, Refused, Written};
use super::{PAYLOAD_BYTES_EXPECTED, depth};
use crate::store::BoxError;

/// The depth to which values may be nested, as in JSON. Deeper values are refused before they can
/// overflow the stack.
const DEPTH_MAX: usize = 128;

pub(super) fn encode(value: &(impl Serialize + ?Sized)) -> Result<Written<Vec<u8>>, Refused> {
    let mut bytes = Vec::with_capacity(PAYLOAD_BYTES_EXPECTED);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes)
        .with_struct_map()
        .with_human_readable();
    let Written { is_doubtful, .. } =
        checked::serialize(value, &mut serializer, NumbersAsText::AsNumbers)?;
    Ok(Written {
        ok: bytes,
        is_doubtful,
    })
}

pub(super) fn decode<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    seed: S,
) -> Result<S::Value, BoxError> {
    if !depth::is_at_most(DEPTH_MAX, bytes) {
        return Err(format!("the value is nested deeper than {DEPTH_MAX} levels").into());
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    deserializer.set_max_depth(DEPTH_MAX);
    let value = seed.deserialize(&mut deserializer)?;
    // `rmp_serde` leaves bytes after the value unread without an error. Damaged bytes could pass
    // for a shorter value that way, so reading one more value must fail at the end of the bytes.
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(end))
            if end.kind() == ErrorKind::UnexpectedEof =>
        {
            Ok(value)
        }
        _ => Err("trailing bytes".into()),
    }
}

/// Converts to JSON: bytes become numbers, keys become text, and a number that JSON does not have
/// becomes null.
pub(super) fn value(bytes: &[u8]) -> Result<Value, BoxError> {
    decode(bytes, PhantomData::<AsJson>).map(|AsJson(value)| value)
}

struct AsJson(Value);

impl<'de> Deserialize<'de> for AsJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsJsonVisitor)
    }
}

struct AsJsonVisitor;

impl<'de> Visitor<'de> for AsJsonVisitor {
    type Value = AsJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<AsJson, E> {
        Ok(AsJson(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<AsJson, E> {
        Ok(AsJson(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<AsJson, E> {
        Ok(AsJson(value.into()))
    }

    fn visit_f32<E>(self, value: f32) -> Result<AsJson, E> {
        Ok(AsJson(Value::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<AsJson, E> {
        Ok(AsJson(
            Number::from_f64(value).map_or(Value::Null, Value::Number),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<AsJson, E> {
        Ok(AsJson(value.into()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<AsJson, E> {
        Ok(AsJson(value.into()))
    }

    fn visit_unit<E>(self) -> Result<AsJson, E> {
        Ok(AsJson(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<AsJson, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<AsJson, D::Error> {
        AsJson::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<AsJson, D::Error> {
        // MessagePack's extension types: a number and bytes.
        AsJson::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<AsJson, A::Error> {
        let mut values = Vec::new();
        while let Some(AsJson(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(AsJson(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<AsJson, A::Error> {
        let mut object = Map::new();
        while let Some((AsJson(key), AsJson(value))) = entries.next_entry()? {
            let key = key_of(key);
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!(
                    "the key {key:?} occurs twice in a map"
                )));
            }
            object.insert(key, value);
        }
        Ok(AsJson(Value::Object(object)))
    }
}

/// Returns the key as JSON text, if it is not text itself.
fn key_of(key: Value) -> String {
    match key {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
