//! Many writers at one stream, over several stores as several processes would have them. Promises P3, P4 and P5.

mod support;

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{Append, CommandId, EventStore, Expected, StoreError, StreamId, StreamQuery, Version};
use eventsourcing_postgres::PostgresStore;
use jiff::Timestamp;
use support::{Place, event, stream};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const STORES: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

async fn stores(place: &Place) -> Vec<PostgresStore> {
    let mut stores = Vec::new();
    for _ in 0..STORES {
        stores.push(place.store().await);
    }
    stores
}

async fn finished<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(timeout(PATIENCE, task).await.expect("the race ends within a minute").expect("a task"));
    }
    results
}

async fn texts(store: &PostgresStore, stream: &StreamId) -> Vec<String> {
    let events = store.read_stream(StreamQuery::new(stream.clone())).await.expect("a stream");
    let versions: Vec<_> = events.iter().map(|event| event.version.as_u64()).collect();
    assert_eq!(versions, (1..=events.len() as u64).collect::<Vec<_>>(), "versions have no holes");
    assert!(events.is_sorted_by(|one, next| one.position < next.position), "positions grow with the versions");
    events.into_iter().map(|event| String::from_utf8(event.payload).expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_writers_at_one_version_one_wins_each_round() {
    const WRITERS: usize = 16;
    const ROUNDS: u64 = 500;

    let place = Place::new();
    let (stores, stream) = (stores(&place).await, stream());
    let barrier = Arc::new(Barrier::new(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let (store, stream, barrier) = (stores[writer % STORES].clone(), stream.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            let mut won = Vec::new();
            for round in 0..ROUNDS {
                barrier.wait().await;
                let expected = Expected::Exact(Version::new(round));
                let events = vec![event(format!("{round} {writer}"))];
                let append = Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), expected, events);
                match store.append(append).await {
                    Ok(_) => won.push(format!("{round} {writer}")),
                    Err(StoreError::Conflict { stream: refused, actual, .. }) => {
                        assert_eq!((refused, actual), (stream.clone(), Version::new(round + 1)), "round {round}");
                    }
                    Err(error) => panic!("round {round}: {error:?}"),
                }
            }
            won
        })
    });
    let mut won: Vec<_> = finished(writers.collect()).await.concat();
    won.sort_by_key(|text| text.split_once(' ').map(|(round, _)| round.parse::<u64>().expect("a round")));
    assert_eq!(won.len() as u64, ROUNDS, "one writer wins each round");
    assert_eq!(texts(&stores[0], &stream).await, won, "what the winners wrote is there, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_twenty_writers_at_any_version_all_succeed() {
    const WRITERS: usize = 20;
    const APPENDS: usize = 500;

    let place = Place::new();
    let (stores, stream) = (stores(&place).await, stream());
    let writers = (0..WRITERS).map(|writer| {
        let (store, stream) = (stores[writer % STORES].clone(), stream.clone());
        tokio::spawn(async move {
            for number in 0..APPENDS {
                let events = vec![event(format!("{writer} {number}"))];
                let append = Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), Expected::Any, events);
                store.append(append).await.expect("any version");
            }
        })
    });
    finished(writers.collect()).await;
    let texts = texts(&stores[0], &stream).await;
    assert_eq!(texts.len(), WRITERS * APPENDS);
    for writer in 0..WRITERS {
        let prefix = format!("{writer} ");
        let of_writer = texts.iter().filter_map(|text| text.strip_prefix(&prefix)?.parse::<usize>().ok());
        assert!(of_writer.eq(0..APPENDS), "the appends of writer {writer} are there once, in their order");
    }
}

/// A writer that has to ask again must not wait for another one that sleeps until something new comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_append_is_answered_however_many_writers_there_are() {
    const ROUNDS: u64 = 200;

    let (place, stream) = (Place::new(), stream());
    for writers in [2, 3] {
        let store = place.options().with_writers(writers).connect(place.url()).await.expect("a store");
        let before = texts(&store, &stream).await.len() as u64;
        for round in before..before + ROUNDS {
            let events = vec![event(round.to_string())];
            let expected = Expected::Exact(Version::new(round));
            let append = Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), expected, events);
            let append = append.with_command_id(CommandId::new());
            let twice = [(); 2].map(|()| {
                let (store, append) = (store.clone(), append.clone());
                tokio::spawn(async move { store.append(append).await.expect("a receipt") })
            });
            let answers = finished(twice.into()).await;
            assert_eq!(answers[0].receipt, answers[1].receipt, "round {round}");
            assert!(answers[0].repeated ^ answers[1].repeated, "round {round}: {answers:?}");
        }
        assert_eq!(texts(&store, &stream).await.len() as u64, before + ROUNDS);
    }
}

/// Readers would have to ask at each hole whether somebody is still writing.
#[tokio::test]
async fn an_append_at_another_version_draws_no_position() {
    let (place, stream) = (Place::new(), stream());
    let store = place.store().await;
    let append = |version: u64| {
        let expected = Expected::Exact(Version::new(version));
        Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), expected, vec![event("text")])
    };
    let first = store.append(append(0)).await.expect("a new stream").receipt.position;
    for version in [0, 2, 50] {
        let refused = store.append(append(version)).await;
        let is_right = |actual: Version| actual == Version::FIRST;
        assert!(matches!(refused, Err(StoreError::Conflict { actual, .. }) if is_right(actual)), "{refused:?}");
    }
    let next = store.append(append(1)).await.expect("the right version").receipt.position;
    assert_eq!(next.as_u64(), first.as_u64() + 1);
}
