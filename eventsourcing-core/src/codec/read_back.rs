//! Reads written values back, and compares them with the original.
//!
//! Only reading back finds types whose `Serialize` and `Deserialize` do not match. It costs as much
//! as decoding, so every value is read back only in debug builds, in the laws, and where it is
//! [requested](crate::Application::with_read_back); in other builds, only doubtful values.

use serde::de::DeserializeSeed;

use super::Codec;
use super::checked::{Problem, Refused};
use super::payload::{self, Encoded};
use crate::panics::catch;
use crate::store::BoxError;
use crate::store::CodecId;

/// The size above which values are read by their own type only, not through a JSON value, which
/// takes many times the memory.
const DETOUR_BYTES_MAX: usize = 1024 * 1024;

/// Checks that the value can be read from `encoded`, directly and through a JSON value, as an
/// upcaster may read it.
pub(super) fn check<T, S>(
    encoded: &Encoded,
    seed: impl Fn() -> S,
    compare: impl Fn(&T) -> Result<(), Refused>,
) -> Result<(), Refused>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let Encoded { codec, payload } = encoded;
    compare(&read(*codec, payload, &seed)?)?;
    // An upcaster may take the payload as a `serde_json::Value` in a later release, which holds
    // less than MessagePack. A value that is lost on this way must be refused now, before it is
    // stored.
    if payload.len() > DETOUR_BYTES_MAX {
        return Ok(());
    }
    let value = payload::value(*codec, payload, String::new);
    let value = value.map_err(|error| unreadable(String::new(), with_causes(&error).into()))?;
    let json =
        serde_json::to_vec(&value).map_err(|error| unreadable(String::new(), error.into()))?;
    compare(&read(Codec::Json.id(), &json, &seed)?)
}

/// Reads the value back. A panic while reading counts as an error.
fn read<T, S>(codec: CodecId, bytes: &[u8], seed: &impl Fn() -> S) -> Result<T, Refused>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let read = catch(|| payload::decode(codec, bytes, seed(), String::new));
    match read.map_err(|panic| unreadable(String::new(), panic.into()))? {
        Ok(value) => Ok(value),
        Err(_) => {
            let (field, cause) = payload::why_unreadable(codec, bytes, seed());
            Err(unreadable(field, cause))
        }
    }
}

fn unreadable(field: String, cause: BoxError) -> Refused {
    Refused::at(field, Problem::Unreadable(cause))
}

/// Returns the text of an error and of all its sources.
fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}
