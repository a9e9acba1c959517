//! Builds the streams, events, snapshots and steps that the promises are tested with.

use eventsourcing_core::store::{
    Append, CodecId, Expected, Fingerprint, LogId, Name, NewEvent, NewSnapshot, Position, StreamId,
    Tracking, Version,
};
use jiff::Timestamp;
use uuid::Uuid;

pub(super) const CATEGORY: Name = Name::from_static("Account");
pub(super) const OTHER_CATEGORY: Name = Name::from_static("Transfer");
pub(super) const FOLLOWER: Name = Name::from_static("statements");
pub(super) const FINGERPRINT: Fingerprint = Fingerprint(7);

/// Returns a new, empty stream.
pub(super) fn stream() -> StreamId {
    StreamId::new(CATEGORY, Uuid::now_v7())
}

/// Returns a new, empty stream of the other category.
pub(super) fn other_stream() -> StreamId {
    StreamId::new(OTHER_CATEGORY, Uuid::now_v7())
}

/// Returns an empty append.
pub(super) fn append() -> Append {
    Append::new(Timestamp::constant(1_700_000_000, 123_456_000))
}

/// Returns an append of one event at the end of `stream`.
pub(super) fn append_to(stream: &StreamId, text: &str) -> Append {
    append().with_events(stream.clone(), Expected::Any, vec![event(text)])
}

/// Returns an event with `text` as its payload.
pub(super) fn event(text: &str) -> NewEvent {
    named_event("Happened", text)
}

pub(super) fn named_event(name: &str, text: &str) -> NewEvent {
    NewEvent {
        name: name.into(),
        schema_version: 1,
        codec: CodecId(1),
        payload: text.as_bytes().to_vec(),
        metadata: Vec::new(),
    }
}

/// Returns events with the payloads `"1"` to `"count"`.
pub(super) fn numbered_events(count: usize) -> Vec<NewEvent> {
    (1..=count)
        .map(|number| event(&number.to_string()))
        .collect()
}

/// Returns a snapshot whose payload is the version it shows.
pub(super) fn snapshot(stream: &StreamId, version: u64) -> NewSnapshot {
    snapshot_by(FINGERPRINT, stream, version)
}

pub(super) fn snapshot_by(
    fingerprint: Fingerprint,
    stream: &StreamId,
    version: u64,
) -> NewSnapshot {
    NewSnapshot {
        stream: stream.clone(),
        version: Version::new(version),
        fingerprint,
        codec: CodecId(1),
        payload: version.to_string().into_bytes(),
    }
}

/// Returns the step of [`FOLLOWER`] that begins at `from`.
pub(super) fn step_from(from: u64, upstream: LogId) -> Step {
    Step {
        follower: FOLLOWER,
        from,
        upstream,
    }
}

pub(super) struct Step {
    follower: Name,
    from: u64,
    upstream: LogId,
}

impl Step {
    pub(super) fn by(self, follower: impl Into<Name>) -> Self {
        Self {
            follower: follower.into(),
            ..self
        }
    }

    pub(super) fn to(self, to: u64) -> Tracking {
        let Self {
            follower,
            from,
            upstream,
        } = self;
        Tracking::new(follower, upstream, Position::new(from), Position::new(to))
    }
}
