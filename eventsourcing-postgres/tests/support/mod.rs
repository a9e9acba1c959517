//! The fixtures of this crate's tests: a server, a place on it, a stream, an append.
#![allow(dead_code, unused_imports, reason = "each test uses some of it")]

pub(crate) mod by_hand;
pub(crate) mod follower;
pub(crate) mod place;
pub(crate) mod proxy;
pub(crate) mod server;

use std::time::Duration;

use eventsourcing_core::store::{
    Append, CodecId, EventStore, Expected, Fingerprint, FollowerStore, Load, LogQuery, NewEvent,
    NewSnapshot, Position, StoreError, StoredEvent, StreamId, Version,
};
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

pub(crate) use eventsourcing_testing::fixtures::{append, append_to, event, one_line, stream};
pub(crate) use place::Place;
pub(crate) use server::Server;

/// The fingerprint of every snapshot in these tests.
pub(crate) const FINGERPRINT: Fingerprint = Fingerprint(7);

/// Returns all readable events, page by page.
pub(crate) async fn log_of(store: &impl FollowerStore) -> Vec<StoredEvent> {
    let mut log = Vec::new();
    let mut after = Position::ZERO;

    loop {
        let page = store
            .read_log(LogQuery::after(after))
            .await
            .expect("a page");
        if page.ceiling == after {
            return log;
        }
        (after, log) = (page.ceiling, log.into_iter().chain(page.events).collect());
    }
}

/// Returns reads of all of `stream`, and of the first page of the log.
pub(crate) fn reads_of(stream: &StreamId) -> (Load, LogQuery) {
    let load = Load::new(stream.clone()).with_snapshot(FINGERPRINT);
    (load, LogQuery::after(Position::ZERO))
}

pub(crate) fn snapshot(stream: &StreamId, version: u64) -> NewSnapshot {
    let stream = stream.clone();
    let version = Version::new(version);

    NewSnapshot {
        stream,
        version,
        fingerprint: FINGERPRINT,
        codec: CodecId(0),
        payload: b"state".to_vec(),
    }
}

/// Opens a connection that belongs to the test.
///
/// # Panics
/// The server does not answer.
pub(crate) async fn connect(url: &str) -> Client {
    let connecting = tokio_postgres::connect(url, NoTls);
    let (client, connection) = timeout(Duration::from_secs(20), connecting)
        .await
        .expect("an answer")
        .expect("a connection");
    tokio::spawn(connection);
    client
}

/// Prints a figure for the person who runs the test.
#[expect(
    clippy::print_stderr,
    reason = "the harness keeps it back unless asked"
)]
pub(crate) fn report(line: &str) {
    eprintln!("{line}");
}
