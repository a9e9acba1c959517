//! Subscriptions: they catch up, wait for new events, survive outages, and end on demand.
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::Arc;
use std::time::Duration;

use domain::{Jar, JarEvent};
use eventsourcing_core::store::{EventStore, FollowerStore, LogQuery, MemoryStore, Position};
use eventsourcing_core::{Application, LogPages, Root, Subscription};
use eventsourcing_testing::{Fault, FaultRates, FaultyStore, Operation, Seed};
use futures_util::FutureExt;

async fn fill(store: &MemoryStore, jars: usize) {
    let app = Application::new("jars", store.clone());
    for _ in 0..jars {
        app.save(&mut Root::<Jar>::create([
            JarEvent::Filled { beans: 1 },
            JarEvent::Added { beans: 1 },
        ]))
        .await
        .unwrap();
    }
}

async fn positions(subscription: &mut Subscription, events: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    for _ in 0..events {
        let next = tokio::time::timeout(Duration::from_secs(20), subscription.next())
            .await
            .expect("an event in time");
        positions.push(next.unwrap().unwrap().position.as_u64());
    }
    positions
}

#[tokio::test]
async fn catches_up_and_then_waits_for_more() {
    let store = MemoryStore::new();
    fill(&store, 10).await;
    let mut all = Subscription::new(store.clone(), LogQuery::after(Position::ZERO).limit(3));
    assert_eq!(positions(&mut all, 20).await, (1..=20).collect::<Vec<_>>());
    let waiting = tokio::spawn(async move { positions(&mut all, 2).await });
    tokio::task::yield_now().await;
    fill(&store, 1).await;
    assert_eq!(waiting.await.unwrap(), [21, 22]);
}

#[tokio::test]
async fn begins_anywhere_and_leaves_out_what_is_not_wanted() {
    let store = MemoryStore::new();
    fill(&store, 5).await;
    let mut added = Subscription::new(
        store.clone(),
        LogQuery::after(Position::new(4)).names(["Added"]).limit(1),
    );
    assert_eq!(positions(&mut added, 3).await, [6, 8, 10]);
    fill(&store, 1).await;
    assert_eq!(positions(&mut added, 1).await, [12]);
}

#[tokio::test]
async fn ends_only_on_demand() {
    let store = MemoryStore::new();
    fill(&store, 1).await;
    let mut all = Subscription::new(store, LogQuery::after(Position::ZERO));
    let stop = all.stopper();
    assert_eq!(positions(&mut all, 2).await, [1, 2]);
    let idle = tokio::time::timeout(Duration::from_millis(20), all.next()).await;
    assert!(idle.is_err(), "it waits");
    let waiting = tokio::spawn(async move { all.next().await.is_none() });
    tokio::task::yield_now().await;
    stop.stop();
    assert!(
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("it ends")
            .unwrap()
    );
}

#[tokio::test]
async fn dropping_the_future_of_the_next_event_loses_nothing() {
    let store = MemoryStore::new();
    let mut all = Subscription::new(store.clone(), LogQuery::after(Position::ZERO).limit(2));
    for number in 1..=100 {
        let _ = tokio::time::timeout(Duration::from_micros(number), all.next())
            .await
            .is_err();
    }
    fill(&store, 3).await;
    assert_eq!(positions(&mut all, 6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn reconnects_by_itself() {
    let store = MemoryStore::new();
    fill(&store, 50).await;
    let rates = FaultRates {
        unavailable: 0.2,
        lost_reply: 0.1,
        ..FaultRates::default()
    };
    let faulty = FaultyStore::new(store.clone()).with_rates(Seed::from_env(), rates);
    let mut all = Subscription::new(faulty, LogQuery::after(Position::ZERO).limit(7));
    assert_eq!(
        positions(&mut all, 100).await,
        (1..=100).collect::<Vec<_>>()
    );

    let faulty = Arc::new(FaultyStore::new(store.clone()));
    let mut rest = Subscription::new(faulty.clone(), LogQuery::after(store.head().await.unwrap()));
    faulty.fail_next(Operation::WaitBeyond, Fault::Unavailable);
    let waiting = tokio::spawn(async move { positions(&mut rest, 2).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    fill(&store, 1).await;
    assert_eq!(waiting.await.unwrap(), [101, 102]);
}

#[tokio::test]
async fn a_slow_reader_is_not_flooded() {
    let store = MemoryStore::new();
    fill(&store, 100).await;
    let counting = Arc::new(FaultyStore::new(store));
    let mut all = Subscription::new(counting.clone(), LogQuery::after(Position::ZERO).limit(10));
    assert_eq!(positions(&mut all, 15).await.len(), 15);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        counting.calls(Operation::ReadLog),
        3,
        "one page is read before it is asked for, and no more"
    );
}

#[tokio::test]
async fn pages_hold_every_event_once_despite_failures() {
    let memory = MemoryStore::new();
    fill(&memory, 50).await;
    for seed in 0..20 {
        let rates = FaultRates {
            unavailable: 0.3,
            lost_reply: 0.1,
            ..FaultRates::default()
        };
        let store = Arc::new(FaultyStore::new(memory.clone()).with_rates(Seed::new(seed), rates));
        let mut pages = LogPages::new(store, LogQuery::after(Position::ZERO).limit(7));
        let mut positions = Vec::new();
        loop {
            let after = pages.after();
            match pages.next().await {
                Ok(page) if page.events.is_empty() && page.ceiling == after => break,
                Ok(page) => {
                    positions.extend(page.events.iter().map(|event| event.position.as_u64()));
                }
                Err(_) => assert_eq!(pages.after(), after, "the same page comes next"),
            }
        }
        assert_eq!(positions, (1..=100).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn the_next_page_is_read_before_it_is_asked_for_and_only_that() {
    let memory = MemoryStore::new();
    fill(&memory, 50).await;
    let store = Arc::new(FaultyStore::new(memory));
    let mut pages = LogPages::new(
        Arc::clone(&store) as Arc<dyn FollowerStore>,
        LogQuery::after(Position::ZERO).limit(30),
    );
    for (asked, read) in [(1, 2), (2, 3), (3, 4), (4, 4)] {
        pages.next().await.unwrap();
        // A reader that processes a page without a pause does not keep the next page from being read ahead.
        assert_eq!(
            store.calls(Operation::ReadLog),
            read,
            "{asked} pages were asked for; the fourth is not full"
        );
    }
}

#[tokio::test]
async fn dropping_the_future_of_the_next_page_loses_nothing() {
    let store = MemoryStore::new();
    fill(&store, 50).await;
    let mut pages = LogPages::new(Arc::new(store), LogQuery::after(Position::ZERO).limit(30));
    let mut positions = Vec::new();
    let mut dropped = 0;

    while positions.len() < 100 {
        let after = pages.after();
        let page = match pages.next().now_or_never() {
            Some(page) => page,
            None => {
                dropped += 1;
                assert_eq!(pages.after(), after, "the page is not returned yet");
                pages.next().await
            }
        };
        positions.extend(
            page.unwrap()
                .events
                .iter()
                .map(|event| event.position.as_u64()),
        );
    }
    assert_eq!(positions, (1..=100).collect::<Vec<_>>());
    assert!(dropped >= 3, "only {dropped} futures were dropped");
}
