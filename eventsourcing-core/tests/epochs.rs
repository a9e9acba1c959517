//! Epochs: a log forgets its last events, and every reader notices: pages, subscriptions, loaded aggregates, the cache, policies
//! and followers.
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::Arc;
use std::time::Duration;

use domain::{FAILS_ON, Jar, JarEvent, NotEnough, Pantry, Shelf, ShelfEvent, shelf};
use eventsourcing_core::store::{
    EventRef, EventStore, FollowerStore, LogQuery, MemoryStore, NotesQuery, Position, Receipt,
    StoreError, StoredEvent,
};
use eventsourcing_core::system::{AcceptedLog, FollowerState, FollowerVerification};
use eventsourcing_core::{
    Application, ApplicationError, CommandError, Id, LogPages, OnFailure, Policy, RecordedEvent,
    Root, Runner, RunningSystem, Stores, Subscription, System, SystemError, UnitOfWork,
};

const SOON: Duration = Duration::from_secs(20);

fn jars(store: &MemoryStore) -> Application {
    Application::new("jars", store.clone())
}

async fn fill(app: &Application, beans: u32) -> Id<Jar> {
    app.create(|| JarEvent::Filled { beans }).await.unwrap().id
}

async fn add(app: &Application, jar: Id<Jar>, beans: u32) {
    app.update(jar, |jar| jar.add(beans)).await.unwrap();
}

fn positions(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.as_u64()).collect()
}

fn assert_went_back<T: std::fmt::Debug>(answer: Result<T, StoreError>, at: u64, end: u64) {
    match answer {
        Err(StoreError::LogWentBack {
            position,
            end: found,
            ..
        }) => {
            assert_eq!(
                (position.as_u64(), found.as_u64()),
                (at, end),
                "it names both ends"
            );
        }
        other => panic!("the log went back, but {other:?}"),
    }
}

async fn next(subscription: &mut Subscription) -> Option<Result<StoredEvent, StoreError>> {
    tokio::time::timeout(SOON, subscription.next())
        .await
        .expect("an answer in time")
}

#[tokio::test]
async fn cached_aggregate_of_a_forgotten_past_decides_nothing() {
    let store = MemoryStore::new();
    let app = jars(&store);
    let other = jars(&store);
    let jar = fill(&app, 1).await;
    let backup = store.backup();
    add(&app, jar, 99).await;
    store.restore(&backup);
    add(&other, jar, 1).await;

    let refused = app.update(jar, |jar| jar.take(50)).await;
    assert!(
        matches!(refused, Err(CommandError::Rejected(NotEnough { left: 2 }))),
        "{refused:?}"
    );
    let refused = app
        .update_all((jar, fill(&other, 5).await), |(from, _)| {
            from.execute(|jar| jar.take(50))
        })
        .await;
    assert!(
        matches!(refused, Err(CommandError::Rejected(NotEnough { left: 2 }))),
        "{refused:?}"
    );
    assert_eq!(app.load(jar).await.unwrap().beans, 2);
}

#[tokio::test]
async fn commands_that_share_an_append_decide_nothing_on_a_forgotten_past() {
    let store = MemoryStore::new();
    let app = jars(&store);
    let other = jars(&store);
    let jar = fill(&app, 1).await;
    let backup = store.backup();
    add(&app, jar, 99).await;
    store.restore(&backup);
    add(&other, jar, 1).await;
    let take = |beans| {
        let app = app.clone();
        tokio::spawn(async move { app.update(jar, |jar| jar.take(beans)).await })
    };
    let commands: Vec<_> = [50, 1, 60, 1, 70].into_iter().map(take).collect();
    let mut taken = 0;
    for command in commands {
        taken += u32::from(command.await.unwrap().is_ok());
    }
    assert_eq!(
        (taken, app.load(jar).await.unwrap().beans),
        (2, 0),
        "two beans are there, and two are taken"
    );
}

