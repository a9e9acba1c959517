//! P1 to P5, P9 and P10: the effects of an append, and the absence of effects when it is refused.

use std::sync::Arc;

use eventsourcing_core::store::{
    Appended, EventStore, Expected, Position, StoreError, StoredEvent, StreamId, Version,
};

use super::assertions::{
    Picture, assert_conflict, assert_invalid, assert_positions_grow, assert_tracking_conflict,
    head_of, log_of, positions_of, stream_of, text_of, texts_of, tracking_of, version_of,
    versions_of,
};
use super::builders::{
    FOLLOWER, append, append_to, event, numbered_events, other_stream, snapshot, step_from, stream,
};
use super::concurrency::{Start, open_many, race};
use super::{Fixture, FollowerFixture};
use crate::Seed;

/// P1: The events of an append read back in order, with versions that continue the stream and positions that grow.
pub async fn events_read_back_in_order_with_growing_versions_and_positions<F: Fixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();
    let other = other_stream();

    for (texts, version) in [
        (["a", "b", "c"], 0),
        (["d", "e", "f"], 3),
        (["g", "h", "i"], 6),
    ] {
        let events = texts.map(event).to_vec();
        let append = append().with_events(
            stream.clone(),
            Expected::Exact(Version::new(version)),
            events,
        );
        let appended = store.append(append).await.expect("the expectation holds");
        store
            .append(append_to(&other, "between"))
            .await
            .expect("anything is expected");

        let last = stream_of(&store, &stream)
            .await
            .pop()
            .expect("the stream has events");
        assert_eq!(
            appended.receipt.position, last.position,
            "the receipt names the last event"
        );
        assert_eq!(
            (appended.receipt.command_id, appended.repeated),
            (None, false)
        );
    }

    let events = stream_of(&fixture.open().await, &stream).await;
    assert_eq!(
        texts_of(&events),
        ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
    );
    assert_eq!(versions_of(&events), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_positions_grow(&events);
    let from_log: Vec<_> = log_of(&store)
        .await
        .into_iter()
        .filter(|event| event.stream == stream)
        .collect();
    assert_eq!(
        from_log, events,
        "the log and the stream show the same events"
    );
}

/// P1: Events get their positions in the order of the streams of the append, and within a stream in order.
pub async fn events_get_positions_in_the_order_of_their_streams<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let first = other_stream();
    let second = stream();

    let append = append()
        .with_events(
            first.clone(),
            Expected::NoStream,
            vec![event("1"), event("2")],
        )
        .with_guard(stream(), Expected::NoStream)
        .with_events(
            second.clone(),
            Expected::NoStream,
            vec![event("3"), event("4")],
        );
    let appended = store.append(append).await.expect("all streams are new");

    let log = log_of(&store).await;
    assert_eq!(texts_of(&log), ["1", "2", "3", "4"]);
    assert_eq!(versions_of(&log), [1, 2, 1, 2]);
    assert_positions_grow(&log);
    assert_eq!(Some(appended.receipt.position), positions_of(&log).pop());
}

/// P2: An append is all or nothing over all its streams and its tracking.
pub async fn append_over_streams_and_tracking_is_all_or_nothing<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let one = stream();
    let two = other_stream();

    store
        .append(append_to(&two, "earlier"))
        .await
        .expect("anything is expected");
    let log = store.log_id();
    let both = |expected_of_two, from| {
        append()
            .with_events(one.clone(), Expected::NoStream, numbered_events(2))
            .with_events(two.clone(), expected_of_two, numbered_events(2))
            .with_snapshot(snapshot(&one, 2))
            .with_tracking(step_from(from, log).to(from + 5))
    };
    let before = Picture::with_follower(&store, &[&one, &two]).await;

    assert_conflict(
        store.append(both(Expected::NoStream, 0)).await,
        &two,
        Version::FIRST,
    );
    assert_tracking_conflict(store.append(both(Expected::Exists, 3)).await, &FOLLOWER, 0);
    let after = Picture::with_follower(&fixture.open().await, &[&one, &two]).await;
    assert_eq!(before, after, "nothing may be written");

    store
        .append(both(Expected::Exists, 0))
        .await
        .expect("all expectations hold");
    let fresh = fixture.open().await;
    assert_eq!(versions_of(&stream_of(&fresh, &one).await), [1, 2]);
    assert_eq!(versions_of(&stream_of(&fresh, &two).await), [1, 2, 3]);
    assert_eq!(tracking_of(&fresh, &FOLLOWER, log).await, Position::new(5));
}

