//! Written values are read again, and compared with the original.
//!
//! It finds what no look at a value can find: types whose `Serialize` and `Deserialize` do not fit together. It costs
//! reading what was just written, so it is done for all that is written only in debug builds, in the laws, and where it is
//! [asked for](crate::Application::with_read_back); otherwise for what is doubtful.

use serde::de::DeserializeSeed;

use super::Codec;
use super::checked::{Problem, Refused};
use super::payload::{self, Encoded};
use crate::panics::catch;
use crate::store::BoxError;
use crate::store::CodecId;

/// Values that are larger are read by their own type only, not by way of a JSON value, which takes many times the memory.
const DETOUR_BYTES_MAX: usize = 1024 * 1024;

/// Requires that the value can be read from `encoded`, directly and by way of a JSON value, as an upcaster may take it.
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
    if payload.len() > DETOUR_BYTES_MAX {
        return Ok(());
    }
    let value = payload::value(*codec, payload, String::new);
    let value = value.map_err(|error| unreadable(String::new(), with_causes(&error).into()))?;
    let json =
        serde_json::to_vec(&value).map_err(|error| unreadable(String::new(), error.into()))?;
    compare(&read(Codec::Json.id(), &json, &seed)?)
}

/// A type that panics when it is read back is one that cannot be read.
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

/// An error and what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}
