//! Killed connections and restarting servers: every call ends, and the same store continues. Promises P16 and P28.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, LogQuery, Position, StoreError, StreamId,
};
use eventsourcing_postgres::PostgresStore;
use eventsourcing_testing::Seed;
use jiff::Timestamp;
use support::follower::Follower;
use support::server::FORGETFUL;
use support::{Place, Server, event, log_of, reads_of, report, stream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{sleep, timeout};

/// The time limit of each call.
const CALL_MAX: Duration = Duration::from_secs(30);
const WRITERS: u64 = 4;

/// Writers, readers of streams and readers of the log that continue through all failures until they are stopped.
struct Load {
    stop: watch::Sender<bool>,
    writers: Vec<JoinHandle<Vec<String>>>,
    loaders: Vec<JoinHandle<()>>,
    follower: Follower,
    failures: Arc<AtomicU64>,
}

impl Load {
    fn start(store: &PostgresStore) -> Self {
        let stop = watch::Sender::new(false);
        let failures = Arc::new(AtomicU64::new(0));
        let streams: Vec<_> = (0..WRITERS).map(|_| stream()).collect();
        let writers = (0..WRITERS).zip(&streams).map(|(writer, stream)| {
            tokio::spawn(write(
                store.clone(),
                writer,
                stream.clone(),
                stop.subscribe(),
                Arc::clone(&failures),
            ))
        });
        let writers = writers.collect();
        let loaders = streams.iter().map(|stream| {
            tokio::spawn(load(
                store.clone(),
                stream.clone(),
                stop.subscribe(),
                Arc::clone(&failures),
            ))
        });
        let loaders = loaders.collect();
        let follower = Follower::start(store.clone(), LogQuery::after(Position::ZERO).limit(37));
        Self {
            stop,
            writers,
            loaders,
            follower,
            failures,
        }
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// Ends the load. Every acknowledged event must be in the log once, and the follower must have seen the log.
    async fn end(self, store: &PostgresStore) {
        self.stop.send_replace(true);
        let mut acknowledged = Vec::new();
        for writer in self.writers {
            acknowledged.extend(
                timeout(CALL_MAX, writer)
                    .await
                    .expect("no append hangs")
                    .expect("a writer"),
            );
        }
        for loader in self.loaders {
            timeout(CALL_MAX, loader)
                .await
                .expect("no load hangs")
                .expect("a reader");
        }
        assert!(acknowledged.len() > 20, "hardly anything was written");
        let log = log_of(store).await;
        let mut written: Vec<_> = log
            .iter()
            .map(|event| String::from_utf8(event.payload.clone()).expect("text"))
            .collect();
        let seen = self
            .follower
            .seen_until(log.last().expect("events").position)
            .await;
        assert!(
            seen.into_iter().map(|(_, event)| event).eq(log),
            "the follower has seen the log"
        );
        written.sort();
        acknowledged.sort();
        assert_eq!(written, acknowledged, "each command was carried out once");
        report(&format!(
            "{} events; calls that failed: {}",
            written.len(),
            self.failures.load(Ordering::SeqCst)
        ));
    }
}

async fn write(
    store: PostgresStore,
    writer: u64,
    stream: StreamId,
    stop: watch::Receiver<bool>,
    failures: Arc<AtomicU64>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0_u64.. {
        let text = format!("{writer} {number}");
        let append = Append::new(Timestamp::UNIX_EPOCH)
            .with_command_id(CommandId::new())
            .with_events(stream.clone(), Expected::Any, vec![event(text.clone())]);
        while timeout(CALL_MAX, store.append(append.clone()))
            .await
            .expect("no append hangs")
            .is_err_and(count(&failures))
        {
            sleep(Duration::from_millis(5)).await;
        }
        acknowledged.push(text);
        if *stop.borrow() {
            break;
        }
    }
    acknowledged
}

async fn load(
    store: PostgresStore,
    stream: StreamId,
    stop: watch::Receiver<bool>,
    failures: Arc<AtomicU64>,
) {
    while !*stop.borrow() {
        let (query, _) = reads_of(&stream);
        let loaded = timeout(CALL_MAX, store.load(query))
            .await
            .expect("no load hangs");
        if loaded.is_err_and(count(&failures)) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Counts an error, which must say that the store is unavailable.
fn count(failures: &AtomicU64) -> impl FnOnce(StoreError) -> bool {
    move |error| {
        assert!(
            matches!(error, StoreError::Unavailable { .. }),
            "a lost connection is no reason for {error:?}"
        );
        failures.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_replaced() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    let place = Place::with_database().await;
    let store = place.store().await;
    let load = Load::start(&store);
    for _ in 0..20 {
        sleep(Duration::from_millis(random.u64(0..150))).await;
        place.end_all_connections().await;
    }
    sleep(Duration::from_millis(300)).await;
    assert!(
        load.failures() > 0,
        "killing connections was not noticed at all; {seed}"
    );
    load.end(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_the_server_are_survived() {
    let seed = Seed::from_env();
    let mut random = seed.rng(1);
    let server = Server::start(FORGETFUL);
    let place = Place::on(&server);
    let store = place.store().await;
    let load = Load::start(&store);
    for _ in 0..5 {
        sleep(Duration::from_millis(random.u64(0..300))).await;
        block_in_place(|| server.stop());
        sleep(Duration::from_millis(random.u64(0..300))).await;
        block_in_place(|| server.start_again());
    }
    sleep(Duration::from_millis(500)).await;
    load.end(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_server_that_is_away_are_unavailable_soon() {
    let server = Server::start(FORGETFUL);
    let place = Place::on(&server);
    let store = place.store().await;
    block_in_place(|| server.stop());
    for _ in 0..3 {
        let appended = timeout(CALL_MAX, store.append(support::append()))
            .await
            .expect("no append hangs");
        assert!(
            matches!(appended, Err(StoreError::Unavailable { .. })),
            "{appended:?}"
        );
        let head = timeout(CALL_MAX, store.head())
            .await
            .expect("no read hangs");
        assert!(
            matches!(head, Err(StoreError::Unavailable { .. })),
            "{head:?}"
        );
    }
    block_in_place(|| server.start_again());
    let heal = async {
        while store.append(support::append()).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(CALL_MAX, heal).await.expect("the store heals");
    assert!(!log_of(&store).await.is_empty());
}
