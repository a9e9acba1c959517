//! Parking (dead letters): events that a follower cannot process are set aside in the store, in order, and others continue.
//! People retry them, edit and retry them, or discard them, and each of these acts is recorded.
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{Jar, JarEvent, Jars, ShelfEvent, shelf};
use eventsourcing_core::store::{FollowerStore, MemoryStore, StreamId};
use eventsourcing_core::system::{FollowerState, ParkingAction};
use eventsourcing_core::{
    Application, ApplicationError, Id, OnFailure, Policy, RecordedEvent, Runner, RunningSystem,
    System, SystemError, UnitOfWork,
};
use eventsourcing_testing::ManualClock;
use serde_json::json;

/// A policy that counts all beans, and fails at thirteen until it is fixed.
struct Counter {
    app: Application,
    fixed: AtomicBool,
}

impl From<Application> for Counter {
    fn from(app: Application) -> Self {
        Self {
            app,
            fixed: AtomicBool::new(false),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum CountError {
    #[error("thirteen is unlucky")]
    Thirteen,
    #[error(transparent)]
    App(#[from] ApplicationError),
}

impl Policy<Jar> for Counter {
    type Error = CountError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), CountError> {
        let by = match event.payload {
            JarEvent::Filled { beans: 13 } | JarEvent::Added { beans: 13 }
                if !self.fixed.load(Ordering::Relaxed) =>
            {
                return Err(CountError::Thirteen);
            }
            JarEvent::Filled { beans } | JarEvent::Added { beans } => i64::from(beans),
            JarEvent::Taken { beans } => -i64::from(beans),
        };
        work.load_or_create(shelf(), || ShelfEvent::Built)
            .await?
            .record(ShelfEvent::Changed { by });
        Ok(())
    }
}

/// A projection that lists numbers of beans in memory, and fails at thirteen too.
#[derive(Default)]
struct List(std::sync::Mutex<Vec<u32>>, AtomicBool);

impl eventsourcing_core::Projection<Jar> for List {
    type Error = CountError;

    async fn project(&self, event: &RecordedEvent<Jar>) -> Result<(), CountError> {
        match event.payload {
            JarEvent::Filled { beans: 13 } if !self.1.load(Ordering::Relaxed) => {
                Err(CountError::Thirteen)
            }
            JarEvent::Filled { beans } | JarEvent::Added { beans } | JarEvent::Taken { beans } => {
                self.0.lock().unwrap().push(beans);
                Ok(())
            }
        }
    }
}

#[derive(System)]
struct Pantry {
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(domain::Shelf), follows(jars: Jar))]
    counter: Counter,
    #[projection(follows(jars: Jar))]
    list: List,
}

/// Checks the accounting of parked and discarded events.
async fn assert_accounted_for(pantry: &RunningSystem<Pantry>) {
    let verification = pantry.verify().await.unwrap();
    assert!(verification.agrees(), "{verification}");
}

async fn start(store: impl FollowerStore, runner: Runner) -> RunningSystem<Pantry> {
    let builder = Pantry::builder(store).with_runner(runner);
    builder
        .with_on_failure(Pantry::COUNTER, OnFailure::Park)
        .with_on_failure(Pantry::LIST, OnFailure::Park)
        .start()
        .await
        .unwrap()
}

async fn fill(pantry: &Pantry, beans: u32) -> Id<Jar> {
    pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans })
        .await
        .unwrap()
        .id
}

async fn add(pantry: &Pantry, jar: Id<Jar>, beans: u32) -> eventsourcing_core::Receipt {
    pantry
        .jars
        .app
        .update(jar, |jar| jar.add(beans))
        .await
        .unwrap()
}

/// The numbers of beans that were counted, in order.
async fn counted(pantry: &Pantry) -> Vec<i64> {
    let history = pantry.counter.app.history(shelf()).await.unwrap();
    let numbers = history.into_iter().filter_map(|event| match event.payload {
        ShelfEvent::Built => None,
        ShelfEvent::Changed { by } => Some(by),
    });
    numbers.collect()
}

fn stream(jar: Id<Jar>) -> StreamId {
    StreamId::new("Jar", jar.as_uuid())
}

