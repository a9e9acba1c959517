//! P1 to P11: what an append does, and what it leaves undone.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::store::{
    Append, Appended, CodecId, CommandId, EVENTS_PER_APPEND_MAX, EventStore, Expected, LogQuery, METADATA_BYTES_MAX,
    Name, NewEvent, NewSnapshot, PAYLOAD_BYTES_MAX, Position, StoreError, StoredEvent, StreamId, Version,
};
use crate::testing::Seed;

use super::Fixture;
use super::given::{
    CATEGORY, FOLLOWER, append, append_to, event, named_event, numbered_events, other_stream, snapshot, step_from,
    stream,
};
use super::race::{Start, drop_midway, race, within};
use super::seen::{
    Picture, assert_conflict, assert_invalid, assert_positions_grow, assert_tracking_conflict, follow, head_of, log_of,
    positions_of, stream_of, text_of, texts_of, tracking_of, version_of, versions_of,
};

/// P1: The events of an append read back in order, with versions that continue the stream and positions that grow.
pub async fn events_read_back_in_order_with_growing_versions_and_positions<F: Fixture>(fixture: &F) {
    let (store, stream, other) = (fixture.open().await, stream(), other_stream());
    for (texts, version) in [(["a", "b", "c"], 0), (["d", "e", "f"], 3), (["g", "h", "i"], 6)] {
        let events = texts.map(event).to_vec();
        let append = append().with_events(stream.clone(), Expected::Exact(Version::new(version)), events);
        let appended = store.append(append).await.expect("the expectation holds");
        store.append(append_to(&other, "between")).await.expect("anything is expected");

        let last = stream_of(&store, &stream).await.pop().expect("the stream has events");
        assert_eq!(appended.receipt.position, last.position, "the receipt names the last event");
        assert_eq!((appended.receipt.command_id, appended.repeated), (None, false));
    }

    let events = stream_of(&fixture.open().await, &stream).await;
    assert_eq!(texts_of(&events), ["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    assert_eq!(versions_of(&events), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_positions_grow(&events);
    let from_log: Vec<_> = log_of(&store).await.into_iter().filter(|event| event.stream == stream).collect();
    assert_eq!(from_log, events, "the log and the stream show the same events");
}

/// P1: Events get their positions in the order of the streams of the append, and within a stream in order.
pub async fn events_get_positions_in_the_order_of_their_streams<F: Fixture>(fixture: &F) {
    let (store, first, second) = (fixture.open().await, other_stream(), stream());
    let append = append()
        .with_events(first.clone(), Expected::NoStream, vec![event("1"), event("2")])
        .with_guard(stream(), Expected::NoStream)
        .with_events(second.clone(), Expected::NoStream, vec![event("3"), event("4")]);
    let appended = store.append(append).await.expect("all streams are new");

    let log = log_of(&store).await;
    assert_eq!(texts_of(&log), ["1", "2", "3", "4"]);
    assert_eq!(versions_of(&log), [1, 2, 1, 2]);
    assert_positions_grow(&log);
    assert_eq!(Some(appended.receipt.position), positions_of(&log).pop());
}

/// P2: An append is all or nothing over all its streams and its tracking.
pub async fn append_over_streams_and_tracking_is_all_or_nothing<F: Fixture>(fixture: &F) {
    let (store, one, two) = (fixture.open().await, stream(), other_stream());
    store.append(append_to(&two, "earlier")).await.expect("anything is expected");
    let log = store.log_id();
    let both = |expected_of_two, from| {
        append()
            .with_events(one.clone(), Expected::NoStream, numbered_events(2))
            .with_events(two.clone(), expected_of_two, numbered_events(2))
            .with_snapshot(snapshot(&one, 2))
            .with_tracking(step_from(from, log).to(from + 5))
    };
    let before = Picture::of(&store, &[&one, &two], &[&FOLLOWER]).await;

    assert_conflict(store.append(both(Expected::NoStream, 0)).await, &two, Version::FIRST);
    assert_tracking_conflict(store.append(both(Expected::Exists, 3)).await, &FOLLOWER, 0);
    let after = Picture::of(&fixture.open().await, &[&one, &two], &[&FOLLOWER]).await;
    assert_eq!(before, after, "nothing may be written");

    store.append(both(Expected::Exists, 0)).await.expect("all expectations hold");
    let fresh = fixture.open().await;
    assert_eq!(versions_of(&stream_of(&fresh, &one).await), [1, 2]);
    assert_eq!(versions_of(&stream_of(&fresh, &two).await), [1, 2, 3]);
    assert_eq!(tracking_of(&fresh, &FOLLOWER, log).await, Position::new(5));
}

/// P3: `Expected::Exact(v)` on a stream that is not at `v` is `Conflict` with the actual version; nothing is written.
pub async fn stale_append_conflicts_and_writes_nothing<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    let at = |version| append().with_events(stream.clone(), Expected::Exact(Version::new(version)), vec![event("new")]);
    assert_conflict(store.append(at(1)).await, &stream, Version::ZERO);
    store.append(append().with_events(stream.clone(), Expected::Any, numbered_events(3))).await.expect("any version");

    let before = Picture::of(&store, &[&stream], &[]).await;
    for wrong in [0, 1, 2, 4, Version::MAX.as_u64()] {
        assert_conflict(store.append(at(wrong)).await, &stream, Version::new(3));
    }
    assert_eq!(before, Picture::of(&fixture.open().await, &[&stream], &[]).await, "nothing may be written");
    store.append(at(3)).await.expect("the stream is at version 3");
}

/// P3: `Expected::NoStream` is `Exact(0)`.
pub async fn no_stream_is_exact_zero<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    for expected in [Expected::NoStream, Expected::Exact(Version::ZERO)] {
        let stream = stream();
        let create = || append().with_events(stream.clone(), expected, vec![event("created")]);
        store.append(create()).await.expect("the stream is new");
        assert_conflict(store.append(create()).await, &stream, Version::FIRST);
        assert_eq!(version_of(&fixture.open().await, &stream).await, Version::FIRST, "nothing may be written");
    }
}