/// P3: `Expected::Exact(v)` on a stream that is not at `v` is `Conflict` with the actual version; nothing is written.
pub async fn stale_append_conflicts_and_writes_nothing<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let at = |version| {
        append().with_events(
            stream.clone(),
            Expected::Exact(Version::new(version)),
            vec![event("new")],
        )
    };
    assert_conflict(store.append(at(1)).await, &stream, Version::ZERO);
    store
        .append(append().with_events(stream.clone(), Expected::Any, numbered_events(3)))
        .await
        .expect("any version");

    let before = Picture::of(&store, &[&stream]).await;
    for wrong in [0, 1, 2, 4, Version::MAX.as_u64()] {
        assert_conflict(store.append(at(wrong)).await, &stream, Version::new(3));
    }
    assert_eq!(
        before,
        Picture::of(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
    store
        .append(at(3))
        .await
        .expect("the stream is at version 3");
}

/// P3: `Expected::NoStream` is `Exact(0)`.
pub async fn no_stream_is_exact_zero<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    for expected in [Expected::NoStream, Expected::Exact(Version::ZERO)] {
        let stream = stream();
        let create = || append().with_events(stream.clone(), expected, vec![event("created")]);
        store.append(create()).await.expect("the stream is new");
        assert_conflict(store.append(create()).await, &stream, Version::FIRST);
        assert_eq!(
            version_of(&fixture.open().await, &stream).await,
            Version::FIRST,
            "nothing may be written"
        );
    }
}

/// P3: `Expected::Exists` refuses an empty stream.
pub async fn exists_refuses_an_empty_stream<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let change = || append().with_events(stream.clone(), Expected::Exists, vec![event("changed")]);
    assert_conflict(store.append(change()).await, &stream, Version::ZERO);
    assert_eq!(
        version_of(&fixture.open().await, &stream).await,
        Version::ZERO,
        "nothing may be written"
    );

    store
        .append(append_to(&stream, "created"))
        .await
        .expect("any version");
    store
        .append(change())
        .await
        .expect("the stream has an event");
    assert_eq!(version_of(&store, &stream).await, Version::new(2));
}

/// P4: Exactly one of any number of concurrent appends that expect the same version of the same stream succeeds.
pub async fn of_concurrent_appends_at_one_version_exactly_one_succeeds<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    for round in 0..30 {
        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let expected = Expected::Exact(Version::new(round));
        let racers = (0..8).map(|racer| {
            let store = Arc::clone(&stores[racer % stores.len()]);
            let append = append().with_events(
                stream.clone(),
                expected,
                vec![event(&format!("{round} by {racer}"))],
            );
            async move { store.append(append).await }
        });
        let results = race::<F, _>(start, racers).await;
        assert_one_winner(&stores[0], &stream, round, results).await;
    }
    assert_eq!(
        versions_of(&stream_of(&fixture.open().await, &stream).await),
        (1..=30).collect::<Vec<_>>()
    );
}

async fn assert_one_winner(
    store: &impl EventStore,
    stream: &StreamId,
    round: u64,
    results: Vec<Result<Appended, StoreError>>,
) {
    let mut winners = Vec::new();
    for (racer, result) in results.into_iter().enumerate() {
        match result {
            Ok(_) => winners.push(format!("{round} by {racer}")),
            refused => assert_conflict(refused, stream, Version::new(round + 1)),
        }
    }
    assert_eq!(
        winners.len(),
        1,
        "exactly one of the racers may win: {winners:?}"
    );
    let last = stream_of(store, stream)
        .await
        .pop()
        .expect("the winner has written");
    assert_eq!(
        (text_of(&last), last.version.as_u64()),
        (winners.remove(0), round + 1),
        "the winner's event stands"
    );
}

/// P5: Concurrent `Expected::Any` appends all succeed, all are readable, versions have no holes.
pub async fn concurrent_appends_at_any_version_all_succeed<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    let racers = (0..8).map(|racer| {
        let store = Arc::clone(&stores[racer % stores.len()]);
        let stream = stream.clone();

        async move {
            for round in 0..10 {
                let events = vec![
                    event(&format!("{racer} {round}")),
                    event(&format!("{racer} {round} too")),
                ];
                let append = append().with_events(stream.clone(), Expected::Any, events);
                store.append(append).await.expect("any version is expected");
            }
        }
    });
    race::<F, _>(Start::Staggered(seed.rng(0)), racers).await;

    let events = stream_of(&fixture.open().await, &stream).await;
    assert_eq!(
        versions_of(&events),
        (1..=160).collect::<Vec<_>>(),
        "no holes, none lost"
    );
    assert_positions_grow(&events);
    assert_eq!(
        positions_of(&log_of(&stores[0]).await),
        positions_of(&events)
    );
    assert_each_racer_in_order(&events);
}