/// Fills a good jar and a bad one, and adds beans to both: the bad jar is parked, with two events behind the first.
async fn with_a_bad_jar(pantry: &Pantry) -> Id<Jar> {
    let good = fill(pantry, 1).await;
    let bad = fill(pantry, 13).await;
    add(pantry, bad, 2).await;
    add(pantry, good, 3).await;
    add(pantry, bad, 4).await;
    add(pantry, good, 5).await;
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_waits_and_so_do_those_behind_it_and_all_others_go_on() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let pantry = start(MemoryStore::new(), runner).await;
        let bad = with_a_bad_jar(&pantry).await;
        pantry.wait_until_caught_up().await.unwrap();
        assert_eq!(counted(&pantry).await, [1, 3, 5]);
        assert_eq!(*pantry.list.0.lock().unwrap(), [1, 3, 5]);

        let health = pantry.health().await.unwrap();
        assert!(!health.is_healthy());
        for follower in &health.followers {
            assert!(
                matches!(follower.state, FollowerState::Running),
                "{follower:?}"
            );
            assert_eq!((follower.parked, follower.lag), (1, 0), "{follower:?}");
        }
        let parked = pantry
            .parking(Pantry::COUNTER)
            .unwrap()
            .list()
            .await
            .unwrap();
        let [parked] = &parked[..] else {
            panic!("{parked:?}")
        };
        assert_eq!(
            (
                &parked.stream,
                parked.version.as_u64(),
                parked.name.as_str()
            ),
            (&stream(bad), 1, "Filled")
        );
        assert_eq!(
            (parked.cause.as_str(), parked.attempts, parked.waiting),
            ("thirteen is unlucky", 1, 2)
        );
        assert_accounted_for(&pantry).await;
        pantry.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_processes_all_waiting_events_in_order() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let pantry = start(MemoryStore::new(), runner).await;
        let bad = with_a_bad_jar(&pantry).await;
        pantry.wait_until_caught_up().await.unwrap();
        let parking = pantry.parking(Pantry::COUNTER).unwrap().by("ann");

        let again = parking.retry(&stream(bad)).await.unwrap();
        assert_eq!(again.events, 0);
        assert!(
            again
                .failure
                .unwrap()
                .to_string()
                .contains(" (Filled of Jar")
        );
        assert_eq!(parking.list().await.unwrap()[0].attempts, 2);
        assert_eq!(counted(&pantry).await, [1, 3, 5], "nothing of it stands");

        pantry.counter.fixed.store(true, Ordering::Relaxed);
        let retried = parking.retry(&stream(bad)).await.unwrap();
        assert_eq!((retried.events, retried.failure.is_none()), (3, true));
        assert_eq!(counted(&pantry).await, [1, 3, 5, 13, 2, 4]);
        assert!(parking.list().await.unwrap().is_empty());
        add(&pantry, bad, 6).await;
        pantry.wait_until_caught_up().await.unwrap();
        assert_eq!(
            counted(&pantry).await,
            [1, 3, 5, 13, 2, 4, 6],
            "the event is processed at its next delivery"
        );

        let records = parking.records().await.unwrap();
        let failed = ParkingAction::Failed {
            cause: "thirteen is unlucky".into(),
        };
        let actions: Vec<_> = records
            .iter()
            .map(|record| (record.by.as_str(), record.action.clone()))
            .collect();
        assert_eq!(
            actions,
            [
                ("ann", failed),
                ("ann", ParkingAction::Retried { events: 3 })
            ]
        );
        let nothing = parking.retry(&stream(bad)).await.unwrap_err().to_string();
        assert!(nothing.contains("counter has not parked Jar"), "{nothing}");

        pantry.list.1.store(true, Ordering::Relaxed);
        pantry
            .parking(Pantry::LIST)
            .unwrap()
            .retry(&stream(bad))
            .await
            .unwrap();
        let mut listed = pantry.list.0.lock().unwrap().clone();
        listed.sort_unstable();
        assert_eq!(
            listed,
            [1, 2, 3, 4, 5, 6, 13],
            "also where targets know nothing of steps"
        );
        assert!(pantry.health().await.unwrap().is_healthy());
        assert_accounted_for(&pantry).await;
        pantry.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_event_can_be_edited_into_a_retry_and_the_log_stays_as_it_is() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    let bad = with_a_bad_jar(&pantry).await;
    let parking = pantry.parking(Pantry::COUNTER).unwrap();
    let deep = (0..200).fold(json!(12), |inner, _| json!([inner]));
    let refused = parking
        .retry_edited(&stream(bad), deep)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("at most 100 levels deep"), "{refused}");
    let wrong = parking
        .retry_edited(&stream(bad), json!({ "peas": 12 }))
        .await
        .unwrap();
    assert!(
        wrong.failure.unwrap().cause.contains("cannot be read"),
        "what is no such event is refused"
    );
    let retried = parking
        .retry_edited(&stream(bad), json!({ "beans": 12 }))
        .await
        .unwrap();
    assert_eq!(retried.events, 3);
    assert_eq!(counted(&pantry).await, [1, 3, 5, 12, 2, 4]);
    assert_eq!(
        pantry.jars.app.history(bad).await.unwrap()[0].payload,
        JarEvent::Filled { beans: 13 }
    );
    let records = parking.records().await.unwrap();
    assert_eq!(
        records[1].action,
        ParkingAction::Edited {
            payload: json!({ "beans": 12 })
        }
    );
    assert!(records[1].by.contains("pid "), "{records:?}");
}

