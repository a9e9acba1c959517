//! The next release has another number of partitions, while the one before still runs.
//!
//! The processes are this test program itself. `EVENTSOURCING_CUT_SECONDS` is the time during which jars are filled
//! while the releases change: 4 unless given, 60 before a release.
#![allow(
    clippy::print_stdout,
    reason = "children report by it, and figures are for people"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventsourcing::store::{
    Append, EventStore, HolderId, LeaseRequest, LogQuery, NotesQuery, Position, Tracking,
};
use eventsourcing::system::FollowerState;
use eventsourcing::{Id, OnFailure, Runner, RunningSystem, SystemBuilder, SystemError};
use jiff::Timestamp;

use crate::domain::{Jar, JarEvent, Shelf, ShelfEvent};
use crate::lying_store::LyingStore;
use crate::support::Place;
use crate::systems::{Home, Pantry, finish};

const CHILD: &str = "EVENTSOURCING_CUT_CHILD";
const LEASE: Duration = Duration::from_millis(400);

fn seconds() -> u64 {
    std::env::var("EVENTSOURCING_CUT_SECONDS")
        .map_or(4, |seconds| seconds.parse().expect("a number of seconds"))
}

/// Each event of a jar has changed the shelf once.
async fn assert_each_effect_once(home: &Home) {
    let page = home
        .application("shelves")
        .log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .expect("a log");
    let mut causes = BTreeMap::<_, u32>::new();
    for event in page.decode::<Shelf>().expect("events of the shelf") {
        if event.payload != ShelfEvent::Built {
            let cause = event.metadata.causation.expect("a cause");
            *causes.entry((cause.id, cause.version)).or_default() += 1;
        }
    }
    let events = page.decode::<Jar>().expect("events of jars").len();
    let twice: Vec<_> = causes.iter().filter(|(_, times)| **times != 1).collect();
    assert!(
        twice.is_empty(),
        "{}: {} effects came more than once, such as {:?}",
        home.url(),
        twice.len(),
        twice[0]
    );
    assert_eq!(
        causes.len(),
        events,
        "{}: effects (left) and events",
        home.url()
    );
}

/// Release A has not processed an event yet when release B begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_another_number_is_refused_before_anything_has_been_processed() {
    for home in Home::all().await {
        let unleased = Runner::concurrent().without_leases();
        let first: RunningSystem<Pantry> = home
            .builder()
            .with_runner(unleased)
            .start()
            .await
            .expect("a start");
        let parts = [
            "follower shelves has run in 1 partitions",
            "with_partitions(\"shelves\", 1)",
        ];
        home.assert_refused(
            home.builder::<Pantry>().with_partitions(Pantry::SHELVES, 4),
            &parts,
        )
        .await;
        home.fill(5).await;
        finish(first).await;
        home.assert_refused(
            home.builder::<Pantry>().with_partitions(Pantry::SHELVES, 4),
            &parts,
        )
        .await;
        assert_each_effect_once(&home).await;
    }
}

/// Several processes with different numbers start at the same moment, on a store that none has run on.
#[tokio::test(flavor = "multi_thread")]
async fn releases_that_start_at_once_run_with_one_number_of_partitions() {
    for home in Home::all().await {
        home.fill(4).await;
        for leases in [true, false] {
            let runner = if leases {
                Runner::concurrent().with_leases(LEASE)
            } else {
                Runner::concurrent().without_leases()
            };
            let starts = [1, 4, 2, 1, 4, 2].map(|partitions| {
                let builder = home
                    .builder::<Pantry>()
                    .with_runner(runner)
                    .with_partitions(Pantry::SHELVES, partitions);
                tokio::spawn(async move { (partitions, builder.start().await) })
            });
            let mut running = Vec::new();
            for start in starts {
                match start.await.expect("no panic") {
                    (partitions, Ok(pantry)) => running.push((partitions, pantry)),
                    (partitions, Err(SystemError::Invalid { reason })) => {
                        assert!(
                            reason.contains("start it with_partitions(\"shelves\""),
                            "{partitions}: {reason}"
                        );
                    }
                    (partitions, Err(error)) => panic!("{}: {partitions}: {error}", home.url()),
                }
            }
            let (first, _) = running.first().expect("one of them runs");
            let first = *first;
            assert!(
                running.iter().all(|(partitions, _)| *partitions == first),
                "{}",
                home.url()
            );
            home.fill(4).await;
            for (_, pantry) in running {
                finish(pantry).await;
            }
            assert_each_effect_once(&home).await;
        }
    }
}