/// P3: `Expected::Exists` refuses an empty stream.
pub async fn exists_refuses_an_empty_stream<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    let change = || append().with_events(stream.clone(), Expected::Exists, vec![event("changed")]);
    assert_conflict(store.append(change()).await, &stream, Version::ZERO);
    assert_eq!(version_of(&fixture.open().await, &stream).await, Version::ZERO, "nothing may be written");

    store.append(append_to(&stream, "created")).await.expect("any version");
    store.append(change()).await.expect("the stream has an event");
    assert_eq!(version_of(&store, &stream).await, Version::new(2));
}

/// P4: Of any number of concurrent appends that expect the same version of the same stream exactly one succeeds.
pub async fn of_concurrent_appends_at_one_version_exactly_one_succeeds<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    for round in 0..30 {
        let start = if round % 2 == 0 { Start::Together } else { Start::Staggered(seed.rng(round)) };
        let expected = Expected::Exact(Version::new(round));
        let racers = (0..8).map(|racer| {
            let store = Arc::clone(&stores[racer % stores.len()]);
            let append = append().with_events(stream.clone(), expected, vec![event(&format!("{round} by {racer}"))]);
            async move { store.append(append).await }
        });
        let results = race::<F, _>(start, racers).await;
        assert_one_winner(&stores[0], &stream, round, results).await;
    }
    assert_eq!(versions_of(&stream_of(&fixture.open().await, &stream).await), (1..=30).collect::<Vec<_>>());
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
    assert_eq!(winners.len(), 1, "exactly one of the racers may win: {winners:?}");
    let last = stream_of(store, stream).await.pop().expect("the winner has written");
    assert_eq!((text_of(&last), last.version.as_u64()), (winners.remove(0), round + 1), "the winner's event stands");
}

