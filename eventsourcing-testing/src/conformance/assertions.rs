//! Reads the contents of a store after an operation, and checks the errors that a store returns.

use std::fmt::Debug;
use std::time::Duration;

use eventsourcing_core::store::{
    Appended, EventStore, FollowerNotes, FollowerStore, Load, Loaded, LogId, LogQuery, Name,
    NotesQuery, Position, StoreError, StoredEvent, StreamId, StreamQuery, Version,
};

use super::builders::{FINGERPRINT, FOLLOWER};

/// Returns all events of a stream.
pub(super) async fn stream_of(store: &impl EventStore, stream: &StreamId) -> Vec<StoredEvent> {
    store
        .read_stream(StreamQuery::new(stream.clone()))
        .await
        .expect("a stream can be read")
}

pub(super) async fn version_of(store: &impl EventStore, stream: &StreamId) -> Version {
    stream_of(store, stream)
        .await
        .last()
        .map_or(Version::ZERO, |event| event.version)
}

/// Returns all events of the log, by following ceilings up to the head.
pub(crate) async fn log_of(store: &impl EventStore) -> Vec<StoredEvent> {
    follow(store, LogQuery::after(Position::ZERO)).await
}

/// Returns the events that match `query`, by following ceilings up to the head.
pub(super) async fn follow(store: &impl EventStore, mut query: LogQuery) -> Vec<StoredEvent> {
    let head = head_of(store).await;
    let mut events = Vec::new();
    while query.after < head {
        let page = store
            .read_log(query.clone())
            .await
            .expect("the log can be read");
        if page.ceiling <= query.after {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        events.extend(page.events);
        query.after = page.ceiling;
    }
    events
}

pub(super) async fn head_of(store: &impl EventStore) -> Position {
    store.head().await.expect("the head can be read")
}

pub(super) async fn newest_of(store: &impl EventStore) -> Position {
    store
        .newest_position()
        .await
        .expect("the newest position can be read")
}

pub(super) async fn tracking_of(
    store: &impl FollowerStore,
    follower: &Name,
    upstream: LogId,
) -> Position {
    store
        .tracking(follower, upstream)
        .await
        .expect("tracking can be read")
}

/// Returns the position, the revision and all notes of the follower.
pub(super) async fn notebook_of(
    store: &impl FollowerStore,
    follower: &Name,
    upstream: LogId,
) -> FollowerNotes {
    store
        .notes(NotesQuery::new(follower.clone(), upstream, ""))
        .await
        .expect("notes can be read")
}

/// Loads the whole stream with the snapshot of the usual fingerprint.
pub(super) async fn loaded(store: &impl EventStore, stream: &StreamId, to: Version) -> Loaded {
    let load = Load::new(stream.clone()).to(to).with_snapshot(FINGERPRINT);
    store.load(load).await.expect("a stream can be loaded")
}

pub(super) fn text_of(event: &StoredEvent) -> String {
    String::from_utf8_lossy(&event.payload).into_owned()
}

pub(super) fn texts_of(events: &[StoredEvent]) -> Vec<String> {
    events.iter().map(text_of).collect()
}

pub(super) fn versions_of(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.as_u64()).collect()
}

pub(super) fn loaded_versions(loaded: &Loaded) -> Vec<u64> {
    loaded
        .events
        .iter()
        .map(|event| event.version.as_u64())
        .collect()
}

pub(super) fn positions_of(events: &[StoredEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

pub(super) fn assert_positions_grow(events: &[StoredEvent]) {
    let positions = positions_of(events);
    assert!(
        positions.is_sorted_by(|one, next| one < next),
        "positions must grow: {positions:?}"
    );
    assert!(
        positions.iter().all(|position| *position > Position::ZERO),
        "positions start after zero: {positions:?}"
    );
}

/// Everything that a reader can see of a few streams and followers. Two pictures are equal if nothing was written in between.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    head: Position,
    log: Vec<StoredEvent>,
    streams: Vec<Vec<StoredEvent>>,
    loaded: Vec<Loaded>,
    tracking: Vec<Position>,
    notebooks: Vec<FollowerNotes>,
}

impl Picture {
    pub(super) async fn of(store: &impl EventStore, streams: &[&StreamId]) -> Self {
        let mut picture = Self {
            head: head_of(store).await,
            log: log_of(store).await,
            streams: Vec::new(),
            loaded: Vec::new(),
            tracking: Vec::new(),
            notebooks: Vec::new(),
        };
        for stream in streams {
            picture.streams.push(stream_of(store, stream).await);
            picture
                .loaded
                .push(loaded(store, stream, Version::MAX).await);
        }
        picture
    }

    pub(super) async fn with_follower(store: &impl FollowerStore, streams: &[&StreamId]) -> Self {
        Self::with_followers(store, streams, &[&FOLLOWER]).await
    }

    pub(super) async fn with_followers(
        store: &impl FollowerStore,
        streams: &[&StreamId],
        followers: &[&Name],
    ) -> Self {
        let mut picture = Self::of(store, streams).await;
        for follower in followers {
            picture
                .tracking
                .push(tracking_of(store, follower, store.log_id()).await);
            picture
                .notebooks
                .push(notebook_of(store, follower, store.log_id()).await);
        }
        picture
    }
}

pub(super) fn assert_conflict(result: Result<Appended, StoreError>, on: &StreamId, at: Version) {
    match result {
        Err(StoreError::Conflict { stream, actual, .. }) => {
            assert_eq!((&stream, actual), (on, at), "what conflicts");
        }
        other => panic!("expected a conflict on {on} at version {at}, found {other:?}"),
    }
}

pub(super) fn assert_tracking_conflict<T: Debug>(
    result: Result<T, StoreError>,
    of: &Name,
    at: u64,
) {
    match result {
        Err(StoreError::TrackingConflict {
            follower, actual, ..
        }) => {
            assert_eq!(
                (&follower, actual.as_u64()),
                (of, at),
                "where the follower is"
            );
        }
        other => panic!("expected a conflict of follower {of} at position {at}, found {other:?}"),
    }
}

pub(super) fn assert_invalid<T>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Invalid { reason }) => {
            assert!(!reason.is_empty(), "{what}: the reason is missing");
        }
        Err(other) => panic!("{what} must be invalid, found {other:?}"),
        Ok(_) => panic!("{what} must be invalid, but was accepted"),
    }
}