#[tokio::test]
async fn loaded_aggregate_is_not_saved_in_another_epoch_of_its_log() {
    let store = MemoryStore::new();
    let app = jars(&store);
    let other = jars(&store);
    let jar = fill(&app, 1).await;
    let shelf = fill(&app, 1).await;
    let backup = store.backup();
    add(&app, jar, 99).await;
    let mut loaded = app.load(jar).await.unwrap();
    let guard = loaded.guard();
    let mut saved = Root::<Jar>::create(JarEvent::Filled { beans: 7 });
    app.save(&mut saved).await.unwrap();
    store.restore(&backup);
    add(&other, jar, 1).await;
    other
        .save(&mut Root::<Jar>::with_id(
            saved.id(),
            JarEvent::Filled { beans: 1 },
        ))
        .await
        .unwrap();

    for root in [&mut loaded, &mut saved] {
        root.record(JarEvent::Taken { beans: 1 });
        let refused = app.save(root).await;
        assert!(
            matches!(
                refused,
                Err(ApplicationError::Store(StoreError::OutdatedEpoch { .. }))
            ),
            "{refused:?}"
        );
        assert!(
            refused.is_err_and(|error| error.is_conflict()),
            "load and decide again"
        );
    }
    let mut present = app.load(shelf).await.unwrap();
    present.record(JarEvent::Added { beans: 1 });
    let refused = app.save((&mut present, guard)).await;
    assert!(
        refused.is_err_and(|error| error.is_conflict()),
        "what was looked at is forgotten"
    );
    assert_eq!(app.load(jar).await.unwrap().beans, 2);

    // A new aggregate depends on no earlier read.
    app.save(&mut Root::<Jar>::create(JarEvent::Filled { beans: 7 }))
        .await
        .unwrap();
    let mut again = app.load(jar).await.unwrap();
    again.record(JarEvent::Taken { beans: 1 });
    app.save(&mut again).await.unwrap();
}

#[tokio::test]
async fn pages_end_where_the_log_went_back() {
    let store = MemoryStore::new();
    let app = jars(&store);
    for _ in 0..4 {
        fill(&app, 1).await;
    }
    let backup = store.backup();
    for _ in 0..6 {
        fill(&app, 1).await;
    }
    let start = |limit| {
        LogPages::new(
            Arc::new(store.clone()),
            LogQuery::after(Position::ZERO).limit(limit),
        )
    };
    let mut behind = start(8);
    let mut before = start(2);
    let mut none = start(2);
    assert_eq!(
        positions(&behind.next().await.unwrap().events),
        [1, 2, 3, 4, 5, 6, 7, 8]
    );
    assert_eq!(positions(&before.next().await.unwrap().events), [1, 2]);
    store.restore(&backup);

    assert_went_back(behind.next().await, 8, 4);
    for _ in 0..6 {
        fill(&app, 2).await;
    }
    assert_went_back(behind.next().await, 8, 10);
    // Pages that were read ahead are read again.
    let mut events = Vec::new();
    while events.len() < 8 {
        events.extend(before.next().await.unwrap().events);
    }
    assert_eq!(positions(&events), [3, 4, 5, 6, 7, 8, 9, 10]);
    let now = store
        .read_log(LogQuery::after(Position::new(2)))
        .await
        .unwrap()
        .events;
    assert_eq!(events, now, "the events of the log as it is");
    assert_eq!(positions(&none.next().await.unwrap().events), [1, 2]);
}

#[tokio::test]
async fn pages_go_back_over_what_they_have_passed_over() {
    let store = MemoryStore::new();
    let app = jars(&store);
    let jar = fill(&app, 1).await;
    let backup = store.backup();
    for _ in 0..6 {
        add(&app, jar, 1).await;
    }
    let filled = LogQuery::after(Position::ZERO).names(["Filled"]);
    let mut pages = LogPages::new(Arc::new(store.clone()), filled.clone());
    assert_eq!(positions(&pages.next().await.unwrap().events), [1]);
    assert_eq!(
        pages.after().as_u64(),
        7,
        "it has passed over what it does not want"
    );
    store.restore(&backup);
    for _ in 0..8 {
        fill(&app, 1).await;
    }
    assert_eq!(
        positions(&pages.next().await.unwrap().events),
        (2..=9).collect::<Vec<_>>(),
        "nothing is left out"
    );
}

