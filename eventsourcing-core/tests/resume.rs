//! Stopped followers continue when they are resumed, lose no event, and process none twice.
#![allow(clippy::unwrap_used)]

mod domain;
mod manual_time;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::{FAILS_ON, Jar, JarEvent, Jars, Shelf, ShelfEvent, shelf};
use eventsourcing_core::store::{FollowerStore, LogQuery, MemoryStore, Position};
use eventsourcing_core::system::FollowerHealth;
use eventsourcing_core::{
    Application, ApplicationError, FollowerName, Id, OnFailure, Policy, RecordedEvent, Runner,
    RunningSystem, Stores, System, SystemBuilder, SystemError, UnitOfWork,
};
use eventsourcing_testing::ManualClock;
use manual_time::{BellTower, second, texts};

/// A policy that counts all beans. Its reaction to a jar of [`FAILS_ON`] depends on its mood.
struct Moody {
    app: Application,
    mood: AtomicU32,
}

/// The mood in which it processes every jar.
const FINE: u32 = 0;
/// The mood in which it panics. Any other mood is an error that names the mood.
const PANICKY: u32 = 1;

impl From<Application> for Moody {
    fn from(app: Application) -> Self {
        Self {
            app,
            mood: AtomicU32::new(7),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Grumble {
    #[error("mood {0}")]
    Mood(u32),
    #[error(transparent)]
    App(#[from] ApplicationError),
}

impl Policy<Jar> for Moody {
    type Error = Grumble;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), Grumble> {
        let (JarEvent::Filled { beans } | JarEvent::Added { beans } | JarEvent::Taken { beans }) =
            event.payload;
        match self.mood.load(Ordering::SeqCst) {
            FINE => {}
            PANICKY if beans == FAILS_ON => panic!("mood {PANICKY}"),
            mood if beans == FAILS_ON => return Err(Grumble::Mood(mood)),
            _ => {}
        }
        let shelf = work.load_or_create(shelf(), || ShelfEvent::Built).await?;
        shelf.record(ShelfEvent::Changed {
            by: i64::from(beans),
        });
        Ok(())
    }
}

#[derive(System)]
struct Pantry {
    #[application(aggregates(Jar))]
    jars: Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    shelves: Moody,
}

impl Pantry {
    async fn fill(&self, beans: u32) -> Id<Jar> {
        self.jars
            .app
            .create(|| JarEvent::Filled { beans })
            .await
            .unwrap()
            .id
    }

    fn cheer_up(&self) {
        self.set_mood(FINE);
    }

    fn set_mood(&self, mood: u32) {
        self.shelves.mood.store(mood, Ordering::SeqCst);
    }

    /// Returns the beans of the shelf and the number of its changes.
    async fn on_the_shelf(&self) -> (i64, u64) {
        let shelf = self.shelves.app.find(shelf()).await.unwrap();
        shelf.map_or((0, 0), |shelf| (shelf.beans, shelf.changes))
    }
}

const LEASE: Duration = Duration::from_millis(300);

fn runners() -> [Runner; 3] {
    [
        Runner::inline(),
        Runner::concurrent().with_leases(LEASE),
        Runner::concurrent().without_leases(),
    ]
}

async fn start(store: impl FollowerStore, runner: Runner) -> RunningSystem<Pantry> {
    Pantry::start(store, runner).await.unwrap()
}

async fn within_seconds<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("within 20 seconds")
}

/// Checks that a follower has stopped, and returns the cause and the position.
async fn stopped<S: System>(system: &RunningSystem<S>) -> (String, Position) {
    match within_seconds(system.wait_until_caught_up()).await {
        Err(SystemError::FollowerStopped(failure)) => (failure.cause, failure.position),
        other => panic!("a follower has stopped, but {other:?}"),
    }
}

async fn first<S: System>(system: &RunningSystem<S>) -> FollowerHealth {
    system.health().await.unwrap().followers.remove(0)
}

/// Waits until the states of the followers are these, in any order.
async fn until_states(system: &RunningSystem<Pantry>, wanted: &[&str]) {
    let mut states: Vec<String> = Vec::new();
    for _ in 0..2_000 {
        let followers = system.health().await.unwrap().followers;
        states = followers
            .iter()
            .map(|follower| follower.state.to_string())
            .collect();
        states.sort();
        if states == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{wanted:?} is wanted, not {states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_goes_on_where_it_has_stopped() {
    for runner in runners() {
        for mood in [PANICKY, 7] {
            let pantry = start(MemoryStore::new(), runner).await;
            pantry.set_mood(mood);
            for beans in [1, FAILS_ON, 2] {
                pantry.fill(beans).await;
            }
            let (cause, position) = stopped(&pantry).await;
            assert!(cause.contains(&format!("mood {mood}")), "{cause}");
            assert_eq!(pantry.on_the_shelf().await, (1, 1));

            pantry.cheer_up();
            assert!(
                within_seconds(pantry.resume(Pantry::SHELVES))
                    .await
                    .unwrap(),
                "it had stopped"
            );
            within_seconds(pantry.wait_until_caught_up()).await.unwrap();
            assert_eq!(
                pantry.on_the_shelf().await,
                (3 + i64::from(FAILS_ON), 3),
                "each jar once"
            );
            let health = first(&pantry).await;
            assert!(
                health.failure().is_none() && health.position >= position,
                "{health:?}"
            );
            assert_eq!(
                (health.state.to_string().as_str(), health.lag),
                ("running", 0)
            );
            pantry.fill(4).await;
            within_seconds(pantry.wait_until_caught_up()).await.unwrap();
            assert_eq!(
                pantry.on_the_shelf().await.1,
                4,
                "and it goes on from there"
            );
            within_seconds(pantry.stop()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_again_stops_again_and_says_why() {
    for runner in runners() {
        let pantry = start(MemoryStore::new(), runner).await;
        pantry.fill(FAILS_ON).await;
        pantry.fill(FAILS_ON).await;
        let before = stopped(&pantry).await;
        assert_eq!(before.0, "mood 7");
        for mood in [8, PANICKY, 9] {
            pantry.set_mood(mood);
            assert!(pantry.resume(Pantry::SHELVES).await.unwrap());
            let (cause, position) = stopped(&pantry).await;
            assert!(cause.ends_with(&format!("mood {mood}")), "{cause}");
            assert_eq!(position, before.1, "before the same event");
            assert_eq!(first(&pantry).await.state.to_string(), "stopped");
        }
        assert_eq!(pantry.on_the_shelf().await, (0, 0));
        let end = within_seconds(pantry.stop()).await;
        assert!(
            matches!(end, Err(SystemError::FollowerStopped(failure)) if failure.cause == "mood 9")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_not_stopped_is_left_alone_and_one_that_is_unknown_is_an_error() {
    for runner in runners() {
        let builder = Pantry::builder(MemoryStore::new()).with_runner(runner);
        let pantry = builder
            .with_on_failure(Pantry::SHELVES, OnFailure::Retry)
            .start()
            .await
            .unwrap();
        pantry.fill(1).await;
        within_seconds(pantry.wait_until_caught_up()).await.unwrap();
        assert!(!pantry.resume(Pantry::SHELVES).await.unwrap());
        assert_eq!(
            (
                pantry.on_the_shelf().await,
                first(&pantry).await.state.to_string()
            ),
            ((1, 1), "running".into())
        );
        pantry.fill(FAILS_ON).await;
        until_states(&pantry, &["retrying"]).await;
        assert!(
            !pantry.resume(Pantry::SHELVES).await.unwrap(),
            "it tries again by itself"
        );
        let unknown = pantry.resume(FollowerName::new("shelf")).await.unwrap_err();
        assert!(matches!(unknown, SystemError::UnknownFollower { .. }));
        assert_eq!(
            unknown.to_string(),
            "Pantry has no follower \"shelf\"; it has shelves"
        );
        pantry.cheer_up();
        within_seconds(pantry.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_failed_is_processed_once() {
    for runner in runners() {
        let clock = ManualClock::new();
        let builder = BellTower::builder(MemoryStore::new())
            .with_clock(clock.clone())
            .with_runner(runner);
        let system = builder.start().await.unwrap();
        system.wishes.make("bad", second(1), "fail first").await;
        system.wishes.make("good", second(2), "then").await;
        clock.set(second(5));
        assert_eq!(stopped(&system).await.0, "the bell is broken");
        assert!(system.resume(BellTower::BELLS).await.unwrap());
        assert_eq!(
            stopped(&system).await.0,
            "the bell is broken",
            "it still is"
        );
        system.bells.is_fixed.store(true, Ordering::SeqCst);
        assert!(system.resume(BellTower::BELLS).await.unwrap());
        within_seconds(system.wait_until_caught_up()).await.unwrap();
        assert_eq!(texts(&system.bells.app).await, ["fail first", "then"]);
        within_seconds(system.stop()).await.unwrap();
    }
}

/// Until the event is processed, no wait may report that everything is caught up, however often the event is retried.
#[tokio::test(flavor = "multi_thread")]
async fn waits_during_retries_never_report_success() {
    for runner in runners() {
        let pantry = Arc::new(start(MemoryStore::new(), runner).await);
        pantry.fill(FAILS_ON).await;
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let pantry = Arc::clone(&pantry);
                tokio::spawn(async move {
                    for _ in 0..50 {
                        assert_eq!(stopped(&pantry).await.0, "mood 7");
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        while !waiters.iter().all(tokio::task::JoinHandle::is_finished) {
            pantry.resume(Pantry::SHELVES).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for waiter in waiters {
            waiter.await.unwrap();
        }
        stopped(&pantry).await;
        pantry.cheer_up();
        let waiting = {
            let pantry = Arc::clone(&pantry);
            tokio::spawn(async move { while pantry.wait_until_caught_up().await.is_err() {} })
        };
        assert!(pantry.resume(Pantry::SHELVES).await.unwrap());
        within_seconds(waiting).await.unwrap();
        assert_eq!(pantry.on_the_shelf().await, (i64::from(FAILS_ON), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_resume_it_at_once_do_no_harm() {
    for runner in runners() {
        let pantry = Arc::new(start(MemoryStore::new(), runner).await);
        let resumers: Vec<_> = (0..8)
            .map(|_| {
                let pantry = Arc::clone(&pantry);
                tokio::spawn(async move {
                    for _ in 0..100 {
                        pantry.resume(Pantry::SHELVES).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for number in 0..60 {
            pantry.set_mood([FINE, 7, PANICKY][number % 3]);
            pantry
                .fill(if number % 2 == 0 { FAILS_ON } else { 1 })
                .await;
        }
        for resumer in resumers {
            within_seconds(resumer).await.unwrap();
        }
        pantry.cheer_up();
        // A step that began in another mood may still stop the follower.
        within_seconds(async {
            while pantry.resume(Pantry::SHELVES).await.unwrap()
                || pantry.wait_until_caught_up().await.is_err()
            {}
        })
        .await;
        assert_eq!(
            pantry.on_the_shelf().await,
            (30 * (i64::from(FAILS_ON) + 1), 60),
            "each jar once"
        );
    }
}

/// A follower that is resumed and then stopped with the system continues with the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_stops_while_its_followers_are_resumed() {
    for runner in runners() {
        for round in 0..20 {
            let store = MemoryStore::new();
            let pantry = Arc::new(start(store.clone(), runner).await);
            pantry.fill(FAILS_ON).await;
            stopped(&pantry).await;
            let resumers: Vec<_> = (0..3)
                .map(|_| {
                    let pantry = Arc::clone(&pantry);
                    tokio::spawn(async move {
                        loop {
                            pantry.resume(Pantry::SHELVES).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_micros(100 * round)).await;
            if round % 2 == 0 {
                pantry.cheer_up();
            }
            // The future is dropped midway.
            for resumer in resumers {
                resumer.abort();
                assert!(resumer.await.unwrap_err().is_cancelled());
            }
            let pantry = Arc::into_inner(pantry).expect("the tasks have ended");
            pantry.resume(Pantry::SHELVES).await.unwrap();
            match within_seconds(pantry.stop()).await {
                Ok(()) => {}
                Err(SystemError::FollowerStopped(failure)) => assert_eq!(failure.cause, "mood 7"),
                Err(error) => panic!("{error}"),
            }
            let pantry = start(store, Runner::concurrent().without_leases()).await;
            pantry.cheer_up();
            // It may have read the event in its former mood, and stop at it only now.
            within_seconds(async {
                while pantry.wait_until_caught_up().await.is_err() {
                    pantry.resume(Pantry::SHELVES).await.unwrap();
                }
            })
            .await;
            assert_eq!(pantry.on_the_shelf().await, (i64::from(FAILS_ON), 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_leases_one_process_runs_it_again_and_the_other_stands_by() {
    let store = MemoryStore::new();
    let runner = Runner::concurrent().with_leases(LEASE);
    let one = start(store.clone(), runner).await;
    let two = start(store, runner).await;

    one.fill(FAILS_ON).await;
    one.fill(1).await;
    for pantry in [&one, &two] {
        until_states(pantry, &["stopped"]).await;
    }
    assert!(two.resume(Pantry::SHELVES).await.unwrap());
    until_states(&two, &["stopped"]).await;
    assert_eq!(
        first(&one).await.state.to_string(),
        "stopped",
        "another process is not waited for"
    );
    two.cheer_up();
    assert!(two.resume(Pantry::SHELVES).await.unwrap());
    within_seconds(two.wait_until_caught_up()).await.unwrap();
    until_states(&two, &["running"]).await;
    // The follower has moved on meanwhile, so it does not matter that this process could not process the event.
    assert!(one.resume(Pantry::SHELVES).await.unwrap());
    within_seconds(one.wait_until_caught_up()).await.unwrap();
    until_states(&one, &["standing by"]).await;
    assert_eq!(one.on_the_shelf().await, (i64::from(FAILS_ON) + 1, 2));
    within_seconds(two.stop()).await.unwrap();
    one.fill(2).await;
    within_seconds(one.wait_until_caught_up()).await.unwrap();
    until_states(&one, &["running"]).await;
    assert_eq!(one.on_the_shelf().await.1, 3);
    within_seconds(one.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_have_stopped_go_on_and_stay_shared() {
    let store = MemoryStore::new();
    let start = async || {
        let builder = SystemBuilder::<Pantry>::new(store.clone())
            .with_runner(Runner::concurrent().with_leases(LEASE));
        builder
            .with_partitions(Pantry::SHELVES, 4)
            .start()
            .await
            .unwrap()
    };
    let one = start().await;
    let two = start().await;

    for _ in 0..40 {
        one.fill(1).await;
        one.fill(FAILS_ON).await;
    }
    // Each partition has a jar that stops it.
    let count = async |pantry: &RunningSystem<Pantry>| {
        let followers = pantry.health().await.unwrap().followers;
        followers
            .iter()
            .filter(|follower| follower.failure().is_some())
            .count()
    };
    within_seconds(async {
        while count(&one).await + count(&two).await < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(one.on_the_shelf().await.1 < 80);
    one.cheer_up();
    two.cheer_up();
    for pantry in [&one, &two] {
        pantry.resume(Pantry::SHELVES).await.unwrap();
    }
    let all = (40 * (i64::from(FAILS_ON) + 1), 80);
    within_seconds(async {
        while one.on_the_shelf().await != all {
            one.resume(Pantry::SHELVES).await.unwrap();
            two.resume(Pantry::SHELVES).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for pantry in [&one, &two] {
        within_seconds(pantry.wait_until_caught_up()).await.unwrap();
    }
    assert_eq!(one.on_the_shelf().await, all, "each jar once");
    within_seconds(async {
        let holders = async || {
            let mut holders = BTreeMap::<_, usize>::new();
            for holder in one
                .health()
                .await
                .unwrap()
                .followers
                .into_iter()
                .filter_map(|follower| follower.holder)
            {
                *holders.entry(holder.holder.as_uuid()).or_default() += 1;
            }
            holders.into_values().collect::<Vec<_>>()
        };
        while holders().await != [2, 2] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    within_seconds(one.stop()).await.unwrap();
    within_seconds(two.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_on_a_log_of_its_own_goes_on_too() {
    for runner in runners() {
        let stores = Stores::shared(MemoryStore::new()).with("shelves", MemoryStore::new());
        let pantry = Pantry::start(stores, runner).await.unwrap();
        pantry.fill(FAILS_ON).await;
        pantry.fill(1).await;
        stopped(&pantry).await;
        pantry.cheer_up();
        assert!(pantry.resume(Pantry::SHELVES).await.unwrap());
        within_seconds(pantry.wait_until_caught_up()).await.unwrap();
        assert_eq!(pantry.on_the_shelf().await, (i64::from(FAILS_ON) + 1, 2));
        let shelf = pantry
            .shelves
            .app
            .log(LogQuery::after(Position::ZERO))
            .await
            .unwrap();
        assert_eq!(shelf.decode::<Shelf>().unwrap().len(), 3);
        within_seconds(pantry.stop()).await.unwrap();
    }
}
