//! Leases between processes: one process runs each follower, and another takes over when it ends, dies or sleeps.
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::{Jar, JarEvent, Jars, Pantry, Shelf, ShelfEvent, shelf};
use eventsourcing_core::store::MemoryStore;
use eventsourcing_core::{
    Application, ApplicationError, Policy, RecordedEvent, Runner, RunningSystem, System, UnitOfWork,
};
use tokio::sync::Notify;

const LEASE: Duration = Duration::from_secs(1);

async fn start(store: &MemoryStore) -> RunningSystem<Pantry> {
    Pantry::start(store.clone(), Runner::concurrent().with_leases(LEASE))
        .await
        .unwrap()
}

async fn fill(jars: &Application) {
    let _ = jars
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .unwrap()
        .id;
}

async fn changes(app: &Application) -> u64 {
    app.find(shelf())
        .await
        .unwrap()
        .map_or(0, |shelf| shelf.changes)
}

/// Returns the state of the follower "shelves".
async fn state(pantry: &RunningSystem<Pantry>) -> String {
    pantry.health().await.unwrap().followers[0]
        .state
        .to_string()
}

async fn within_seconds<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("within 20 seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_a_follower_and_the_others_stand_by() {
    let store = MemoryStore::new();
    let mut copies = Vec::new();
    for _ in 0..3 {
        copies.push(start(&store).await);
    }
    for round in 0..30 {
        fill(&copies[round % 3].jars.app).await;
    }
    for copy in &copies {
        within_seconds(copy.wait_until_caught_up()).await.unwrap();
        assert_eq!(changes(&copy.shelves.app).await, 30);
        assert!(copy.health().await.unwrap().is_healthy());
    }
    let mut states = Vec::new();
    for copy in &copies {
        states.push(state(copy).await);
    }
    states.sort();
    assert_eq!(states, ["running", "standing by", "standing by"]);
    for copy in copies {
        within_seconds(copy.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_lasts_as_long_as_its_holder() {
    let store = MemoryStore::new();
    let first = start(&store).await;
    within_seconds(first.wait_until_caught_up()).await.unwrap();
    let second = start(&store).await;
    tokio::time::sleep(3 * LEASE).await;
    assert_eq!(
        (state(&first).await, state(&second).await),
        ("running".into(), "standing by".into())
    );
    within_seconds(first.stop()).await.unwrap();
    fill(&second.jars.app).await;
    let since = Instant::now();
    within_seconds(second.wait_until_caught_up()).await.unwrap();
    assert!(
        since.elapsed() < LEASE,
        "it was given back, but taken over after {:?}",
        since.elapsed()
    );
    assert_eq!(state(&second).await, "running");
}

#[test]
fn a_dead_holder_is_replaced_within_two_lease_times() {
    let store = MemoryStore::new();
    let died = tokio::runtime::Runtime::new().unwrap();
    let holder = died.block_on(async {
        let holder = start(&store).await;
        fill(&holder.jars.app).await;
        within_seconds(holder.wait_until_caught_up()).await.unwrap();
        holder
    });
    let lives = tokio::runtime::Runtime::new().unwrap();
    lives.block_on(async {
        let heir = start(&store).await;
        assert_eq!(changes(&heir.shelves.app).await, 1);
        let since = Instant::now();
        // The tasks of the process end at once, and its leases are not released.
        died.shutdown_background();
        fill(&heir.jars.app).await;
        within_seconds(heir.wait_until_caught_up()).await.unwrap();
        assert!(
            since.elapsed() < 2 * LEASE,
            "replaced after {:?}",
            since.elapsed()
        );
        assert_eq!(changes(&heir.shelves.app).await, 2);
        assert_eq!(state(&heir).await, "running");
    });
    drop(holder);
}

/// A policy that counts beans, and sleeps at its first event.
struct Sleepy {
    app: Application,
    asleep: AtomicBool,
    wake: Arc<Notify>,
}

impl From<Application> for Sleepy {
    fn from(app: Application) -> Self {
        Self {
            app,
            asleep: AtomicBool::new(false),
            wake: Arc::default(),
        }
    }
}

impl Policy<Jar> for Sleepy {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        work.load_or_create(shelf(), || ShelfEvent::Built)
            .await?
            .record(ShelfEvent::Changed { by: 1 });
        if event.payload == (JarEvent::Filled { beans: 1 })
            && !self.asleep.swap(true, Ordering::SeqCst)
        {
            self.wake.notified().await;
        }
        Ok(())
    }
}

#[derive(System)]
struct Drowsy {
    #[application(aggregates(Jar))]
    jars: Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    shelves: Sleepy,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_slept_past_its_lease_writes_nothing() {
    let store = MemoryStore::new();
    let sleeper = Drowsy::start(store.clone(), Runner::concurrent().with_leases(LEASE))
        .await
        .unwrap();
    fill(&sleeper.jars.app).await;
    within_seconds(async {
        while !sleeper.shelves.asleep.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let awake = Drowsy::start(store.clone(), Runner::concurrent().with_leases(LEASE))
        .await
        .unwrap();
    awake.shelves.asleep.store(true, Ordering::SeqCst);
    within_seconds(awake.wait_until_caught_up()).await.unwrap();
    assert_eq!(
        changes(&awake.shelves.app).await,
        1,
        "the lease was taken over"
    );
    sleeper.shelves.wake.notify_one();
    fill(&sleeper.jars.app).await;
    within_seconds(sleeper.wait_until_caught_up())
        .await
        .unwrap();
    within_seconds(awake.wait_until_caught_up()).await.unwrap();
    assert_eq!(
        changes(&sleeper.shelves.app).await,
        2,
        "each event is counted once"
    );
    let sleeping = sleeper.health().await.unwrap().followers[0]
        .state
        .to_string();
    assert_eq!(sleeping, "standing by");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leases_all_run_and_nothing_is_done_twice() {
    let store = MemoryStore::new();
    let runner = Runner::concurrent().without_leases();
    let one = Pantry::start(store.clone(), runner).await.unwrap();
    let two = Pantry::start(store, runner).await.unwrap();

    for _ in 0..20 {
        fill(&one.jars.app).await;
    }
    within_seconds(one.wait_until_caught_up()).await.unwrap();
    within_seconds(two.wait_until_caught_up()).await.unwrap();
    assert_eq!(
        (state(&one).await, state(&two).await),
        ("running".into(), "running".into())
    );
    assert_eq!(changes(&two.shelves.app).await, 20);
}
