//! Acknowledged appends survive `kill -9` of a writer and of the server. Promises P2, P6, P16, P20 and P27.
//!
//! A child process writes from several tasks and reports acknowledgements on its standard output; it is killed at
//! random moments. A server with durable settings is stopped under load as by a crash. A reader lives through all of it
//! and must have seen every event once, in order. To repeat a run, set `EVENTSOURCING_TEST_SEED` to the seed that a
//! failure prints.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventsourcing_core::store::{LogQuery, Position, StoredEvent};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use eventsourcing_testing::Seed;
use eventsourcing_testing::crash::{
    Acknowledged, Acknowledgement, Kill, Writer, run_and_kill, this_test, write_until_killed,
};
use support::follower::Follower;
use support::server::DURABLE;
use support::{Place, Server, log_of, report};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

const KILLS: usize = 20;
const CRASHES: usize = 10;
/// The longest time for which a child writes before it is killed, and a server runs before it crashes.
const LIFE_MAX: Duration = Duration::from_millis(150);
/// The fewest commands written between two crashes of a server.
const COMMANDS_MIN: u64 = 50;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Set for a child process: the server and the schema that it writes to.
const CHILD_URL: &str = "EVENTSOURCING_TEST_CHILD_URL";
const CHILD_SCHEMA: &str = "EVENTSOURCING_TEST_CHILD_SCHEMA";
/// The user name of the child, which identifies its connections.
const CHILD_USER: &str = "child";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_writes_until_it_is_killed() {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return;
    };
    let schema = std::env::var(CHILD_SCHEMA).expect("the parent sets it with the URL");
    let store = PostgresOptions::new()
        .with_schema(&schema)
        .connect(&url)
        .await
        .expect("a store");
    write_until_killed(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_appends_survive_kill_9_of_the_writer() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    let server = Server::start(DURABLE);
    let place = Place::on(&server);
    let outsider = place.outsider().await;
    outsider
        .batch_execute(&format!("CREATE ROLE {CHILD_USER} SUPERUSER LOGIN"))
        .await
        .expect("a role");
    let child_url = server.url_of(CHILD_USER, "postgres");
    let store = place.store().await;
    let reader = Follower::start(store.clone(), LogQuery::after(Position::ZERO));
    let mut acknowledged = Acknowledged::default();
    for round in 0..KILLS {
        let mut child = this_test("child_process_writes_until_it_is_killed");
        let child = child
            .env(CHILD_URL, &child_url)
            .env(CHILD_SCHEMA, place.schema());
        let kill = Kill::at_random(&mut random, LIFE_MAX);
        acknowledged.extend(block_in_place(|| run_and_kill(child, kill)));
        wait_for_the_end_of_the_child(&outsider).await;
        let context = format!("round {round}, {seed}");
        acknowledged.check(&place.store().await, &context).await;
    }
    assert!(
        acknowledged.len() > KILLS,
        "hardly anything was written; {seed}"
    );
    let seen = check_seen(&store, reader).await;
    report(&format!(
        "{KILLS} kills: {} commands acknowledged, {seen} events seen",
        acknowledged.len()
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_appends_survive_crashes_of_the_server() {
    let seed = Seed::from_env();
    let mut random = seed.rng(1);
    let server = Server::start(DURABLE);
    let place = Place::on(&server);
    let writer = place.store().await;
    let bystander = place.store().await;

    let readers = [&writer, &bystander]
        .map(|store| Follower::start(store.clone(), LogQuery::after(Position::ZERO)));
    let stop = watch::Sender::new(false);
    let written = Arc::new(AtomicU64::new(0));

    let tasks: Vec<_> = Writer::all()
        .map(|task| {
            tokio::spawn(write_until(
                writer.clone(),
                task,
                stop.subscribe(),
                written.clone(),
            ))
        })
        .collect();
    for _ in 0..CRASHES {
        wait_for_more(&written, COMMANDS_MIN).await;
        sleep(LIFE_MAX.mul_f64(random.f64())).await;
        block_in_place(|| {
            server.crash();
            server.start_again();
        });
    }
    wait_for_more(&written, COMMANDS_MIN).await;
    stop.send_replace(true);
    let mut acknowledged = Acknowledged::default();
    for task in tasks {
        acknowledged.extend(
            timeout(TIMEOUT, task)
                .await
                .expect("a writer ends")
                .expect("a writer"),
        );
    }
    assert!(
        acknowledged.len() > CRASHES,
        "hardly anything was written; {seed}"
    );
    acknowledged.check(&writer, &seed.to_string()).await;
    for reader in readers {
        let seen = check_seen(&bystander, reader).await;
        report(&format!(
            "{CRASHES} crashes: {} commands acknowledged, {seen} events seen",
            acknowledged.len()
        ));
    }
}

async fn write_until(
    store: PostgresStore,
    writer: Writer,
    stop: watch::Receiver<bool>,
    written: Arc<AtomicU64>,
) -> Vec<Acknowledgement> {
    let mut acknowledged = Vec::new();
    while !*stop.borrow() {
        acknowledged.push(writer.write(&store, TIMEOUT).await);
        written.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

/// Waits until the writers have written more commands.
async fn wait_for_more(written: &AtomicU64, commands: u64) {
    let before = written.load(Ordering::SeqCst);
    let waiting = async {
        while written.load(Ordering::SeqCst) < before + commands {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, waiting)
        .await
        .unwrap_or_else(|_| panic!("no writer has written for {TIMEOUT:?}"));
}

/// Waits until the server has finished the requests of a killed child.
async fn wait_for_the_end_of_the_child(outsider: &Client) {
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
    let waiting = async {
        while outsider
            .query_one(connections, &[&CHILD_USER])
            .await
            .expect("a number")
            .get::<_, i64>(0)
            > 0
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, waiting)
        .await
        .expect("the server ends the connections of a killed process");
}

/// Checks that the reader has seen the log, no more and no less, and returns its length.
async fn check_seen(store: &PostgresStore, reader: Follower) -> usize {
    let log = log_of(store).await;
    let seen = reader
        .seen_until(log.last().expect("events").position)
        .await;
    let seen: Vec<_> = seen.into_iter().map(|(_, event)| event).collect();
    let positions = |events: &[StoredEvent]| {
        events
            .iter()
            .map(|event| event.position)
            .collect::<HashSet<_>>()
    };
    let missed: Vec<_> = positions(&log)
        .difference(&positions(&seen))
        .copied()
        .collect();
    assert!(missed.is_empty(), "the reader has missed {missed:?}");
    assert!(seen == log, "the reader has seen events that are not there");
    seen.len()
}
