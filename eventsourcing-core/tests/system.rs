//! Systems: followers catch up, stop at failures, continue where they stopped, and process no event twice.
#![allow(clippy::unwrap_used)]

mod domain;
mod ownership;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{
    FAILS_ON, FixedPantry, Jar, JarEvent, Jars, NotEnough, PANICS_ON, Pantry, Shelf, ShelfEvent,
    Shelves, shelf,
};
use eventsourcing_core::snapshot::never;
use eventsourcing_core::store::{
    Acknowledged, EventStore, FollowerStore, LogId, LogQuery, MemoryStore, Name, Position,
};
use eventsourcing_core::{
    Application, ApplicationError, Id, Metadata, OnFailure, Policy, Projection, Receipt,
    RecordedEvent, Root, Runner, RunningSystem, Stores, System, SystemBuilder, SystemError,
    UnitOfWork,
};
use eventsourcing_testing::{Fault, FaultyStore, Operation, PolicyScenario, Scenario};

async fn start(store: impl FollowerStore, runner: Runner) -> RunningSystem<Pantry> {
    Pantry::start(store, runner).await.unwrap()
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

/// Returns the beans of the shelf and the number of its changes.
async fn on_the_shelf(pantry: &Pantry) -> (i64, u64) {
    let shelf = pantry.shelves.app.find(shelf()).await.unwrap();
    shelf.map_or((0, 0), |shelf| (shelf.beans, shelf.changes))
}

/// Checks that the projection has seen every event once and in order.
async fn assert_seen_all(pantry: &Pantry) {
    let page = pantry
        .jars
        .app
        .log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .unwrap();
    let positions: Vec<_> = page.events.iter().map(|event| event.position).collect();
    assert_eq!(*pantry.seen.0.lock().unwrap(), positions);
}

async fn within_seconds<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("within 20 seconds")
}

#[tokio::test]
async fn inline_followers_have_caught_up_when_a_save_returns() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    let jar = fill(&pantry, 5).await;
    assert_eq!(on_the_shelf(&pantry).await, (5, 1));
    pantry
        .jars
        .app
        .update(jar, |jar| jar.take(2))
        .await
        .unwrap();
    assert_eq!(on_the_shelf(&pantry).await, (3, 2));
    assert_seen_all(&pantry).await;
    pantry.stop().await.unwrap();
}