/// P5: Concurrent `Expected::Any` appends all succeed, all are readable, versions have no holes.
pub async fn concurrent_appends_at_any_version_all_succeed<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    let racers = (0..8).map(|racer| {
        let (store, stream) = (Arc::clone(&stores[racer % stores.len()]), stream.clone());
        async move {
            for round in 0..10 {
                let events = vec![event(&format!("{racer} {round}")), event(&format!("{racer} {round} too"))];
                let append = append().with_events(stream.clone(), Expected::Any, events);
                store.append(append).await.expect("any version is expected");
            }
        }
    });
    race::<F, _>(Start::Staggered(seed.rng(0)), racers).await;

    let events = stream_of(&fixture.open().await, &stream).await;
    assert_eq!(versions_of(&events), (1..=160).collect::<Vec<_>>(), "no holes, none lost");
    assert_positions_grow(&events);
    assert_eq!(positions_of(&log_of(&stores[0]).await), positions_of(&events));
    assert_each_racer_in_order(&events);
}

fn assert_each_racer_in_order(events: &[StoredEvent]) {
    for racer in 0..8 {
        let texts = texts_of(events).into_iter().filter(|text| text.starts_with(&format!("{racer} ")));
        let expected = (0..10).flat_map(|round| [format!("{racer} {round}"), format!("{racer} {round} too")]);
        assert!(texts.eq(expected), "the events of racer {racer} are all there, in order");
    }
}

async fn open_many<F: Fixture>(fixture: &F, count: usize) -> Vec<Arc<F::Store>> {
    let mut stores = Vec::with_capacity(count);
    for _ in 0..count {
        stores.push(Arc::new(fixture.open().await));
    }
    stores
}

/// P6: A command id seen before returns the first receipt and writes nothing — in the same process and in another.
pub async fn repeated_command_returns_the_first_receipt_and_writes_nothing<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    let (with_events, with_tracking) = (CommandId::new(), CommandId::new());
    let write = append_to(&stream, "once").with_command_id(with_events);
    let step = append().with_tracking(step_from(0, store.log_id()).to(9)).with_command_id(with_tracking);
    let first = store.append(write.clone()).await.expect("the command is new");
    let first_step = store.append(step.clone()).await.expect("the command is new");
    assert!(!first.repeated && !first_step.repeated, "nothing is repeated yet");
    assert_eq!(first.receipt.command_id, Some(with_events));
    assert_eq!(first.receipt.position, head_of(&store).await);
    assert_eq!(first_step.receipt.position, Position::ZERO, "no event, no position");

    let before = Picture::of(&store, &[&stream], &[&FOLLOWER]).await;
    for store in [&store, &fixture.open().await] {
        let again = store.append(write.clone()).await.expect("a repeated command is answered");
        assert_eq!(again, Appended { receipt: first.receipt, repeated: true });
        let again = store.append(step.clone()).await.expect("a repeated command is answered");
        assert_eq!(again, Appended { receipt: first_step.receipt, repeated: true });
        let (found, unknown) = (store.receipt(with_events).await, store.receipt(CommandId::new()).await);
        assert_eq!(found.expect("the receipt can be read"), Some(first.receipt));
        assert_eq!(unknown.expect("the receipt can be read"), None);
    }
    assert_eq!(before, Picture::of(&fixture.open().await, &[&stream], &[&FOLLOWER]).await, "nothing may be written");
}

/// P6: A command id seen before returns the first receipt even when the expected version is stale by now.
pub async fn repeated_command_is_recognised_when_its_expectation_is_stale<F: Fixture>(fixture: &F) {
    let (store, stream, id) = (fixture.open().await, stream(), CommandId::new());
    let create = append().with_events(stream.clone(), Expected::NoStream, numbered_events(2)).with_command_id(id);
    let first = store.append(create.clone()).await.expect("the command is new");
    store.append(append_to(&stream, "later")).await.expect("any version");
    let step = append_to(&stream, "even later").with_tracking(step_from(0, store.log_id()).to(4));
    store.append(step).await.expect("any version");

    let other_content = append_to(&stream, "something else").with_tracking(step_from(0, store.log_id()).to(2));
    for retry in [create, other_content.with_command_id(id)] {
        let again = fixture.open().await.append(retry).await.expect("a repeated command is answered");
        assert_eq!(again, Appended { receipt: first.receipt, repeated: true });
    }
    assert_eq!(texts_of(&stream_of(&store, &stream).await), ["1", "2", "later", "even later"]);
}