/// A process of a release that named no number of partitions when it started, or whose store was restored since. When
/// another number is recorded the process stops, whatever its reaction to failing events is, and says what to do; no
/// event is processed twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_cut_is_outdated_stops_and_says_what_to_do() {
    for on_failure in [OnFailure::Stop, OnFailure::Retry, OnFailure::Park] {
        for home in Home::all().await {
            let store = LyingStore::new(home.stores.store());
            store.name_cuts(false);
            let builder =
                SystemBuilder::<Pantry>::new(store.clone()).with_on_failure_default(on_failure);
            let older = builder
                .with_runner(Runner::concurrent().without_leases())
                .start()
                .await
                .expect("a start");
            let newer = home
                .builder::<Pantry>()
                .with_partitions(Pantry::SHELVES, 4)
                .start()
                .await
                .expect("a start");
            store.name_cuts(true);
            home.fill(3).await;

            let stopped =
                tokio::time::timeout(Duration::from_secs(30), older.wait_until_caught_up())
                    .await
                    .expect("in time");
            let text = stopped.expect_err("it cannot go on").to_string();
            assert!(
                text.contains("recorded to run in 4 partitions, but this process runs it in 1"),
                "{text}"
            );
            assert!(
                text.contains("start it with_partitions(\"shelves\", 4)"),
                "{text}"
            );
            let health = older.health().await.expect("an answer");
            assert!(
                matches!(health.followers[0].state, FollowerState::Stopped(_)),
                "{on_failure:?}: {health:?}"
            );
            assert_eq!(
                (health.is_healthy(), health.followers[0].parked),
                (false, 0),
                "{on_failure:?}"
            );
            assert_eq!(
                home.changes_of_the_shelf().await,
                0,
                "{}: {on_failure:?}",
                home.url()
            );
            assert!(
                older.resume(Pantry::SHELVES).await.expect("an answer"),
                "it had stopped"
            );
            let stopped =
                tokio::time::timeout(Duration::from_secs(30), older.wait_until_caught_up())
                    .await
                    .expect("in time");
            assert!(stopped.is_err(), "{}: it stops again", home.url());
            older.stop().await.expect_err("it had stopped");
            finish(newer).await;
            assert_each_effect_once(&home).await;
        }
    }
}

/// A process of a release that names no cut runs the follower whole, and has made no step yet.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_do_not_begin_beside_a_process_that_runs_the_whole() {
    for home in Home::all().await {
        let store = home.stores.store();
        let request = LeaseRequest {
            follower: "shelves".into(),
            upstream: store.log_id(),
            holder: HolderId::new(),
            duration: Duration::from_millis(500),
        };
        store.lease(request).await.expect("a lease");
        let parts = [
            "another process runs follower shelves in one partition",
            "stop that process",
        ];
        home.assert_refused(
            home.builder::<Pantry>().with_partitions(Pantry::SHELVES, 4),
            &parts,
        )
        .await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        finish(
            home.builder::<Pantry>()
                .with_partitions(Pantry::SHELVES, 4)
                .start()
                .await
                .expect("it has gone"),
        )
        .await;
    }
}

/// Earlier releases have left a position without a cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_without_a_cut_is_one_of_the_whole() {
    for home in Home::all().await {
        home.fill(1).await;
        let store = home.stores.store();
        let step = Tracking::new("shelves", store.log_id(), Position::ZERO, Position::new(1));
        store
            .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
            .await
            .expect("a step");
        let refused = home.builder::<Pantry>().with_partitions(Pantry::SHELVES, 2);
        home.assert_refused(refused, &["has run in 1 partitions"])
            .await;
        home.run::<Pantry>().await;
        let book = store
            .notes(NotesQuery::new("shelves".into(), store.log_id(), "").limit(0))
            .await
            .expect("a book");
        assert_eq!(book.partitions, Some(1));
    }
}