#[tokio::test]
async fn subscription_ends_where_the_log_went_back_and_goes_on_where_it_did_not() {
    let store = MemoryStore::new();
    let app = jars(&store);
    for _ in 0..3 {
        fill(&app, 1).await;
    }
    let backup = store.backup();
    for _ in 0..5 {
        fill(&app, 1).await;
    }
    let subscribe = || app.subscribe(LogQuery::after(Position::ZERO));
    let mut ahead = subscribe();
    let mut behind = subscribe();
    let mut waiting = subscribe();
    for position in 1..=8 {
        let events = [
            Some(&mut ahead),
            (position <= 3).then_some(&mut behind),
            Some(&mut waiting),
        ];
        for subscription in events.into_iter().flatten() {
            assert_eq!(
                next(subscription).await.unwrap().unwrap().position.as_u64(),
                position
            );
        }
    }
    let lost = store
        .visible(Position::new(8))
        .await
        .unwrap()
        .event
        .unwrap();
    let waits = tokio::spawn(async move {
        let ended = next(&mut waiting).await.unwrap();
        (ended, next(&mut waiting).await.is_none())
    });
    tokio::task::yield_now().await;
    store.restore(&backup);
    let (ended, is_over) = waits.await.unwrap();
    assert_went_back(ended, 8, 3);
    assert!(is_over, "an error that ends it");

    for _ in 0..7 {
        fill(&app, 2).await;
    }
    assert_went_back(next(&mut ahead).await.unwrap(), 8, 10);
    assert!(next(&mut ahead).await.is_none());
    // The page that was read before differs from the present log.
    for position in 4..=10 {
        let event = next(&mut behind).await.unwrap().unwrap();
        assert_eq!(
            Some(event),
            store.visible(Position::new(position)).await.unwrap().event
        );
    }

    let log = store.log_id();
    let after =
        |last| Subscription::after_event(store.clone(), LogQuery::after(Position::ZERO), last);
    assert_went_back(
        next(&mut after(EventRef::of(&lost, log))).await.unwrap(),
        8,
        10,
    );
    let kept = store
        .visible(Position::new(3))
        .await
        .unwrap()
        .event
        .unwrap();
    let resumed = next(&mut after(EventRef::of(&kept, log)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resumed.position.as_u64(), 4);
    let mut beyond = app.subscribe(LogQuery::after(Position::new(11)));
    assert_went_back(next(&mut beyond).await.unwrap(), 11, 10);
}

/// The pantry with jars in one store and shelves in the other.
async fn pantry(
    jars: &MemoryStore,
    shelves: &MemoryStore,
    runner: Runner,
    on_failure: OnFailure,
) -> RunningSystem<Pantry> {
    let stores = Stores::shared(jars.clone()).with("shelves", shelves.clone());
    let builder = Pantry::builder(stores)
        .with_runner(runner)
        .with_on_failure_default(on_failure);
    builder.start().await.unwrap()
}

async fn shelf_of(pantry: &Pantry) -> (i64, u64) {
    pantry
        .shelves
        .app
        .find(shelf())
        .await
        .unwrap()
        .map_or((0, 0), |shelf| (shelf.beans, shelf.changes))
}

async fn settled(pantry: &RunningSystem<Pantry>) -> Result<(), SystemError> {
    tokio::time::timeout(SOON, pantry.wait_until_caught_up())
        .await
        .expect("it settles or stops")
}

/// Returns the position and the cause at which `follower` has stopped.
async fn stopped(pantry: &RunningSystem<Pantry>, follower: &str) -> Option<String> {
    let health = pantry.health().await.unwrap();
    let states = health
        .followers
        .into_iter()
        .filter(|health| health.name == *follower)
        .map(|health| health.state);
    states.into_iter().find_map(|state| match state {
        FollowerState::Stopped(failure) => Some(failure.cause),
        _ => None,
    })
}

#[tokio::test]
async fn follower_of_another_stores_log_stops_where_that_log_went_back() {
    for on_failure in [OnFailure::Stop, OnFailure::Retry, OnFailure::Park] {
        let log = MemoryStore::new();
        let home = MemoryStore::new();
        let running = pantry(&log, &home, Runner::inline(), on_failure).await;
        fill(&running.jars.app, 1).await;
        let backup = log.backup();
        for _ in 0..3 {
            fill(&running.jars.app, 10).await;
        }
        assert_eq!(shelf_of(&running).await, (31, 4));
        let lost = log.visible(Position::new(4)).await.unwrap().event.unwrap();
        log.restore(&backup);

        let identity = EventRef::of(&lost, log.log_id()).identity.to_string();
        for found in [None, Some(()), Some(())] {
            if found.is_some() {
                for _ in 0..5 {
                    fill(&running.jars.app, 100).await;
                }
            }
            let error = settled(&running)
                .await
                .expect_err("the shelves have counted beans that are forgotten");
            let SystemError::FollowerStopped(failure) = &error else {
                panic!("{error}")
            };
            assert!(
                failure.cause.contains("went back") && failure.cause.contains(&identity),
                "{failure}"
            );
            assert_eq!(
                (shelf_of(&running).await, failure.position.as_u64()),
                ((31, 4), 4),
                "nothing is counted"
            );
            assert!(
                stopped(&running, "shelves").await.is_some()
                    && !running.health().await.unwrap().is_healthy()
            );
            assert!(
                running.resume(Pantry::SHELVES).await.unwrap(),
                "it had stopped"
            );
        }
        drop(running);
        let running = pantry(&log, &home, Runner::inline(), on_failure).await;
        assert!(
            settled(&running).await.is_err() && stopped(&running, "shelves").await.is_some(),
            "nor at a new start"
        );
        assert_eq!(shelf_of(&running).await, (31, 4));
    }
}

#[tokio::test]
async fn followers_go_back_with_their_log_and_on_in_it() {
    for runner in [
        Runner::inline(),
        Runner::concurrent(),
        Runner::concurrent().without_leases(),
    ] {
        let store = MemoryStore::new();
        let running = Pantry::builder(store.clone()).with_runner(runner);
        let running = running.start().await.unwrap();
        for beans in [1, 2] {
            fill(&running.jars.app, beans).await;
        }
        settled(&running).await.unwrap();
        let backup = store.backup();
        for _ in 0..4 {
            fill(&running.jars.app, 1_000).await;
        }
        settled(&running).await.unwrap();
        assert_eq!(shelf_of(&running).await, (4_003, 6));
        store.restore(&backup);

        // Events of the new epoch are at the positions of the lost ones, and then beyond them.
        let other = jars(&store);
        for beans in [10, 20, 30, 40, 50, 60, 70] {
            fill(&other, beans).await;
            if beans % 20 == 0 {
                running.settled_without_the_projection().await;
            }
        }
        running.settled_without_the_projection().await;
        assert_eq!(
            shelf_of(&running).await,
            (283, 9),
            "each event of the log as it is counts once: {runner:?}"
        );
        assert!(
            stopped(&running, "seen").await.is_some(),
            "what a projection in memory has shown cannot be taken back"
        );
    }
}

trait SettledButForWhatIsSeen {
    async fn settled_without_the_projection(&self);
}

impl SettledButForWhatIsSeen for RunningSystem<Pantry> {
    /// Waits for the follower "shelves" alone.
    async fn settled_without_the_projection(&self) {
        let jars = self.jars.app.store();
        let last = jars.head().await.unwrap();
        let receipt = Receipt::at(jars.log_id(), last);
        self.wait_for(&receipt, Pantry::SHELVES, SOON)
            .await
            .unwrap();
    }
}

/// A policy that makes the shelf hold as much as the last jar, so its events depend on the state of the shelf that it read.
struct Levels {
    app: Application,
}

impl From<Application> for Levels {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Policy<Jar> for Levels {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let JarEvent::Filled { beans } = event.payload else {
            return Ok(());
        };
        let shelf = work.load_or_create(shelf(), || ShelfEvent::Built).await?;
        let by = i64::from(beans) - shelf.beans;
        shelf.record(ShelfEvent::Changed { by });
        Ok(())
    }
}

#[derive(System)]
struct Levelled {
    #[application(aggregates(Jar))]
    jars: domain::Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    levels: Levels,
}

#[tokio::test]
async fn root_that_a_policy_has_carried_over_from_a_forgotten_past_decides_nothing() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let store = MemoryStore::new();
        let running = Levelled::builder(store.clone())
            .with_runner(runner)
            .start()
            .await
            .unwrap();
        let settled = async || {
            tokio::time::timeout(SOON, running.wait_until_caught_up())
                .await
                .expect("it settles")
                .unwrap();
        };
        fill(&running.jars.app, 5).await;
        settled().await;
        let backup = store.backup();
        fill(&running.jars.app, 100).await;
        settled().await;
        store.restore(&backup);

        // The shelf reaches the version at which the policy has left it, by other events.
        let shelves = Application::new("shelves", store.clone());
        shelves
            .update(shelf(), |_: &Shelf| ShelfEvent::Changed { by: 1 })
            .await
            .unwrap();
        fill(&jars(&store), 7).await;
        settled().await;
        let found = running.levels.app.load(shelf()).await.unwrap();
        assert_eq!((found.beans, found.changes), (7, 3), "{runner:?}");
    }
}

