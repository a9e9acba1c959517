//! A log that forgets its last events, and what was read of it: pages, subscriptions, aggregates in hand, in the cache and behind
//! policies, followers.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::Arc;
use std::time::Duration;

use domain::{Jar, JarEvent, NotEnough};
use eventsourcing_core::store::{EventRef, EventStore, LogQuery, MemoryStore, Position, StoreError, StoredEvent};
use eventsourcing_core::{AppError, Application, Id, LogPages, Rejected, Root, Subscription};

const SOON: Duration = Duration::from_secs(20);

fn jars(store: &MemoryStore) -> Application {
    Application::new("jars", store.clone())
}

async fn fill(app: &Application, beans: u32) -> Id<Jar> {
    app.create(|| Ok::<_, NotEnough>(JarEvent::Filled { beans })).await.unwrap()
}

async fn add(app: &Application, jar: Id<Jar>, beans: u32) {
    app.update(jar, |jar| jar.add(beans)).await.unwrap();
}

fn positions(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.as_u64()).collect()
}

fn assert_went_back<T: std::fmt::Debug>(answer: Result<T, StoreError>, at: u64, end: u64) {
    match answer {
        Err(StoreError::LogWentBack { position, end: found, .. }) => {
            assert_eq!((position.as_u64(), found.as_u64()), (at, end), "it names both ends");
        }
        other => panic!("the log went back, but {other:?}"),
    }
}

async fn next(subscription: &mut Subscription) -> Option<Result<StoredEvent, StoreError>> {
    tokio::time::timeout(SOON, subscription.next()).await.expect("an answer in time")
}

#[tokio::test]
async fn cached_aggregate_of_a_forgotten_past_decides_nothing() {
    let store = MemoryStore::new();
    let (app, other) = (jars(&store), jars(&store));
    let jar = fill(&app, 1).await;
    let backup = store.backup();
    add(&app, jar, 99).await;
    store.restore(&backup);
    add(&other, jar, 1).await;

    let refused = app.update(jar, |jar| jar.take(50)).await;
    assert!(matches!(refused, Err(Rejected::Domain(NotEnough { left: 2 }))), "{refused:?}");
    let refused = app.update_all((jar, fill(&other, 5).await), |(from, _)| from.execute(|jar| jar.take(50))).await;
    assert!(matches!(refused, Err(Rejected::Domain(NotEnough { left: 2 }))), "{refused:?}");
    assert_eq!(app.load(jar).await.unwrap().beans, 2);
}

#[tokio::test]
async fn commands_that_share_an_append_decide_nothing_on_a_forgotten_past() {
    let store = MemoryStore::new();
    let (app, other) = (jars(&store), jars(&store));
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
    assert_eq!((taken, app.load(jar).await.unwrap().beans), (2, 0), "two beans are there, and two are taken");
}

#[tokio::test]
async fn aggregate_in_hand_is_not_saved_in_another_life_of_its_log() {
    let store = MemoryStore::new();
    let (app, other) = (jars(&store), jars(&store));
    let (jar, shelf) = (fill(&app, 1).await, fill(&app, 1).await);
    let backup = store.backup();
    add(&app, jar, 99).await;
    let mut loaded = app.load(jar).await.unwrap();
    let guard = loaded.guard();
    let mut saved = Root::<Jar>::create(JarEvent::Filled { beans: 7 });
    app.save(&mut saved).await.unwrap();
    store.restore(&backup);
    add(&other, jar, 1).await;
    other.save(&mut Root::<Jar>::with_id(saved.id(), JarEvent::Filled { beans: 1 })).await.unwrap();

    for root in [&mut loaded, &mut saved] {
        root.record(JarEvent::Taken { beans: 1 });
        let refused = app.save(root).await;
        assert!(matches!(refused, Err(AppError::Store(StoreError::OutdatedEpoch { .. }))), "{refused:?}");
        assert!(refused.is_err_and(|error| error.is_conflict()), "load and decide again");
    }
    let mut present = app.load(shelf).await.unwrap();
    present.record(JarEvent::Added { beans: 1 });
    let refused = app.save((&mut present, guard)).await;
    assert!(refused.is_err_and(|error| error.is_conflict()), "what was looked at is forgotten");
    assert_eq!(app.load(jar).await.unwrap().beans, 2);

    // A new aggregate relies on nothing that was read.
    app.save(&mut Root::<Jar>::create(JarEvent::Filled { beans: 7 })).await.unwrap();
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
    let start = |limit| LogPages::new(Arc::new(store.clone()), LogQuery::after(Position::ZERO).limit(limit));
    let (mut behind, mut before, mut none) = (start(8), start(2), start(2));
    assert_eq!(positions(&behind.next().await.unwrap().events), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(positions(&before.next().await.unwrap().events), [1, 2]);
    store.restore(&backup);

    assert_went_back(behind.next().await, 8, 4);
    for _ in 0..6 {
        fill(&app, 2).await;
    }
    assert_went_back(behind.next().await, 8, 10);
    // What was read ahead is read again.
    let mut events = Vec::new();
    while events.len() < 8 {
        events.extend(before.next().await.unwrap().events);
    }
    assert_eq!(positions(&events), [3, 4, 5, 6, 7, 8, 9, 10]);
    let now = store.read_log(LogQuery::after(Position::new(2))).await.unwrap().events;
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
    assert_eq!(pages.after().as_u64(), 7, "it has passed over what it does not want");
    store.restore(&backup);
    for _ in 0..8 {
        fill(&app, 1).await;
    }
    assert_eq!(positions(&pages.next().await.unwrap().events), (2..=9).collect::<Vec<_>>(), "nothing is left out");
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
    let (mut ahead, mut behind, mut waiting) = (subscribe(), subscribe(), subscribe());
    for position in 1..=8 {
        let events = [Some(&mut ahead), (position <= 3).then_some(&mut behind), Some(&mut waiting)];
        for subscription in events.into_iter().flatten() {
            assert_eq!(next(subscription).await.unwrap().unwrap().position.as_u64(), position);
        }
    }
    let lost = store.visible(Position::new(8)).await.unwrap().event.unwrap();
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
    // The page that was read before is not what the log has now.
    for position in 4..=10 {
        let event = next(&mut behind).await.unwrap().unwrap();
        assert_eq!(Some(event), store.visible(Position::new(position)).await.unwrap().event);
    }

    let log = store.log_id();
    let after = |last| Subscription::after_event(store.clone(), LogQuery::after(Position::ZERO), last);
    assert_went_back(next(&mut after(EventRef::of(&lost, log))).await.unwrap(), 8, 10);
    let kept = store.visible(Position::new(3)).await.unwrap().event.unwrap();
    let resumed = next(&mut after(EventRef::of(&kept, log))).await.unwrap().unwrap();
    assert_eq!(resumed.position.as_u64(), 4);
    let mut beyond = app.subscribe(LogQuery::after(Position::new(11)));
    assert_went_back(next(&mut beyond).await.unwrap(), 11, 10);
}