#[tokio::test]
async fn an_event_can_be_given_up_for_a_reason() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    let bad = with_a_bad_jar(&pantry).await;
    let parking = pantry.parking(Pantry::COUNTER).unwrap();
    let refused = parking
        .discard(&stream(bad), " ")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("needs a reason"), "{refused}");
    parking.discard(&stream(bad), "spilled").await.unwrap();
    let parked = parking.list().await.unwrap();
    assert_eq!(
        (
            parked[0].version.as_u64(),
            parked[0].name.as_str(),
            parked[0].waiting
        ),
        (2, "Added", 1)
    );
    assert_eq!(
        counted(&pantry).await,
        [1, 3, 5],
        "those behind it still wait"
    );
    assert_eq!(parking.retry(&stream(bad)).await.unwrap().events, 2);
    assert_eq!(counted(&pantry).await, [1, 3, 5, 2, 4]);
    let records = parking.records().await.unwrap();
    assert_eq!(
        records[0].action,
        ParkingAction::Dropped {
            reason: "spilled".into()
        }
    );
    assert_accounted_for(&pantry).await;
    let stranger = parking
        .discard(&stream(bad), "again")
        .await
        .unwrap_err()
        .to_string();
    assert!(stranger.contains("has not parked"), "{stranger}");
}