/// P6: A command that was refused has not been seen: with the same id it can be tried again.
pub async fn refused_command_can_be_tried_again<F: Fixture>(fixture: &F) {
    let (store, stream, id) = (fixture.open().await, stream(), CommandId::new());
    let stale = append().with_events(stream.clone(), Expected::Exists, vec![event("1")]).with_command_id(id);
    assert_conflict(store.append(stale).await, &stream, Version::ZERO);
    let beyond = append_to(&stream, "1").with_snapshot(snapshot(&stream, 2)).with_command_id(id);
    assert_invalid(store.append(beyond).await, "a snapshot beyond its stream");

    let appended = store.append(append_to(&stream, "1").with_command_id(id)).await.expect("any version");
    assert!(!appended.repeated, "it was not carried out before");
    assert_eq!(texts_of(&stream_of(&store, &stream).await), ["1"]);
}

/// P7: Two appends with the same new command id at the same time: one writes, both get the same receipt.
pub async fn simultaneous_appends_of_one_command_write_once<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    for round in 0..30 {
        let start = if round % 2 == 0 { Start::Together } else { Start::Staggered(seed.rng(round)) };
        let expected = if round % 3 == 0 { Expected::Any } else { Expected::Exact(Version::new(round)) };
        let append = append()
            .with_events(stream.clone(), expected, vec![event(&round.to_string())])
            .with_command_id(CommandId::new());
        let racers = (0..6).map(|racer| {
            let (store, append) = (Arc::clone(&stores[racer % stores.len()]), append.clone());
            async move { store.append(append).await.expect("one writes, all others repeat") }
        });
        let answers = race::<F, _>(start, racers).await;
        assert!(answers.iter().all(|answer| answer.receipt == answers[0].receipt), "one receipt: {answers:?}");
        assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1, "one writes: {answers:?}");
        assert_eq!(answers[0].receipt.position, head_of(&stores[0]).await);
    }
    assert_eq!(versions_of(&stream_of(&fixture.open().await, &stream).await), (1..=30).collect::<Vec<_>>());
}

/// P8: Payload, metadata, names and ids come back byte for byte: empty, non-UTF-8 payload, every Unicode plane, 1 MiB.
pub async fn bytes_and_names_come_back_unchanged<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let mut expected = Vec::new();
    for (number, (stream, new)) in hard_events().into_iter().enumerate() {
        let recorded_at = HARD_TIMES[number % HARD_TIMES.len()];
        let append = Append::new(recorded_at).with_events(stream.clone(), Expected::Any, vec![new.clone()]);
        store.append(append).await.expect("within the limits");
        expected.push((stream, recorded_at.as_microsecond(), new));
    }
    let log = log_of(&fixture.open().await).await;
    assert_eq!(log.len(), expected.len());
    for (event, (stream, microsecond, new)) in log.into_iter().zip(expected) {
        let from_stream = stream_of(&store, &stream).await;
        assert!(from_stream.contains(&event), "the stream and the log show the same event");
        assert_eq!(event.stream, stream);
        assert_eq!(event.recorded_at, Timestamp::from_microsecond(microsecond).expect("it was a time before"));
        let StoredEvent { name, schema_version, codec, payload, metadata, .. } = event;
        assert_eq!((&name, schema_version, codec), (&new.name, new.schema_version, new.codec));
        assert!(payload == new.payload && metadata == new.metadata, "the bytes of {name:?} have changed");
    }
    assert_hard_names_filter_and_follow(&store).await;
}

const HARD_TIMES: [Timestamp; 4] = [
    Timestamp::constant(1_700_000_000, 123_456_789),
    Timestamp::constant(-2_000_000_000, -999),
    Timestamp::constant(0, 1_000),
    Timestamp::constant(253_370_764_800, 0),
];