#[tokio::test]
async fn what_a_follower_has_passed_over_in_memory_is_looked_at_again() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let store = MemoryStore::new();
        let running = Pantry::builder(store.clone()).with_runner(runner);
        let running = running.start().await.unwrap();
        let backup = store.backup();
        let other = Application::new("others", store.clone());
        for _ in 0..20 {
            other
                .save(&mut Root::<Shelf>::create(ShelfEvent::Built))
                .await
                .unwrap();
        }
        settled(&running).await.unwrap();
        assert_eq!(
            running.health().await.unwrap().followers[0]
                .position
                .as_u64(),
            20,
            "passed over"
        );
        store.restore(&backup);
        for _ in 0..5 {
            fill(&jars(&store), 1).await;
        }
        running.settled_without_the_projection().await;
        assert_eq!(shelf_of(&running).await, (5, 5), "{runner:?}");
    }
}

#[tokio::test]
async fn wait_for_a_receipt_that_the_log_has_lost_ends_and_says_so() {
    for runner in [Runner::inline(), Runner::concurrent()] {
        let store = MemoryStore::new();
        let running = Pantry::builder(store.clone()).with_runner(runner);
        let running = running.start().await.unwrap();
        let jar = fill(&running.jars.app, 1).await;
        let backup = store.backup();
        let lost = running
            .jars
            .app
            .update(jar, |jar| jar.add(1))
            .await
            .unwrap();
        store.restore(&backup);
        let waited = running.wait_for(&lost, Pantry::SHELVES, SOON).await;
        let Err(SystemError::Store(StoreError::LogWentBack { position, end, .. })) = &waited else {
            panic!("{runner:?}: {waited:?}");
        };
        assert_eq!(
            (*position, end.as_u64() < position.as_u64()),
            (lost.position, true)
        );
        let new = running
            .jars
            .app
            .update(jar, |jar| jar.add(5))
            .await
            .unwrap();
        running.wait_for(&new, Pantry::SHELVES, SOON).await.unwrap();
        assert_eq!(shelf_of(&running).await, (6, 2));
    }
}

