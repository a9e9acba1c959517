//! A follower in partitions: spread over all processes, in order for each aggregate, each event once.
#![allow(clippy::unwrap_used)]

mod domain;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{FixedPantry, Jar, JarEvent, Shelf, ShelfEvent, shelf};
use eventsourcing_core::store::{LogQuery, MemoryStore, Position, Version};
use eventsourcing_core::{Id, PolicyName, Runner, RunningSystem, SystemBuilder, SystemError};

const LEASE: Duration = Duration::from_millis(600);
const PARTITIONS: u32 = 4;

fn builder(store: &MemoryStore, partitions: u32) -> SystemBuilder<FixedPantry> {
    let runner = Runner::concurrent().with_leases(LEASE);
    SystemBuilder::new(store.clone())
        .with_runner(runner)
        .with_partitions(PolicyName::new("shelves"), partitions)
}

async fn start(store: &MemoryStore) -> RunningSystem<FixedPantry> {
    builder(store, PARTITIONS).start().await.unwrap()
}

async fn fill(pantry: &FixedPantry) -> Id<Jar> {
    pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans: 1 })
        .await
        .unwrap()
        .id
}

/// Waits until this number of processes run partitions, and returns the number of partitions of each process.
async fn shares(pantry: &RunningSystem<FixedPantry>, processes: usize) -> Vec<usize> {
    let settle = async {
        loop {
            let mut partitions = BTreeMap::<_, usize>::new();
            for follower in pantry.health().await.unwrap().followers {
                if let Some(holder) = follower.holder {
                    *partitions.entry(holder.holder.as_uuid()).or_default() += 1;
                }
            }
            if partitions.len() == processes
                && partitions.values().sum::<usize>() == PARTITIONS as usize
            {
                let mut shares: Vec<_> = partitions.into_values().collect();
                shares.sort_unstable();
                return shares;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settle)
        .await
        .expect("every partition is run")
}

/// Checks that each event of a jar has reached the shelf once, and those of one jar in their order.
async fn assert_everything_once_in_order(pantry: &FixedPantry) {
    let log = pantry
        .jars
        .app
        .log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .unwrap();
    let mut last = BTreeMap::<_, Version>::new();
    for event in log.decode::<Shelf>().unwrap() {
        if event.payload != ShelfEvent::Built {
            let cause = event.metadata.causation.unwrap();
            let version = last.entry(cause.id).or_default();
            assert_eq!(cause.version, version.next(), "jar {}", cause.id);
            *version = cause.version;
        }
    }
    let events = log.decode::<Jar>().unwrap().len() as u64;
    assert_eq!(
        last.values().map(|version| version.as_u64()).sum::<u64>(),
        events
    );
    assert_eq!(
        pantry.shelves.app.load(shelf()).await.unwrap().changes,
        events
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_spread_over_the_processes_and_move_when_one_leaves() {
    let store = MemoryStore::new();
    let first = start(&store).await;
    assert_eq!(shares(&first, 1).await, [4]);
    let second = start(&store).await;
    let third = start(&store).await;

    let jars = {
        let mut jars = Vec::new();
        for _ in 0..40 {
            jars.push(fill(&first).await);
        }
        jars
    };
    assert_eq!(shares(&first, 3).await, [1, 1, 2]);
    let app = second.jars.app.clone();
    let writer = tokio::spawn(async move {
        for round in 0..400 {
            app.update(jars[round % jars.len()], |jar| jar.add(1))
                .await
                .unwrap();
        }
    });
    third.stop().await.unwrap();
    assert_eq!(shares(&first, 2).await, [2, 2]);
    writer.await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), first.wait_until_caught_up())
        .await
        .expect("in time")
        .unwrap();
    assert_everything_once_in_order(&first).await;
    second.stop().await.unwrap();
    assert_eq!(shares(&first, 1).await, [4]);
    first.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leases_every_process_runs_all_partitions_and_nothing_happens_twice() {
    let store = MemoryStore::new();
    let mut copies = Vec::new();
    for _ in 0..3 {
        let builder =
            builder(&store, PARTITIONS).with_runner(Runner::concurrent().without_leases());
        copies.push(builder.start().await.unwrap());
    }
    for round in 0..30 {
        let jar = fill(&copies[round % 3]).await;
        copies[round % 3]
            .jars
            .app
            .update(jar, |jar| jar.add(2))
            .await
            .unwrap();
    }
    tokio::time::timeout(Duration::from_secs(30), copies[0].wait_until_caught_up())
        .await
        .expect("in time")
        .unwrap();
    assert_everything_once_in_order(&copies[0]).await;
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let store = MemoryStore::new();
    let pantry = start(&store).await;
    fill(&pantry).await;
    pantry.wait_until_caught_up().await.unwrap();
    pantry.stop().await.unwrap();
    for partitions in [1, 2, 5] {
        let Err(SystemError::Invalid { reason }) = builder(&store, partitions).start().await else {
            panic!("started in {partitions} partitions")
        };
        assert!(reason.contains("has run in 4 partitions"), "{reason}");
    }
    start(&store).await.stop().await.unwrap();

    let store = MemoryStore::new();
    let pantry = builder(&store, 1).start().await.unwrap();
    fill(&pantry).await;
    pantry.wait_until_caught_up().await.unwrap();
    pantry.stop().await.unwrap();
    let refused = builder(&store, 2)
        .start()
        .await
        .expect_err("its one position does not fit two partitions");
    assert!(
        refused.to_string().contains("has run in 1 partitions"),
        "{refused}"
    );
}
