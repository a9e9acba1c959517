//! [`View`]: the visible contents of a state, as JSON and as `Debug` prints it, to compare two states.

use eventsourcing_core::private::testing::decode_state;
use eventsourcing_core::{Aggregate, Codec};
use serde_json::Value;

/// Prints a state with all its fields, also those that serde skips.
pub(super) type Printer<A> = fn(&A) -> String;

/// The number of copies that are compared to find a set without order.
const COPIES: usize = 40;

/// The visible contents of a state.
#[derive(Clone, Debug)]
pub(super) struct View {
    bytes: Vec<u8>,
    json: Value,
    /// The output of `Debug`, if the state has it.
    printed: Option<String>,
    copy: fn(&[u8]) -> Option<Value>,
}

impl View {
    /// Reads the contents of a state.
    ///
    /// # Errors
    /// The state cannot be written.
    pub(super) fn of<A: Aggregate>(state: &A, printer: Option<Printer<A>>) -> Result<Self, String> {
        let bytes =
            to_json(state).map_err(|error| format!("the state cannot be written: {error}"))?;
        let json = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        Ok(Self {
            bytes,
            json,
            printed: printer.map(|print| print(state)),
            copy: copy::<A>,
        })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        // `Debug` prints maps and sets in no order, even where JSON sorts keys, so only the words are compared.
        self.printed.as_deref().map(words) == other.printed.as_deref().map(words)
            && is_same(&self.json, &other.json, || (self.copy)(&self.bytes))
    }

    /// Returns the text that shows the difference from `other`: JSON, unless only the output of `Debug` differs.
    pub(super) fn shown(&self, other: &Self) -> String {
        match &self.printed {
            Some(printed) if self.json == other.json => printed.clone(),
            _ => self.json.to_string(),
        }
    }
}

/// Returns `true` if both values are equal except for the order of sets. JSON shows a set as a list; it is recognised because
/// copies of a hash set have different orders.
pub(super) fn is_same(one: &Value, other: &Value, copy: impl Fn() -> Option<Value>) -> bool {
    let has_no_order = || {
        let first = copy();
        (0..COPIES).any(|_| copy() != first)
    };
    one == other || sorted(one) == sorted(other) && has_no_order()
}

fn copy<A: Aggregate>(bytes: &[u8]) -> Option<Value> {
    let state = decode_state::<A>(Codec::Json.id(), bytes).ok()?;
    serde_json::from_slice(&to_json(&state).ok()?).ok()
}

fn to_json<A: Aggregate>(state: &A) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    state.serialize_state(&mut serde_json::Serializer::new(&mut bytes))?;
    Ok(bytes)
}

pub(super) fn sorted(json: &Value) -> Value {
    match json {
        Value::Array(elements) => {
            let mut elements: Vec<_> = elements.iter().map(sorted).collect();
            elements.sort_by_key(Value::to_string);
            Value::Array(elements)
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), sorted(value)))
            .collect(),
        other => other.clone(),
    }
}

fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<_> = text
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .collect();
    words.sort_unstable();
    words
}