fn hard_events() -> Vec<(StreamId, NewEvent)> {
    let mut events = Vec::new();
    for name in hard_names() {
        let stream = StreamId::new(name.clone(), Uuid::now_v7());
        events.push((stream, NewEvent { name, ..event("named") }));
    }
    let bytes_of_every_value: Vec<u8> = (0..=255).cycle().take(1024 * 1024).collect();
    for bytes in [Vec::new(), vec![0], vec![0xff, 0xfe, 0x00, 0xc3, 0x28], b"{}".to_vec(), bytes_of_every_value] {
        let hard = NewEvent { payload: bytes.clone(), metadata: bytes, ..event("") };
        events.push((StreamId::new(CATEGORY, Uuid::nil()), hard));
    }
    for codec in [CodecId(0), CodecId(255)] {
        let hard = NewEvent { codec, schema_version: u16::MAX, ..event("coded") };
        events.push((StreamId::new(CATEGORY, Uuid::max()), hard));
    }
    events
}

fn hard_names() -> Vec<Name> {
    let every_plane: String = (0..=16).filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x1234)).collect();
    let longest = "\u{10ffff}".repeat(63) + "end";
    let plain = ["'; drop table events; --", "100%_\\ \"?$1", " spaced ", "\u{1}\t\n\u{feff}\u{202e}", "*.>"];
    let mut names: Vec<Name> = plain.into_iter().map(Name::from).collect();
    names.extend([Name::from(every_plane), Name::from(longest)]);
    names
}

async fn assert_hard_names_filter_and_follow(store: &impl EventStore) {
    for name in hard_names() {
        let query = LogQuery::after(Position::ZERO).categories([name.clone()]).names([name.clone()]);
        assert_eq!(follow(store, query).await.len(), 1, "the filter finds {name:?}");
        let step = step_from(0, store.log_id()).by(name.clone()).to(3);
        store.append(append().with_tracking(step)).await.expect("any name may follow");
        assert_eq!(tracking_of(store, &name, store.log_id()).await, Position::new(3), "follower {name:?}");
    }
}

/// P8: Names are compared byte for byte: case, spaces and Unicode composition tell them apart.
pub async fn names_are_compared_byte_for_byte<F: Fixture>(fixture: &F) {
    let (store, id) = (fixture.open().await, Uuid::now_v7());
    let names = ["caf\u{e9}", "cafe\u{301}", "CAF\u{c9}", "caf\u{e9} ", "cafe", "\u{ff43}afe"];
    for name in names {
        let create = append().with_events(StreamId::new(name, id), Expected::NoStream, vec![named_event(name, name)]);
        store.append(create).await.expect("a stream of its own");
    }
    for name in names {
        assert_eq!(texts_of(&stream_of(&store, &StreamId::new(name, id)).await), [name]);
        let by_category = follow(&store, LogQuery::after(Position::ZERO).categories([name])).await;
        let by_name = follow(&store, LogQuery::after(Position::ZERO).names([name])).await;
        assert_eq!((texts_of(&by_category), texts_of(&by_name)), (vec![name.to_owned()], vec![name.to_owned()]));
    }
}

/// P8: An append as large as the limits allow is kept.
pub async fn largest_allowed_append_is_kept<F: Fixture>(fixture: &F) {
    let (store, large, long) = (fixture.open().await, stream(), stream());
    let largest = NewEvent {
        payload: vec![0xa5; PAYLOAD_BYTES_MAX],
        metadata: vec![0x5a; METADATA_BYTES_MAX],
        ..named_event(&"n".repeat(Name::BYTES_MAX), "")
    };
    let append_large = append().with_events(large.clone(), Expected::NoStream, vec![largest.clone()]);
    store.append(append_large).await.expect("the largest event is allowed");
    let many = numbered_events(EVENTS_PER_APPEND_MAX);
    store.append(append().with_events(long.clone(), Expected::NoStream, many)).await.expect("the most events too");

    let events = stream_of(&store, &large).await;
    assert!(events.len() == 1 && events[0].payload == largest.payload && events[0].metadata == largest.metadata);
    let events = stream_of(&store, &long).await;
    assert!(versions_of(&events).into_iter().eq(1..=EVENTS_PER_APPEND_MAX as u64), "no holes, none lost");
    assert!(events.iter().all(|event| text_of(event) == event.version.to_string()), "in order");
}

