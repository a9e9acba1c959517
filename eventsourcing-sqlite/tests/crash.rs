//! Acknowledged appends survive `kill -9`. Promises P2, P6, P20 and P27.
//!
//! A child process writes from several tasks. It is killed at a random moment; then the file must hold every acknowledged append
//! exactly once, and every append whole. This repeats many times on the same file. To repeat a run, set
//! `EVENTSOURCING_TEST_SEED` to the seed that a failure prints.

mod fixture;

use std::path::Path;
use std::time::Duration;

use eventsourcing_sqlite::SqliteStore;
use eventsourcing_testing::Seed;
use eventsourcing_testing::crash::{
    Acknowledged, Kill, run_and_kill, this_test, write_until_killed,
};
use fixture::Place;

const KILLS: usize = 80;
/// The longest life of a child, counted from its first acknowledgement or else from its start.
const LIFE_MAX: Duration = Duration::from_millis(80);

/// Set for a child process: the path of its store.
const CHILD_PATH: &str = "EVENTSOURCING_TEST_CHILD_PATH";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    write_until_killed(SqliteStore::open(&path).await.expect("a store")).await;
}

#[tokio::test]
async fn acknowledged_appends_survive_kill_9() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    let place = Place::new();
    let mut acknowledged = Acknowledged::default();
    // While another process has the file open, closing does not remove the write-ahead log, and a kill leaves it in
    // use.
    let mut bystander: Option<SqliteStore> = None;
    for round in 0..KILLS {
        if random.u8(..) < 64 {
            bystander = match bystander {
                None => Some(place.store().await),
                Some(_) => None,
            };
        }
        let mut child = this_test("child_process_writes_until_it_is_killed");
        let child = child.env(CHILD_PATH, place.file());
        acknowledged.extend(run_and_kill(child, Kill::at_random(&mut random, LIFE_MAX)));
        let context = format!("round {round}, {seed}");
        let store = place.store().await;
        acknowledged.check(&store, &context).await;
        store.close().await;
        check_file(&place.file(), &context);
    }
    assert!(
        acknowledged.len() > KILLS,
        "hardly anything was written, {seed}"
    );
}

fn check_file(path: &Path, context: &str) {
    let file = rusqlite::Connection::open(path).expect("a connection");
    let verdict: String = file
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a verdict");
    assert_eq!(verdict, "ok", "{context}");
}