/// The pantry of two stores. Its shelves have counted 1 + 3 × 10 beans, and the log of jars has only the first one left.
async fn pantry_that_went_back(
    runner: Runner,
    partitions: u32,
) -> (MemoryStore, MemoryStore, RunningSystem<Pantry>) {
    let log = MemoryStore::new();
    let home = MemoryStore::new();
    let stores = Stores::shared(log.clone()).with("shelves", home.clone());
    let builder = Pantry::builder(stores)
        .with_runner(runner)
        .with_partitions(Pantry::SHELVES, partitions);
    let running = builder.start().await.unwrap();
    fill(&running.jars.app, 1).await;
    let backup = log.backup();
    for _ in 0..3 {
        fill(&running.jars.app, 10).await;
    }
    settled(&running).await.unwrap();
    log.restore(&backup);
    (log, home, running)
}

async fn accept(
    running: &RunningSystem<Pantry>,
    kept: u64,
) -> Result<Vec<AcceptedLog>, SystemError> {
    running
        .accept_restored_log(Pantry::SHELVES, Position::new(kept))
        .await
}

fn why<T: std::fmt::Debug>(refused: Result<T, SystemError>) -> String {
    match refused {
        Err(error @ (SystemError::Invalid { .. } | SystemError::UnknownFollower { .. })) => {
            error.to_string()
        }
        other => panic!("it cannot be accepted, but {other:?}"),
    }
}

/// Each follower has processed what its log has, once; the projection in memory has not gone back.
async fn assert_shelves_agree(running: &RunningSystem<Pantry>) {
    let verification = running.verify().await.unwrap();
    let shelves = verification
        .followers
        .iter()
        .filter(|follower| follower.name == *"shelves");
    assert!(
        shelves.clone().count() > 0 && shelves.clone().all(FollowerVerification::agrees),
        "{verification}"
    );
}