/// P8: Beyond the documented limits an append is `Invalid` and nothing is written.
pub async fn beyond_the_limits_is_invalid_and_writes_nothing<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    store.append(append_to(&stream, "there")).await.expect("any version");
    let before = Picture::of(&store, &[&stream], &[&FOLLOWER]).await;
    for (what, extra) in appends_beyond_the_limits(&store, &stream) {
        assert_invalid(store.append(extra).await, &what);
    }
    assert_eq!(before, Picture::of(&fixture.open().await, &[&stream], &[&FOLLOWER]).await, "nothing may be written");
}

fn appends_beyond_the_limits(store: &impl EventStore, stream: &StreamId) -> Vec<(String, Append)> {
    let with_event = |new| append_to(stream, "first").with_events(other_stream(), Expected::Any, vec![new]);
    let with = append_to(stream, "first");
    let too_large = NewSnapshot { payload: vec![0; PAYLOAD_BYTES_MAX + 1], ..snapshot(stream, 1) };
    let too_many = numbered_events(EVENTS_PER_APPEND_MAX);
    let mut appends = vec![
        ("payload", with_event(NewEvent { payload: vec![0; PAYLOAD_BYTES_MAX + 1], ..event("") })),
        ("metadata", with_event(NewEvent { metadata: vec![0; METADATA_BYTES_MAX + 1], ..event("") })),
        ("snapshot", with.clone().with_snapshot(too_large)),
        ("number of events", with.clone().with_events(other_stream(), Expected::Any, too_many)),
        ("stream named twice", with.clone().with_guard(stream.clone(), Expected::Any)),
        ("step backwards", with.clone().with_tracking(step_from(5, store.log_id()).to(4))),
    ]
    .into_iter()
    .map(|(what, append)| (what.to_owned(), append))
    .collect::<Vec<_>>();
    for name in [String::new(), "n".repeat(Name::BYTES_MAX + 1), "\u{e9}".repeat(128), "nul\0".to_owned()] {
        let stream = StreamId::new(name.clone(), Uuid::now_v7());
        let step = step_from(0, store.log_id()).by(name.clone()).to(1);
        appends.push((format!("event name {name:?}"), with_event(named_event(&name, ""))));
        appends.push((format!("category {name:?}"), append_to(&stream, "")));
        appends.push((format!("category {name:?} of a guard"), with.clone().with_guard(stream, Expected::Any)));
        appends.push((format!("follower {name:?}"), with.clone().with_tracking(step)));
    }
    appends
}

/// P9: An append without events, tracking or snapshot is `Invalid`, also when it guards a stream.
pub async fn append_that_carries_nothing_is_invalid<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    assert_invalid(store.append(append()).await, "an append of nothing");
    assert_invalid(store.append(append().with_guard(stream, Expected::NoStream)).await, "a guard alone");
    let named = append().with_command_id(CommandId::new());
    assert_invalid(store.append(named).await, "a command id alone");
    assert_eq!(log_of(&fixture.open().await).await, []);
}

/// P9: An append with tracking alone is allowed: a follower passes over events.
pub async fn tracking_alone_is_allowed<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let appended = store.append(append().with_tracking(step_from(0, store.log_id()).to(17))).await;
    assert_eq!(appended.expect("tracking alone is allowed").receipt.position, Position::ZERO);
    let standing = store.append(append().with_tracking(step_from(17, store.log_id()).to(17))).await;
    standing.expect("a step may end where it began");

    let fresh = fixture.open().await;
    assert_eq!(tracking_of(&fresh, &FOLLOWER, store.log_id()).await, Position::new(17));
    assert_eq!((head_of(&fresh).await, log_of(&fresh).await), (Position::ZERO, vec![]), "there is no event");
}

/// P9: An append that carries only a snapshot is allowed.
pub async fn snapshot_alone_is_allowed<F: Fixture>(fixture: &F) {
    let (store, stream) = (fixture.open().await, stream());
    let written = store.append(append_to(&stream, "1")).await.expect("any version");
    let appended = store.append(append().with_snapshot(snapshot(&stream, 1))).await.expect("a snapshot alone");
    assert_eq!(appended.receipt.position, Position::ZERO);
    assert_eq!(head_of(&fixture.open().await).await, written.receipt.position, "there is no new event");
    assert_eq!(version_of(&store, &stream).await, Version::FIRST);
}