fn assert_each_racer_in_order(events: &[StoredEvent]) {
    for racer in 0..8 {
        let texts = texts_of(events)
            .into_iter()
            .filter(|text| text.starts_with(&format!("{racer} ")));
        let expected =
            (0..10).flat_map(|round| [format!("{racer} {round}"), format!("{racer} {round} too")]);
        assert!(
            texts.eq(expected),
            "the events of racer {racer} are all there, in order"
        );
    }
}

/// P9: An append without events, tracking or snapshot is `Invalid`, also when it guards a stream.
pub async fn append_that_carries_nothing_is_invalid<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    assert_invalid(store.append(append()).await, "an append of nothing");
    assert_invalid(
        store
            .append(append().with_guard(stream, Expected::NoStream))
            .await,
        "a guard alone",
    );
    assert_eq!(log_of(&fixture.open().await).await, []);
}

/// P9: An append with tracking alone is allowed: a follower skips events.
pub async fn tracking_alone_is_allowed<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let appended = store
        .append(append().with_tracking(step_from(0, store.log_id()).to(17)))
        .await;
    assert_eq!(
        appended
            .expect("tracking alone is allowed")
            .receipt
            .position,
        Position::ZERO
    );
    let standing = store
        .append(append().with_tracking(step_from(17, store.log_id()).to(17)))
        .await;
    standing.expect("a step may end where it began");

    let fresh = fixture.open().await;
    assert_eq!(
        tracking_of(&fresh, &FOLLOWER, store.log_id()).await,
        Position::new(17)
    );
    assert_eq!(
        (head_of(&fresh).await, log_of(&fresh).await),
        (Position::ZERO, vec![]),
        "there is no event"
    );
}

/// P9: An append that carries only a snapshot is allowed.
pub async fn snapshot_alone_is_allowed<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let written = store
        .append(append_to(&stream, "1"))
        .await
        .expect("any version");
    let appended = store
        .append(append().with_snapshot(snapshot(&stream, 1)))
        .await
        .expect("a snapshot alone");
    assert_eq!(appended.receipt.position, Position::ZERO);
    assert_eq!(
        head_of(&fixture.open().await).await,
        written.receipt.position,
        "there is no new event"
    );
    assert_eq!(version_of(&store, &stream).await, Version::FIRST);
}

/// P10: An append over two streams conflicts when either expected version is wrong.
pub async fn append_over_two_streams_conflicts_when_either_is_wrong<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let one = stream();
    let two = other_stream();

    store
        .append(append().with_events(two.clone(), Expected::Any, numbered_events(2)))
        .await
        .expect("any version");
    let both = |of_one, of_two| {
        append()
            .with_events(
                one.clone(),
                Expected::Exact(Version::new(of_one)),
                vec![event("one")],
            )
            .with_events(
                two.clone(),
                Expected::Exact(Version::new(of_two)),
                vec![event("two")],
            )
    };
    assert_conflict(store.append(both(1, 2)).await, &one, Version::ZERO);
    assert_conflict(store.append(both(0, 1)).await, &two, Version::new(2));
    assert_conflict(store.append(both(0, 3)).await, &two, Version::new(2));
    assert_eq!(
        log_of(&fixture.open().await).await.len(),
        2,
        "nothing may be written"
    );

    store
        .append(both(0, 2))
        .await
        .expect("both are as expected");
    assert_eq!(version_of(&store, &one).await, Version::FIRST);
    assert_eq!(version_of(&store, &two).await, Version::new(3));
}

/// P10: A guard (expected version, no events) on a further stream is honoured.
pub async fn guard_on_a_further_stream_is_honoured<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let guarded = other_stream();

    let write = |expected| append_to(&stream, "written").with_guard(guarded.clone(), expected);
    assert_conflict(
        store.append(write(Expected::Exists)).await,
        &guarded,
        Version::ZERO,
    );
    store
        .append(write(Expected::NoStream))
        .await
        .expect("there is no such stream");
    store
        .append(append_to(&guarded, "1"))
        .await
        .expect("any version");

    assert_conflict(
        store.append(write(Expected::NoStream)).await,
        &guarded,
        Version::FIRST,
    );
    let step = append().with_tracking(step_from(0, store.log_id()).to(1));
    let guarded_step = step.with_guard(guarded.clone(), Expected::Exact(Version::new(2)));
    assert_conflict(store.append(guarded_step).await, &guarded, Version::FIRST);
    store
        .append(write(Expected::Exact(Version::FIRST)))
        .await
        .expect("the guard holds");
    assert_eq!(
        texts_of(&stream_of(&fixture.open().await, &stream).await),
        ["written", "written"]
    );
    assert_eq!(
        version_of(&store, &guarded).await,
        Version::FIRST,
        "a guard writes nothing"
    );
}