#[tokio::test]
async fn inline_runs_are_deterministic() {
    let run = async || {
        let pantry = start(MemoryStore::new(), Runner::inline()).await;
        let jar = fill(&pantry, 5).await;
        for beans in 0..20 {
            pantry
                .jars
                .app
                .update(jar, |jar| jar.add(beans))
                .await
                .unwrap();
        }
        let page = pantry
            .jars
            .app
            .log(LogQuery::after(Position::ZERO).limit(usize::MAX))
            .await
            .unwrap();
        page.events
            .into_iter()
            .map(|event| (event.position, event.name, event.payload))
            .collect::<Vec<_>>()
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_followers_settle() {
    let pantry = start(MemoryStore::new(), Runner::concurrent()).await;
    let jars = &pantry.jars.app;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let jars = jars.clone();
        let jar = fill(&pantry, 1).await;

        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                jars.update(jar, |jar| jar.add(1)).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    within_seconds(pantry.wait_until_caught_up()).await.unwrap();
    assert_eq!(on_the_shelf(&pantry).await, (8 * 51, 8 * 51));
    assert_seen_all(&pantry).await;
    within_seconds(pantry.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_go_on_where_they_stopped_and_catch_up_at_the_start() {
    let store = MemoryStore::new();
    let pantry = start(store.clone(), Runner::concurrent()).await;
    let jar = fill(&pantry, 1).await;
    within_seconds(pantry.wait_until_caught_up()).await.unwrap();
    let jars = pantry.jars.app.clone();
    within_seconds(pantry.stop()).await.unwrap();
    jars.update(jar, |jar| jar.add(1)).await.unwrap();

    let pantry = start(store, Runner::inline()).await;
    assert_eq!(on_the_shelf(&pantry).await, (2, 2));
    assert_seen_all(&pantry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_copies_of_a_system_do_everything_once() {
    let store = MemoryStore::new();
    let mut copies = Vec::new();
    for _ in 0..4 {
        copies.push(start(store.clone(), Runner::concurrent()).await);
    }
    let mut expected = 0;
    for round in 0..100 {
        fill(&copies[round % 4], 1).await;
        expected += 1;
    }
    for copy in &copies {
        within_seconds(copy.wait_until_caught_up()).await.unwrap();
        assert_seen_all(copy).await;
    }
    assert_eq!(on_the_shelf(&copies[0]).await, (expected, expected as u64));
    for copy in copies {
        within_seconds(copy.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_stops_its_follower_visibly_and_loses_nothing() {
    for (runner, bad) in [
        (Runner::inline(), FAILS_ON),
        (Runner::concurrent(), PANICS_ON),
    ] {
        let store = MemoryStore::new();
        let pantry = start(store.clone(), runner).await;
        fill(&pantry, 1).await;
        fill(&pantry, bad).await;
        fill(&pantry, 2).await;
        let error = within_seconds(pantry.wait_until_caught_up())
            .await
            .unwrap_err();
        let SystemError::FollowerStopped(stopped) = &error else {
            panic!("{error}")
        };
        assert_eq!(stopped.follower, *"shelves");
        assert!(stopped.event.starts_with("Filled of Jar"), "{stopped}");
        assert!(
            ["666 beans are too many", "panicked: what a number"].contains(&stopped.cause.as_str()),
            "{stopped}"
        );
        assert_eq!(
            on_the_shelf(&pantry).await,
            (1, 1),
            "what came before the bad event stands"
        );
        let health = pantry.health().await.unwrap();
        assert!(!health.is_healthy());
        let [shelves, seen] = &health.followers[..] else {
            panic!("{health:?}")
        };
        assert_eq!(
            (shelves.name.as_str(), shelves.state.to_string().as_str()),
            ("shelves", "stopped")
        );
        assert!(shelves.failure().unwrap().position > shelves.position);
        assert!(shelves.position < shelves.head && shelves.behind > Duration::ZERO);
        assert_eq!(seen.state.to_string(), "running");
        assert!(within_seconds(pantry.stop()).await.is_err());

        let fixed = FixedPantry::start(store, runner).await.unwrap();
        within_seconds(fixed.wait_until_caught_up()).await.unwrap();
        let shelf = fixed.shelves.app.load(shelf()).await.unwrap();
        assert_eq!((shelf.beans, shelf.changes), (3 + i64::from(bad), 3));
        within_seconds(fixed.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_delays_followers_and_nothing_else() {
    let memory = MemoryStore::new();
    let faulty = Arc::new(FaultyStore::new(memory.clone()));
    let pantry = start(faulty.clone(), Runner::concurrent()).await;
    fill(&pantry, 1).await;
    within_seconds(pantry.wait_until_caught_up()).await.unwrap();
    for (operation, fault) in [
        (Operation::Append, Fault::Unavailable),
        (Operation::Append, Fault::LostReply),
        (Operation::ReadLog, Fault::Unavailable),
        (Operation::Load, Fault::Unavailable),
        (Operation::WaitBeyond, Fault::Unavailable),
    ] {
        faulty.fail_next(operation, fault);
        // The write goes to the wrapped store, so that the fault hits the follower.
        let jars = eventsourcing_core::Application::new("jars", memory.clone());
        // The policy must load the shelf again.
        let change = |_: &Shelf| ShelfEvent::Changed { by: 0 };
        jars.update(shelf(), change).await.unwrap();
        jars.save(&mut Root::<Jar>::create(JarEvent::Filled { beans: 1 }))
            .await
            .unwrap();
        within_seconds(pantry.wait_until_caught_up()).await.unwrap();
    }
    assert_eq!(on_the_shelf(&pantry).await, (6, 6 + 5));
    assert_seen_all(&pantry).await;
    within_seconds(pantry.stop()).await.unwrap();
}

#[tokio::test]
async fn correlation_causation_and_actor_flow_through_followers() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    let cook = pantry.jars.app.with(Metadata::actor("cook"));
    let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 5 });
    cook.save(&mut jar).await.unwrap();
    let cause = &pantry.jars.app.history(jar.id()).await.unwrap()[0];
    let effects = pantry.shelves.app.history(shelf()).await.unwrap();
    for effect in &effects {
        assert_eq!(
            effect.metadata.correlation_id,
            cause.metadata.correlation_id
        );
        assert_eq!(effect.metadata.causation, Some(cause.event_ref()));
        assert_eq!(effect.metadata.actor.as_deref(), Some("cook"));
    }
    assert_eq!(effects.len(), 2);
}

#[tokio::test]
async fn each_application_may_have_a_store_of_its_own() {
    let jars = MemoryStore::new();
    let shelves = MemoryStore::new();

    let stores = || Stores::shared(jars.clone()).with("shelves", shelves.clone());
    let pantry = Pantry::start(stores(), Runner::inline()).await.unwrap();
    fill(&pantry, 5).await;
    fill(&pantry, 6).await;
    assert_eq!(on_the_shelf(&pantry).await, (11, 2));
    assert_eq!(jars.head().await.unwrap(), Position::new(2));
    assert_eq!(shelves.head().await.unwrap(), Position::new(3));
    let name = Name::from_static("shelves");
    assert_eq!(
        shelves.tracking(&name, jars.log_id()).await.unwrap(),
        Position::new(2)
    );
    assert_eq!(pantry.seen.0.lock().unwrap().len(), 5);
    drop(pantry);
    let again = Pantry::start(stores(), Runner::inline()).await.unwrap();
    assert_eq!(on_the_shelf(&again).await, (11, 2));
}

#[tokio::test]
async fn health_says_for_each_log_what_an_acknowledged_command_survives() {
    let jars = MemoryStore::new();
    let shelves: Arc<dyn FollowerStore> = Arc::new(FaultyStore::new(MemoryStore::new()));
    let stores = Stores::shared(jars.clone()).with("shelves", Arc::clone(&shelves));
    let pantry = Pantry::start(stores, Runner::inline()).await.unwrap();
    let health = pantry.health().await.unwrap();
    let logs = [jars.log_id(), shelves.log_id()];
    assert_eq!(
        health.acknowledged,
        logs.map(|log| (log, Acknowledged::InMemory)).into()
    );
    assert!(health.is_healthy(), "one machine is no failure");
    let one = start(jars.clone(), Runner::inline())
        .await
        .health()
        .await
        .unwrap();
    assert_eq!(
        one.acknowledged,
        [(jars.log_id(), Acknowledged::InMemory)].into()
    );
}

#[tokio::test]
async fn names_of_applications_are_checked_at_the_start() {
    let stores = Stores::shared(MemoryStore::new()).with("shelfs", MemoryStore::new());
    let error = Pantry::start(stores, Runner::inline())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"shelfs\"") && error.contains("jars, shelves"),
        "{error}"
    );
    let builder = SystemBuilder::<Pantry>::new(MemoryStore::new())
        .with_application(eventsourcing_core::ApplicationName::new("jar"), |app| app);
    assert!(builder.start().await.is_err());
}

#[tokio::test]
async fn an_application_of_a_system_can_be_configured() {
    let builder = Pantry::builder(MemoryStore::new()).with_runner(Runner::inline());
    let pantry = builder
        .with_application(Pantry::JARS, |app| app.with_snapshots::<Jar>(never()))
        .start()
        .await
        .unwrap();
    assert_eq!(pantry.jars.app.name().as_str(), "jars");
    fill(&pantry, 1).await;
    assert_eq!(on_the_shelf(&pantry).await, (1, 1));
}

#[tokio::test]
async fn the_definition_says_who_follows_whom() {
    let text = Pantry::definition().to_string();
    assert!(
        text.contains("policy       shelves  follows Jar of jars"),
        "{text}"
    );
    assert!(
        text.contains("projection   seen     follows Jar of jars, Shelf of shelves"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_save_does_not_stop_inline_followers_midway() {
    let pantry = start(MemoryStore::new(), Runner::inline()).await;
    for round in 0..200 {
        let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
        let _ = tokio::time::timeout(Duration::from_micros(round), pantry.jars.app.save(&mut jar))
            .await;
    }
    within_seconds(pantry.wait_until_caught_up()).await.unwrap();
    let jars = pantry
        .jars
        .app
        .ids::<Jar>(Position::ZERO, 1_000)
        .await
        .unwrap()
        .ids
        .len();
    assert_eq!(on_the_shelf(&pantry).await, (jars as i64, jars as u64));
    assert_seen_all(&pantry).await;
}

#[tokio::test]
async fn a_policy_is_tested_without_a_system() {
    let jar = Id::<Jar>::new();
    PolicyScenario::<Shelves>::new()
        .when(jar, JarEvent::Filled { beans: 3 })
        .await
        .when(jar, JarEvent::Taken { beans: 1 })
        .await
        .then(
            shelf(),
            [
                ShelfEvent::Built,
                ShelfEvent::Changed { by: 3 },
                ShelfEvent::Changed { by: -1 },
            ],
        )
        .then_nothing_else();
    PolicyScenario::<Shelves>::new()
        .given(shelf(), ShelfEvent::Built)
        .await
        .when(jar, JarEvent::Filled { beans: FAILS_ON })
        .await
        .then_failed("too many");
}

#[test]
fn an_aggregate_is_tested_without_anything() {
    Jar::given(JarEvent::Filled { beans: 3 })
        .when(|jar| jar.take(2))
        .then(JarEvent::Taken { beans: 2 })
        .then_state(|jar| assert_eq!(jar.beans, 1));
    Jar::given(JarEvent::Filled { beans: 3 })
        .when(|jar| jar.take(4))
        .then_rejected(NotEnough { left: 3 });
    Shelf::given_nothing()
        .when(|| ShelfEvent::Built)
        .then(ShelfEvent::Built);
}

#[test]
#[should_panic(expected = "did not reject")]
fn a_scenario_notices_a_missing_refusal() {
    Jar::given(JarEvent::Filled { beans: 3 })
        .when(|jar| jar.take(2))
        .then_rejected(NotEnough { left: 3 });
}

#[test]
#[should_panic(expected = "decided on (left)")]
fn a_scenario_notices_other_events() {
    Jar::given(JarEvent::Filled { beans: 3 })
        .when(|jar| jar.take(2))
        .then(JarEvent::Taken { beans: 3 });
}

/// Servers spawn what their handlers await.
#[tokio::test]
async fn everything_can_be_awaited_in_a_spawned_task() {
    fn spawned<F: Future<Output: Send> + Send + 'static>(
        future: F,
    ) -> tokio::task::JoinHandle<F::Output> {
        tokio::spawn(future)
    }
    let pantry = spawned(Pantry::start(MemoryStore::new(), Runner::inline()))
        .await
        .unwrap()
        .unwrap();
    let app = pantry.jars.app.clone();
    let both = spawned(async move {
        let first = app
            .create(|| JarEvent::Filled { beans: 3 })
            .await
            .unwrap()
            .id;
        let mut second = Root::<Jar>::create(JarEvent::Filled { beans: 0 });
        app.save((&mut second, app.load(first).await.unwrap().guard()))
            .await
            .unwrap();
        app.update(first, |jar| jar.take(1)).await.unwrap();
        let poured = app.update_all((first, second.id()), |(from, to)| {
            from.execute(|jar| jar.take(1))?;
            to.execute(|jar| jar.add(1))
        });
        poured.await.unwrap();
        app.retry(|| async {
            Ok::<_, eventsourcing_core::CommandError<NotEnough>>(app.load(first).await?.beans)
        })
        .await
        .unwrap()
    });
    assert_eq!(both.await.unwrap(), 1);
    spawned(async move {
        pantry.wait_until_caught_up().await.unwrap();
        pantry.stop().await
    })
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_is_retried_and_visible_meanwhile() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let builder = Moody::builder(MemoryStore::new()).with_runner(runner);
        let moody = builder
            .with_on_failure(Moody::MOOD, OnFailure::Retry)
            .start()
            .await
            .unwrap();
        let jar = moody
            .jars
            .app
            .create(|| JarEvent::Filled { beans: 1 })
            .await
            .unwrap()
            .id;
        within_seconds(async {
            while moody.health().await.unwrap().is_healthy() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let health = moody.health().await.unwrap();
        assert_eq!(health.followers[0].state.to_string(), "retrying");
        assert!(
            health.followers[0]
                .failure()
                .unwrap()
                .cause
                .contains("not now"),
            "{health:?}"
        );
        moody.mood.0.store(true, Ordering::Relaxed);
        moody.jars.app.update(jar, |jar| jar.add(1)).await.unwrap();
        within_seconds(moody.wait_until_caught_up()).await.unwrap();
        assert!(moody.health().await.unwrap().is_healthy());
        within_seconds(moody.stop()).await.unwrap();
    }
}

/// A projection that fails until its mood is good.
#[derive(Default)]
struct Mood(AtomicBool);

#[derive(Debug, thiserror::Error)]
#[error("not now")]
struct NotNow;

impl Projection<Jar> for Mood {
    type Error = NotNow;

    async fn project(&self, _: &RecordedEvent<Jar>) -> Result<(), NotNow> {
        match self.0.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(NotNow),
        }
    }
}

#[derive(System)]
struct Moody {
    #[application(aggregates(Jar))]
    jars: Jars,

    #[projection(follows(jars: Jar))]
    mood: Mood,
}

const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_can_wait_for_the_consequences_of_its_append() {
    for runner in [
        Runner::inline(),
        Runner::concurrent(),
        Runner::concurrent().without_leases(),
    ] {
        let store = MemoryStore::new();
        let ours = start(store.clone(), runner).await;
        let others = start(store, runner).await;

        for round in 1..=50 {
            let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
            let receipt = ours.jars.app.save(&mut jar).await.unwrap();
            for pantry in [&ours, &others] {
                pantry
                    .wait_for(&receipt, Pantry::SHELVES, TIMEOUT)
                    .await
                    .unwrap();
                assert_eq!(on_the_shelf(pantry).await, (round, round as u64));
                pantry
                    .wait_for(&receipt, Pantry::SEEN, TIMEOUT)
                    .await
                    .unwrap();
                assert!(pantry.seen.0.lock().unwrap().contains(&receipt.position));
            }
        }
        // Events that it does not need count as processed, too.
        let mut shelf = Root::<Shelf>::create(ShelfEvent::Built);
        let receipt = ours.shelves.app.save(&mut shelf).await.unwrap();
        ours.wait_for(&receipt, Pantry::SHELVES, TIMEOUT)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn waiting_for_a_follower_ends_in_any_case() {
    let pantry = start(MemoryStore::new(), Runner::concurrent()).await;
    let unknown = pantry
        .wait_for(
            &Receipt::at(LogId::UNKNOWN, Position::ZERO),
            eventsourcing_core::FollowerName::new("shelf"),
            TIMEOUT,
        )
        .await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("\"shelf\"; it has shelves, seen")
    );
    let mut bad = Root::<Jar>::create(JarEvent::Filled { beans: FAILS_ON });
    let receipt = pantry.jars.app.save(&mut bad).await.unwrap();
    let stopped = pantry.wait_for(&receipt, Pantry::SHELVES, TIMEOUT).await;
    assert!(
        matches!(stopped, Err(SystemError::FollowerStopped(_))),
        "{stopped:?}"
    );

    let builder =
        Pantry::builder(MemoryStore::new()).with_on_failure(Pantry::SHELVES, OnFailure::Retry);
    let pantry = builder.start().await.unwrap();
    let mut bad = Root::<Jar>::create(JarEvent::Filled { beans: FAILS_ON });
    let receipt = pantry.jars.app.save(&mut bad).await.unwrap();
    let late = pantry
        .wait_for(&receipt, Pantry::SHELVES, Duration::from_millis(50))
        .await;
    assert!(
        matches!(late, Err(SystemError::TimedOut { position, .. }) if position == receipt.position),
        "{late:?}"
    );
}

#[tokio::test]
async fn a_receipt_of_one_log_is_enough_for_a_follower_of_several() {
    let stores = Stores::shared(MemoryStore::new()).with("shelves", MemoryStore::new());
    let pantry = Pantry::start(stores, Runner::concurrent()).await.unwrap();
    let mut receipt = None;
    for _ in 0..5 {
        let mut jar =
            Root::<Jar>::create([JarEvent::Filled { beans: 1 }, JarEvent::Added { beans: 1 }]);
        receipt = Some(pantry.jars.app.save(&mut jar).await.unwrap());
    }
    pantry
        .wait_for(&receipt.unwrap(), Pantry::SEEN, TIMEOUT)
        .await
        .unwrap();
    assert!(pantry.seen.0.lock().unwrap().len() >= 10);
}

/// A policy that records the version and position of each event on the shelf.
struct Places;

impl From<Application> for Places {
    fn from(_: Application) -> Self {
        Self
    }
}

impl Policy<Jar> for Places {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let place = event.version.as_u64() * 100 + event.position.as_u64();
        let shelf = work.load_or_create(shelf(), || ShelfEvent::Built).await?;
        shelf.record(ShelfEvent::Changed {
            by: i64::try_from(place).unwrap(),
        });
        Ok(())
    }
}

#[tokio::test]
async fn a_scenario_numbers_the_events_of_each_aggregate_after_what_was_given() {
    let given = Id::<Jar>::new();
    let new = Id::<Jar>::new();
    let shelf = shelf();

    PolicyScenario::<Places>::new()
        .given(shelf, ShelfEvent::Built)
        .await
        .given(
            given,
            [JarEvent::Filled { beans: 1 }, JarEvent::Added { beans: 1 }],
        )
        .await
        .when(given, JarEvent::Added { beans: 2 })
        .await
        .when(new, JarEvent::Filled { beans: 3 })
        .await
        .when(given, JarEvent::Added { beans: 4 })
        .await
        .then(shelf, [304, 105, 406].map(|by| ShelfEvent::Changed { by }))
        .then_nothing_else();
}