/// P10: An append over two streams conflicts when either expected version is wrong.
pub async fn append_over_two_streams_conflicts_when_either_is_wrong<F: Fixture>(fixture: &F) {
    let (store, one, two) = (fixture.open().await, stream(), other_stream());
    store.append(append().with_events(two.clone(), Expected::Any, numbered_events(2))).await.expect("any version");
    let both = |of_one, of_two| {
        append().with_events(one.clone(), Expected::Exact(Version::new(of_one)), vec![event("one")]).with_events(
            two.clone(),
            Expected::Exact(Version::new(of_two)),
            vec![event("two")],
        )
    };
    assert_conflict(store.append(both(1, 2)).await, &one, Version::ZERO);
    assert_conflict(store.append(both(0, 1)).await, &two, Version::new(2));
    assert_conflict(store.append(both(0, 3)).await, &two, Version::new(2));
    assert_eq!(log_of(&fixture.open().await).await.len(), 2, "nothing may be written");

    store.append(both(0, 2)).await.expect("both are as expected");
    assert_eq!(version_of(&store, &one).await, Version::FIRST);
    assert_eq!(version_of(&store, &two).await, Version::new(3));
}

/// P10: A guard (expected version, no events) on a further stream is honoured.
pub async fn guard_on_a_further_stream_is_honoured<F: Fixture>(fixture: &F) {
    let (store, stream, guarded) = (fixture.open().await, stream(), other_stream());
    let write = |expected| append_to(&stream, "written").with_guard(guarded.clone(), expected);
    assert_conflict(store.append(write(Expected::Exists)).await, &guarded, Version::ZERO);
    store.append(write(Expected::NoStream)).await.expect("there is no such stream");
    store.append(append_to(&guarded, "1")).await.expect("any version");

    assert_conflict(store.append(write(Expected::NoStream)).await, &guarded, Version::FIRST);
    let step = append().with_tracking(step_from(0, store.log_id()).to(1));
    let guarded_step = step.with_guard(guarded.clone(), Expected::Exact(Version::new(2)));
    assert_conflict(store.append(guarded_step).await, &guarded, Version::FIRST);
    store.append(write(Expected::Exact(Version::FIRST))).await.expect("the guard holds");
    assert_eq!(texts_of(&stream_of(&fixture.open().await, &stream).await), ["written", "written"]);
    assert_eq!(version_of(&store, &guarded).await, Version::FIRST, "a guard writes nothing");
}

/// P11: If the future is dropped at any await the append has happened wholly or not at all, and a retry with its
/// command id tells which.
pub async fn dropped_append_happened_wholly_or_not_at_all<F: Fixture>(fixture: &F) {
    let mut rng = Seed::from_env().rng(0);
    let (store, one, two) = (fixture.open().await, stream(), other_stream());
    for round in 0..60_u64 {
        let text = round.to_string();
        let append = append()
            .with_events(one.clone(), Expected::Exact(Version::new(round)), vec![event(&text)])
            .with_events(two.clone(), Expected::Any, vec![event(&text)])
            .with_tracking(step_from(round, store.log_id()).to(round + 1))
            .with_command_id(CommandId::new());
        drop_midway(store.append(append.clone()), &mut rng).await;

        let retry = within::<F, _>("the retry of a dropped append", store.append(append)).await;
        let appended = retry.expect("a retry is answered, whatever became of the first try");
        let fresh = fixture.open().await;
        for stream in [&one, &two] {
            let events = stream_of(&fresh, stream).await;
            assert_eq!(events.len() as u64, round + 1, "each command is there exactly once on {stream}");
            assert_eq!(text_of(&events[round as usize]), text);
        }
        assert_eq!(tracking_of(&fresh, &FOLLOWER, store.log_id()).await, Position::new(round + 1));
        assert_eq!(head_of(&fresh).await, appended.receipt.position);
    }
    assert_eq!(log_of(&store).await.len(), 120);
}