#[tokio::test]
async fn follower_accepts_a_restored_log_and_processes_what_is_new_in_it_once() {
    for runner in [
        Runner::inline(),
        Runner::concurrent(),
        Runner::concurrent().without_leases(),
    ] {
        for partitions in [1, 3] {
            let (_, _, running) = pantry_that_went_back(runner, partitions).await;
            for _ in 0..5 {
                fill(&running.jars.app, 100).await;
            }
            if partitions == 1 {
                assert!(
                    settled(&running).await.is_err(),
                    "the shelves have counted beans that are forgotten"
                );
            }
            let accepted = accept(&running, 1).await.unwrap();
            let events: u64 = accepted.iter().map(|accepted| accepted.events).sum();
            assert!(
                events == 3
                    && accepted
                        .iter()
                        .all(|accepted| accepted.to <= Position::new(1)),
                "{accepted:?}"
            );
            running.settled_without_the_projection().await;
            assert_eq!(
                shelf_of(&running).await,
                (531, 9),
                "what was counted stays, what is new is counted: {runner:?}"
            );
            assert_shelves_agree(&running).await;
            assert_eq!(
                accept(&running, 1).await.unwrap(),
                [],
                "there is nothing left to accept"
            );
            fill(&running.jars.app, 1_000).await;
            running.settled_without_the_projection().await;
            assert_eq!(shelf_of(&running).await, (1_531, 10), "{runner:?}");
            assert_shelves_agree(&running).await;
        }
    }
}

#[tokio::test]
async fn follower_that_keeps_nothing_of_a_restored_log_starts_again() {
    let (log, home, running) = pantry_that_went_back(Runner::inline(), 1).await;
    log.restore(&MemoryStore::new().backup());
    fill(&jars(&log), 100).await;
    drop(running);
    // After a new start the follower stops at the same place, and the same decision is possible.
    let running = pantry(&log, &home, Runner::inline(), OnFailure::Stop).await;
    assert!(settled(&running).await.is_err());
    let accepted = accept(&running, 0).await.unwrap();
    assert_eq!(accepted.len(), 1);
    assert_eq!(
        (
            accepted[0].from.as_u64(),
            accepted[0].to.as_u64(),
            accepted[0].events
        ),
        (4, 0, 4)
    );
    assert!(
        accepted[0].to_string().contains("goes on after position 0"),
        "{}",
        accepted[0]
    );
    settled(&running).await.unwrap();
    assert_eq!(shelf_of(&running).await, (131, 5));
    assert_shelves_agree(&running).await;
}

#[tokio::test]
async fn restored_log_is_accepted_only_where_that_leaves_nothing_out() {
    let (log, home, running) = pantry_that_went_back(Runner::inline(), 1).await;
    let before = home
        .notes(NotesQuery::new("shelves".into(), log.log_id(), ""))
        .await
        .unwrap();
    assert!(why(accept(&running, 2).await).contains("the log ends at position 1"));
    for _ in 0..5 {
        fill(&running.jars.app, 100).await;
    }
    assert!(why(accept(&running, 4).await).contains("follower shelves is at position 4"));
    assert!(why(accept(&running, 7).await).contains("the log ends at position 6"));
    assert!(
        why(running
            .accept_restored_log(Pantry::SEEN, Position::new(1))
            .await)
        .contains("start the system again")
    );
    assert!(
        why(running
            .accept_restored_log(
                eventsourcing_core::FollowerName::new("cellar"),
                Position::new(1)
            )
            .await)
        .contains("no follower \"cellar\"")
    );
    let after = home
        .notes(NotesQuery::new("shelves".into(), log.log_id(), ""))
        .await
        .unwrap();
    assert_eq!(before, after, "nothing is changed");

    let unharmed = pantry(
        &MemoryStore::new(),
        &MemoryStore::new(),
        Runner::inline(),
        OnFailure::Stop,
    )
    .await;
    fill(&unharmed.jars.app, 1).await;
    assert_eq!(
        accept(&unharmed, 0).await.unwrap(),
        [],
        "its log has everything that it has seen"
    );
    assert_eq!(shelf_of(&unharmed).await, (1, 1));
    settled(&unharmed).await.unwrap();
}

