//! Many writers to one stream, over several stores as in several processes. Promises P3, P4 and P5.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventsourcing_core::store::{
    Append, CommandId, EventStore, Expected, StoreError, StreamId, StreamQuery, Version,
};
use eventsourcing_postgres::PostgresStore;
use jiff::Timestamp;
use support::by_hand::{begin_append, roll_back};
use support::{Place, event, stream};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const STORES: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(60);

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
        results.push(
            timeout(TIMEOUT, task)
                .await
                .expect("the race ends within a minute")
                .expect("a task"),
        );
    }
    results
}

async fn texts(store: &PostgresStore, stream: &StreamId) -> Vec<String> {
    let events = store
        .read_stream(StreamQuery::new(stream.clone()))
        .await
        .expect("a stream");
    let versions: Vec<_> = events.iter().map(|event| event.version.as_u64()).collect();
    assert_eq!(
        versions,
        (1..=events.len() as u64).collect::<Vec<_>>(),
        "versions have no holes"
    );
    assert!(
        events.is_sorted_by(|one, next| one.position < next.position),
        "positions grow with the versions"
    );
    events
        .into_iter()
        .map(|event| String::from_utf8(event.payload).expect("text"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_writers_at_one_version_one_wins_each_round() {
    const WRITERS: usize = 16;
    const ROUNDS: u64 = 500;

    let place = Place::new();
    let stores = stores(&place).await;
    let stream = stream();

    let barrier = Arc::new(Barrier::new(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let store = stores[writer % STORES].clone();
        let stream = stream.clone();
        let barrier = Arc::clone(&barrier);

        tokio::spawn(async move {
            let mut won = Vec::new();
            for round in 0..ROUNDS {
                barrier.wait().await;
                let expected = Expected::Exact(Version::new(round));
                let events = vec![event(format!("{round} {writer}"))];
                let append = Append::new(Timestamp::UNIX_EPOCH).with_events(
                    stream.clone(),
                    expected,
                    events,
                );
                match store.append(append).await {
                    Ok(_) => won.push(format!("{round} {writer}")),
                    Err(StoreError::Conflict {
                        stream: refused,
                        actual,
                        ..
                    }) => {
                        assert_eq!(
                            (refused, actual),
                            (stream.clone(), Version::new(round + 1)),
                            "round {round}"
                        );
                    }
                    Err(error) => panic!("round {round}: {error:?}"),
                }
            }
            won
        })
    });
    let mut won: Vec<_> = finished(writers.collect()).await.concat();
    won.sort_by_key(|text| {
        text.split_once(' ')
            .map(|(round, _)| round.parse::<u64>().expect("a round"))
    });
    assert_eq!(won.len() as u64, ROUNDS, "one writer wins each round");
    assert_eq!(
        texts(&stores[0], &stream).await,
        won,
        "what the winners wrote is there, and nothing else"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_twenty_writers_at_any_version_all_succeed() {
    const WRITERS: usize = 20;
    const APPENDS: usize = 500;

    let place = Place::new();
    let stores = stores(&place).await;
    let stream = stream();

    let writers = (0..WRITERS).map(|writer| {
        let store = stores[writer % STORES].clone();
        let stream = stream.clone();

        tokio::spawn(async move {
            for number in 0..APPENDS {
                let events = vec![event(format!("{writer} {number}"))];
                let append = Append::new(Timestamp::UNIX_EPOCH).with_events(
                    stream.clone(),
                    Expected::Any,
                    events,
                );
                store.append(append).await.expect("any version");
            }
        })
    });
    finished(writers.collect()).await;
    let texts = texts(&stores[0], &stream).await;
    assert_eq!(texts.len(), WRITERS * APPENDS);
    for writer in 0..WRITERS {
        let prefix = format!("{writer} ");
        let of_writer = texts
            .iter()
            .filter_map(|text| text.strip_prefix(&prefix)?.parse::<usize>().ok());
        assert!(
            of_writer.eq(0..APPENDS),
            "the appends of writer {writer} are there once, in their order"
        );
    }
}

/// A writer with a deferred append must not wait for another writer that sleeps until a new append comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_append_is_answered_however_many_writers_there_are() {
    const ROUNDS: u64 = 200;

    let place = Place::new();
    let stream = stream();

    for writers in [2, 3] {
        let store = place
            .options()
            .with_writers(writers)
            .connect(place.url())
            .await
            .expect("a store");
        let before = texts(&store, &stream).await.len() as u64;
        for round in before..before + ROUNDS {
            let events = vec![event(round.to_string())];
            let expected = Expected::Exact(Version::new(round));
            let append =
                Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), expected, events);
            let append = append.with_command_id(CommandId::new());
            let twice = [(); 2].map(|()| {
                let store = store.clone();
                let append = append.clone();

                tokio::spawn(async move { store.append(append).await.expect("a receipt") })
            });
            let answers = finished(twice.into()).await;
            assert_eq!(answers[0].receipt, answers[1].receipt, "round {round}");
            assert!(
                answers[0].repeated ^ answers[1].repeated,
                "round {round}: {answers:?}"
            );
        }
        assert_eq!(texts(&store, &stream).await.len() as u64, before + ROUNDS);
    }
}

/// A conflict draws no position: otherwise readers would have to list lock holders at each hole.
#[tokio::test]
async fn an_append_at_another_version_draws_no_position() {
    let place = Place::new();
    let stream = stream();

    let store = place.store().await;
    let append = |version: u64| {
        let expected = Expected::Exact(Version::new(version));
        Append::new(Timestamp::UNIX_EPOCH).with_events(
            stream.clone(),
            expected,
            vec![event("text")],
        )
    };
    let first = store
        .append(append(0))
        .await
        .expect("a new stream")
        .receipt
        .position;
    for version in [0, 2, 50] {
        let refused = store.append(append(version)).await;
        let is_right = |actual: Version| actual == Version::FIRST;
        assert!(
            matches!(refused, Err(StoreError::Conflict { actual, .. }) if is_right(actual)),
            "{refused:?}"
        );
    }
    let next = store
        .append(append(1))
        .await
        .expect("the right version")
        .receipt
        .position;
    assert_eq!(next.as_u64(), first.as_u64() + 1);
}

fn guarded(writes: &StreamId, at: u64, guards: &StreamId, guarded_at: u64) -> Append {
    Append::new(Timestamp::UNIX_EPOCH)
        .with_events(
            writes.clone(),
            Expected::Exact(Version::new(at)),
            vec![event("text")],
        )
        .with_guard(guards.clone(), Expected::Exact(Version::new(guarded_at)))
}

/// Each append guards the stream that the other one writes, so if both succeeded, each would have decided on outdated
/// state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_guard_what_the_other_writes_one_wins_each_round() {
    const ROUNDS: u64 = 400;

    let place = Place::new();
    let stores = stores(&place).await;
    let here = stream();
    let there = stream();

    let mut versions = [0, 0];
    for round in 0..ROUNDS {
        let appends = [
            guarded(&here, versions[0], &there, versions[1]),
            guarded(&there, versions[1], &here, versions[0]),
        ];
        let pair = (round as usize) % STORES;
        let racing = appends
            .into_iter()
            .zip([pair, (pair + 1) % STORES])
            .map(|(append, store)| {
                let store = stores[store].clone();
                tokio::spawn(async move { store.append(append).await })
            });
        let outcomes = finished(racing.collect()).await;
        for (outcome, version) in outcomes.iter().zip(&mut versions) {
            match outcome {
                Ok(_) => *version += 1,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            1,
            "round {round}: {outcomes:?}"
        );
    }
    assert_eq!(
        texts(&stores[0], &here).await.len() + texts(&stores[0], &there).await.len(),
        ROUNDS as usize
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_guard_one_stream_all_succeed_and_leave_nothing_of_it() {
    const WRITERS: usize = 16;
    const APPENDS: u64 = 60;

    let place = Place::new();
    let stores = stores(&place).await;
    let shared = stream();
    let writers = (0..WRITERS).map(|writer| {
        let store = stores[writer % STORES].clone();
        let shared = shared.clone();

        tokio::spawn(async move {
            let own = stream();
            for version in 0..APPENDS {
                store
                    .append(guarded(&own, version, &shared, 0))
                    .await
                    .expect("no other task writes to the guarded stream");
            }
        })
    });
    finished(writers.collect()).await;
    assert!(texts(&stores[0], &shared).await.is_empty());
    let log = support::log_of(&stores[0]).await;
    assert_eq!(log.len() as u64, WRITERS as u64 * APPENDS);
    let left = "SELECT count(*) FROM events WHERE position <= 0";
    let left: i64 = place
        .outsider()
        .await
        .query_one(left, &[])
        .await
        .expect("a number")
        .get(0);
    assert_eq!(left, 0, "rows that stand for guards are gone");
    stores[0]
        .append(support::append_to(&shared, Expected::NoStream))
        .await
        .expect("the stream is free");
    assert!(matches!(
        stores[1].append(guarded(&stream(), 0, &shared, 0)).await,
        Err(StoreError::Conflict { .. })
    ));
}

/// Returns the slowest append among this number by each store, and the number of appends slower than 100 ms.
async fn slowest_of(stores: &[PostgresStore], appends: u64) -> (Duration, usize) {
    let writers = stores.iter().cloned().map(|store| {
        tokio::spawn(async move {
            let mut took = Vec::new();
            for _ in 0..appends {
                let start = Instant::now();
                store.append(support::append()).await.expect("a receipt");
                took.push(start.elapsed());
            }
            took
        })
    });
    let took = finished(writers.collect()).await.concat();
    let slow = took
        .iter()
        .filter(|took| **took > Duration::from_millis(100))
        .count();
    (took.into_iter().max().unwrap_or_default(), slow)
}

/// In earlier releases guards waited for every append under way, and all later appends queued behind them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guard_beside_a_hanging_append_neither_waits_nor_delays_others() {
    let place = Place::new();
    let stores = stores(&place).await;
    let (normal, _) = slowest_of(&stores, 50).await;
    let hanging = place.outsider().await;
    begin_append(&hanging, "account", "hangs").await;
    let guarding = {
        let store = stores[0].clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                // The same happens when an aggregate is created that once had another name.
                store
                    .append(guarded(&stream(), 0, &stream(), 0))
                    .await
                    .expect("a receipt");
            }
        })
    };
    let (slowest, slow) = slowest_of(&stores, 250).await;
    timeout(Duration::from_secs(10), guarding)
        .await
        .expect("guards do not wait for the hanging append")
        .expect("a task");
    support::report(&format!(
        "slowest append: {normal:?} before, {slowest:?} beside it; {slow} of 1000 above 100 ms"
    ));
    assert!(
        slowest < Duration::from_secs(2) + normal * 4 && slow <= 50,
        "{slow} slow appends, the slowest {slowest:?}"
    );
    roll_back(&hanging).await;
}

/// Contention makes a batch take the appender lock exclusively, which is impossible while an append hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contention_beside_a_hanging_append_delays_no_append_for_long() {
    let place = Place::new();
    let stores = stores(&place).await;
    let hanging = place.outsider().await;
    begin_append(&hanging, "account", "hangs").await;
    let stream = stream();
    let contending = (0..STORES * 2).map(|writer| {
        let store = stores[writer % STORES].clone();
        let stream = stream.clone();

        tokio::spawn(async move {
            for _ in 0..30 {
                store
                    .append(support::append_to(&stream, Expected::Any))
                    .await
                    .expect("any version");
            }
        })
    });
    let contending: Vec<_> = contending.collect();
    let (slowest, slow) = slowest_of(&stores, 50).await;
    finished(contending).await;
    support::report(&format!(
        "slowest append beside contention: {slowest:?}; {slow} of 200 above 100 ms"
    ));
    assert!(
        slowest < Duration::from_secs(5),
        "the slowest append took {slowest:?}"
    );
    assert_eq!(texts(&stores[0], &stream).await.len(), STORES * 2 * 30);
    roll_back(&hanging).await;
}