#[tokio::test]
async fn a_retry_stops_at_the_next_bad_event_and_what_came_before_stands() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    let bad = fill(&pantry, 13).await;
    for beans in [1, 2, 13, 3] {
        add(&pantry, bad, beans).await;
    }
    let parking = pantry.parking(Pantry::COUNTER).unwrap();
    let retried = parking
        .retry_edited(&stream(bad), json!({ "beans": 0 }))
        .await
        .unwrap();
    assert_eq!((retried.events, retried.failure.is_some()), (3, true));
    assert_eq!(counted(&pantry).await, [0, 1, 2]);
    let parked = parking.list().await.unwrap();
    assert_eq!(
        (
            parked[0].version.as_u64(),
            parked[0].waiting,
            parked[0].attempts
        ),
        (4, 1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_survive_a_restart_and_wait_under_any_new_setting() {
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::default();
    let builder = Pantry::builder(Arc::clone(&store))
        .with_runner(Runner::inline())
        .with_clock(clock);
    let pantry: RunningSystem<Pantry> = builder
        .with_on_failure(Pantry::COUNTER, OnFailure::Park)
        .start()
        .await
        .unwrap();
    let bad = fill(&pantry, 13).await;
    drop(pantry.stop().await);

    let pantry = Pantry::builder(Arc::clone(&store))
        .with_runner(Runner::inline())
        .start()
        .await
        .unwrap();
    add(&pantry, bad, 1).await;
    fill(&pantry, 2).await;
    assert_eq!(counted(&pantry).await, [2]);
    let parking = pantry.parking(Pantry::COUNTER).unwrap();
    assert_eq!(parking.list().await.unwrap()[0].waiting, 1);
    pantry.counter.fixed.store(true, Ordering::Relaxed);
    assert_eq!(parking.retry(&stream(bad)).await.unwrap().events, 2);
    assert_eq!(counted(&pantry).await, [2, 13, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_parked_event_reports_that_it_is_parked() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let store = Arc::new(MemoryStore::new());
        let pantry = start(Arc::clone(&store), runner).await;
        let onlooker = start(store, Runner::concurrent()).await;
        let bad = fill(&pantry, 13).await;
        let receipt = add(&pantry, bad, 1).await;
        for pantry in [&pantry, &onlooker] {
            let error = pantry
                .wait_for(&receipt, Pantry::COUNTER, Duration::from_secs(20))
                .await
                .unwrap_err();
            assert!(matches!(error, SystemError::Parked { .. }), "{error}");
            assert!(
                error
                    .to_string()
                    .ends_with("at version 1: thirteen is unlucky"),
                "{error}"
            );
        }
        let good = fill(&pantry, 1).await;
        let receipt = add(&pantry, good, 1).await;
        pantry
            .wait_for(&receipt, Pantry::COUNTER, Duration::from_secs(20))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_a_retry_has_set_back_passes_again_over_what_it_does_not_take() {
    let pantry = start(MemoryStore::new(), Runner::concurrent()).await;
    let bad = with_a_bad_jar(&pantry).await;
    pantry.wait_until_caught_up().await.unwrap();
    // The events of the counter are at the end of the log; the list skips them without writing a step.
    pantry.list.1.store(true, Ordering::Relaxed);
    pantry
        .parking(Pantry::LIST)
        .unwrap()
        .retry(&stream(bad))
        .await
        .unwrap();
    let settled =
        tokio::time::timeout(Duration::from_secs(20), pantry.wait_until_caught_up()).await;
    settled
        .expect("it settles without anything new in the log")
        .unwrap();
    pantry.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_through_while_another_process_runs_the_follower() {
    let store = Arc::new(MemoryStore::new());
    let busy = Arc::new(start(Arc::clone(&store), Runner::concurrent()).await);
    let bad = with_a_bad_jar(&busy).await;
    busy.wait_until_caught_up().await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writer = Arc::clone(&busy);
    let stop = Arc::clone(&over);

    let writing = tokio::spawn(async move {
        let jar = fill(&writer, 1).await;
        let mut beans = 1;
        while !stop.load(Ordering::Relaxed) {
            add(&writer, jar, 1).await;
            add(&writer, bad, 1).await;
            beans += 2;
        }
        beans
    });
    let other = start(Arc::clone(&store), Runner::concurrent()).await;
    other.counter.fixed.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let retried = other
        .parking(Pantry::COUNTER)
        .unwrap()
        .retry(&stream(bad))
        .await
        .unwrap();
    assert!(
        retried.failure.is_none() && retried.events >= 3,
        "{retried:?}"
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    over.store(true, Ordering::Relaxed);
    let beans = writing.await.unwrap();
    busy.wait_until_caught_up().await.unwrap();
    assert_eq!(
        counted(&busy).await.iter().sum::<i64>(),
        1 + 3 + 5 + 13 + 2 + 4 + beans
    );
    let of_the_bad_jar = busy.jars.app.history(bad).await.unwrap().len();
    assert!(of_the_bad_jar > 3, "{of_the_bad_jar}");
    assert_eq!(busy.health().await.unwrap().followers[0].parked, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_parks_everything_stops() {
    let pantry = start(MemoryStore::new(), Runner::concurrent()).await;
    let jars = (0..10_001)
        .map(|_| eventsourcing_core::Root::<Jar>::create(JarEvent::Filled { beans: 13 }));
    let mut jars: Vec<_> = jars.collect();
    for jars in jars.chunks_mut(1_000) {
        pantry.jars.app.save(jars).await.unwrap();
    }
    let stopped = pantry.wait_until_caught_up().await.unwrap_err().to_string();
    assert!(
        stopped.contains("at position 10001 (Filled of Jar"),
        "{stopped}"
    );
    assert_eq!(pantry.health().await.unwrap().followers[0].parked, 10_000);
}

#[tokio::test]
async fn only_followers_have_parked_events() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    let unknown = pantry
        .parking(eventsourcing_core::FollowerName::new("jars"))
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("no follower \"jars\"; it has counter, list"),
        "{unknown}"
    );
}