#[tokio::test]
async fn position_beyond_the_restore_is_found_out_where_whole_slices_differ() {
    let log = MemoryStore::new();
    let home = MemoryStore::new();
    let jar = Id::<Jar>::new();
    let running = pantry(&log, &home, Runner::concurrent(), OnFailure::Stop).await;
    many_events(&jars(&log), jar, 15_000).await;
    let backup = log.backup();
    many_events(&jars(&log), Id::new(), 10_000).await;
    running.settled_without_the_projection().await;
    log.restore(&backup);
    many_events(&jars(&log), Id::new(), 12_000).await;
    let refused = why(accept(&running, 21_000).await);
    assert!(
        refused.contains("up to position 21000 the log is not what follower shelves has processed"),
        "{refused}"
    );
    let accepted = accept(&running, 15_000).await.unwrap();
    assert_eq!(
        (accepted[0].to.as_u64(), accepted[0].events),
        (15_000, 10_000)
    );
    running.settled_without_the_projection().await;
    assert_eq!(shelf_of(&running).await.1, 37_000);
    assert_shelves_agree(&running).await;
}

/// Records this number of events of one jar, in few appends.
async fn many_events(app: &Application, jar: Id<Jar>, events: u32) {
    let mut jar = Root::<Jar>::with_id(jar, JarEvent::Filled { beans: 1 });
    for event in 1..events {
        jar.record(JarEvent::Added { beans: 1 });
        if event % 4_000 == 0 {
            app.save(&mut jar).await.unwrap();
        }
    }
    app.save(&mut jar).await.unwrap();
}

#[tokio::test]
async fn lost_events_that_are_parked_are_forgotten_and_kept_ones_stay_parked() {
    let log = MemoryStore::new();
    let home = MemoryStore::new();
    let running = pantry(&log, &home, Runner::inline(), OnFailure::Park).await;
    let app = &running.jars.app;
    let kept = fill(app, FAILS_ON).await;
    add(app, kept, 1).await;
    let fine = fill(app, 5).await;
    let backup = log.backup();
    add(app, kept, 2).await;
    add(app, kept, 3).await;
    let lost = fill(app, FAILS_ON).await;
    add(app, lost, 4).await;
    add(app, fine, 6).await;
    let parking = running.parking(Pantry::SHELVES).unwrap();
    let parked = parking.list().await.unwrap();
    assert_eq!(parked.len(), 2);
    let given_up = parked
        .iter()
        .find(|parked| parked.stream.id == lost.as_uuid())
        .unwrap();
    parking
        .discard(&given_up.stream, "it is too much")
        .await
        .unwrap();
    log.restore(&backup);
    let other = Root::<Jar>::with_id(lost, JarEvent::Filled { beans: 7 });
    jars(&log).save(&mut { other }).await.unwrap();

    let accepted = accept(&running, 3).await.unwrap();
    assert_eq!((accepted[0].to.as_u64(), accepted[0].events), (3, 5));
    running.settled_without_the_projection().await;
    let parked = parking.list().await.unwrap();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(
        (
            parked[0].stream.id,
            parked[0].waiting,
            parked[0].position.as_u64()
        ),
        (kept.as_uuid(), 1, 1)
    );
    assert_eq!(
        shelf_of(&running).await,
        (5 + 6 + 7, 3),
        "the new event of an old place is counted"
    );
    assert_eq!(
        parking.records().await.unwrap(),
        [],
        "what was done about lost events is forgotten"
    );
    assert_shelves_agree(&running).await;
}

#[tokio::test]
async fn other_process_goes_on_when_a_restored_log_was_accepted() {
    let (log, home, running) = pantry_that_went_back(Runner::concurrent(), 1).await;
    for _ in 0..5 {
        fill(&jars(&log), 100).await;
    }
    while stopped(&running, "shelves").await.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = pantry(&log, &home, Runner::inline(), OnFailure::Stop).await;
    assert_eq!(accept(&other, 1).await.unwrap().len(), 1);
    drop(other);
    let goes_on = async {
        while stopped(&running, "shelves").await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, goes_on)
        .await
        .expect("it goes on by itself");
    fill(&jars(&log), 1_000).await;
    running.settled_without_the_projection().await;
    assert_eq!(shelf_of(&running).await, (1_531, 10));
}
