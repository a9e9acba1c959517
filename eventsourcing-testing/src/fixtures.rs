//! Small values for tests of a store: a stream, an event, an append.

use eventsourcing_core::store::{Append, CodecId, Expected, NewEvent, StoreError, StreamId};
use jiff::Timestamp;
use uuid::Uuid;

/// Returns a new stream.
#[must_use]
pub fn stream() -> StreamId {
    StreamId::new("account", Uuid::new_v4())
}

/// Returns an event with this payload.
pub fn event(payload: impl Into<Vec<u8>>) -> NewEvent {
    NewEvent {
        name: "deposited".into(),
        schema_version: 1,
        codec: CodecId(0),
        payload: payload.into(),
        metadata: Vec::new(),
    }
}

/// Returns an append of one event to a new stream.
#[must_use]
pub fn append() -> Append {
    append_to(&stream(), Expected::NoStream)
}

/// Returns an append of one event to `stream`.
#[must_use]
pub fn append_to(stream: &StreamId, expected: Expected) -> Append {
    Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), expected, vec![event("{}")])
}

/// Returns the text of an error.
///
/// # Panics
/// The text is not one readable line.
pub fn one_line(error: &StoreError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text
}