/// A process of one release: it fills jars and runs the policy until it is told to stop.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    fn start(url: &str, partitions: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "partitions::child_of_a_release", "--nocapture"])
            .env(CHILD, format!("{partitions} {url}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    /// Waits until the process runs, or returns the reason for which it was refused.
    fn runs(&mut self) -> Result<(), String> {
        let mut lines = BufReader::new(self.child.stdout.as_mut().expect("a pipe")).lines();
        loop {
            let line = lines.next().expect("it says how it goes").expect("a line");
            match line.split_once(": ") {
                Some(("refused", reason)) => return Err(reason.to_owned()),
                _ if line == "running" => return Ok(()),
                _ => {}
            }
        }
    }

    fn stop(mut self) {
        drop(self.stdin.take());
        assert!(
            self.child.wait().expect("the child ends").success(),
            "a process has failed"
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    stop
}

async fn fill(pantry: &Pantry) -> Id<Jar> {
    pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .expect("a jar")
        .id
}

#[tokio::test(flavor = "multi_thread")]
async fn child_of_a_release() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let (partitions, url) = told.split_once(' ').expect("a number and a store");
    let home = Home::of(bank_example::stores::open(url).await.expect("a store"));
    let builder = home
        .builder::<Pantry>()
        .with_runner(Runner::concurrent().with_leases(LEASE));
    let builder = builder.with_partitions(Pantry::SHELVES, partitions.parse().expect("a number"));
    let pantry = match builder.start().await {
        Ok(pantry) => pantry,
        Err(SystemError::Invalid { reason }) => return println!("\nrefused: {reason}"),
        Err(error) => panic!("{error}"),
    };
    println!("\nrunning");
    let stop = stop_flag();
    let jar = pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .expect("a jar")
        .id;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match number % 5 {
            0 => drop(fill(&pantry).await),
            _ => drop(
                pantry
                    .jars
                    .app
                    .update(jar, |jar| jar.add(1))
                    .await
                    .expect("an update"),
            ),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    pantry.stop().await.expect("no follower has stopped");
}

/// Processes of releases with 1, 4 and 2 partitions replace each other under load.
#[tokio::test(flavor = "multi_thread")]
async fn releases_with_other_numbers_replace_each_other_under_load() {
    let began = Instant::now();
    let step = Duration::from_millis(seconds() * 1_000 / 4);
    for place in Place::all_durable() {
        let url = place.url().to_owned();
        tokio::task::spawn_blocking(move || replace_each_other(&url, step))
            .await
            .expect("no panic");
        let home = Home::of(
            bank_example::stores::open(place.url())
                .await
                .expect("a store"),
        );
        home.run::<Pantry>().await;
        assert_each_effect_once(&home).await;
        println!(
            "{}: {} jars, {:?}",
            place.url(),
            home.count("Filled").await,
            began.elapsed()
        );
    }
}

fn replace_each_other(url: &str, step: Duration) {
    let mut old = [Process::start(url, 1), Process::start(url, 1)];
    old.iter_mut()
        .for_each(|process| process.runs().expect("the first release runs"));
    for partitions in [4, 2, 4] {
        let reason = Process::start(url, partitions)
            .runs()
            .expect_err("another number is refused");
        assert!(reason.contains("has run in 1 partitions"), "{reason}");
        std::thread::sleep(step);
    }
    let [first, second] = old;
    first.stop();
    let reason = Process::start(url, 2)
        .runs()
        .expect_err("also while one process has gone");
    assert!(
        reason.contains("start it with_partitions(\"shelves\", 1)"),
        "{reason}"
    );
    second.stop();
    let reason = Process::start(url, 4)
        .runs()
        .expect_err("also when all have gone");
    assert!(
        reason.contains("start it with_partitions(\"shelves\", 1)"),
        "{reason}"
    );
    let mut last = Process::start(url, 1);
    last.runs().expect("what it says is right");
    std::thread::sleep(step);
    last.stop();
}
