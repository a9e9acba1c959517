//! P8: every byte is stored and returned up to the limits, and nothing beyond them is accepted.

use eventsourcing_core::store::{
    Append, CodecId, EVENTS_PER_APPEND_MAX, EventStore, Expected, LogQuery, METADATA_BYTES_MAX,
    Name, NewEvent, NewSnapshot, PAYLOAD_BYTES_MAX, Position, StoredEvent, StreamId,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::assertions::{
    Picture, assert_invalid, follow, log_of, stream_of, text_of, texts_of, tracking_of, versions_of,
};
use super::builders::{
    CATEGORY, append, append_to, event, named_event, numbered_events, other_stream, snapshot,
    step_from, stream,
};
use super::{Fixture, FollowerFixture};

/// P8: Payload, metadata, names and ids come back byte for byte: empty, non-UTF-8 payload, every Unicode plane, 1 MiB.
pub async fn bytes_and_names_come_back_unchanged<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let mut expected = Vec::new();
    for (number, (stream, new)) in hard_events().into_iter().enumerate() {
        let recorded_at = HARD_TIMES[number % HARD_TIMES.len()];
        let append =
            Append::new(recorded_at).with_events(stream.clone(), Expected::Any, vec![new.clone()]);
        store.append(append).await.expect("within the limits");
        expected.push((stream, recorded_at.as_microsecond(), new));
    }
    let log = log_of(&fixture.open().await).await;
    assert_eq!(log.len(), expected.len());
    for (event, (stream, microsecond, new)) in log.into_iter().zip(expected) {
        let from_stream = stream_of(&store, &stream).await;
        assert!(
            from_stream.contains(&event),
            "the stream and the log show the same event"
        );
        assert_eq!(event.stream, stream);
        assert_eq!(
            event.recorded_at,
            Timestamp::from_microsecond(microsecond).expect("it was a time before")
        );
        let StoredEvent {
            name,
            schema_version,
            codec,
            payload,
            metadata,
            ..
        } = event;
        assert_eq!(
            (&name, schema_version, codec),
            (&new.name, new.schema_version, new.codec)
        );
        assert!(
            payload == new.payload && metadata == new.metadata,
            "the bytes of {name:?} have changed"
        );
    }
    assert_hard_names_filter(&store).await;
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
        events.push((
            stream,
            NewEvent {
                name,
                ..event("named")
            },
        ));
    }
    let bytes_of_every_value: Vec<u8> = (0..=255).cycle().take(1024 * 1024).collect();
    for bytes in [
        Vec::new(),
        vec![0],
        vec![0xff, 0xfe, 0x00, 0xc3, 0x28],
        b"{}".to_vec(),
        bytes_of_every_value,
    ] {
        let hard = NewEvent {
            payload: bytes.clone(),
            metadata: bytes,
            ..event("")
        };
        events.push((StreamId::new(CATEGORY, Uuid::nil()), hard));
    }
    for codec in [CodecId(0), CodecId(255)] {
        let hard = NewEvent {
            codec,
            schema_version: u16::MAX,
            ..event("coded")
        };
        events.push((StreamId::new(CATEGORY, Uuid::max()), hard));
    }
    events
}

fn hard_names() -> Vec<Name> {
    let every_plane: String = (0..=16)
        .filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x1234))
        .collect();
    let longest = "\u{10ffff}".repeat(63) + "end";
    let plain = [
        "'; drop table events; --",
        "100%_\\ \"?$1",
        " spaced ",
        "\u{1}\t\n\u{feff}\u{202e}",
        "*.>",
    ];
    let mut names: Vec<Name> = plain.into_iter().map(Name::from).collect();
    names.extend([Name::from(every_plane), Name::from(longest)]);
    names
}

async fn assert_hard_names_filter(store: &impl EventStore) {
    for name in hard_names() {
        let query = LogQuery::after(Position::ZERO)
            .categories([name.clone()])
            .names([name.clone()]);
        assert_eq!(
            follow(store, query).await.len(),
            1,
            "the filter finds {name:?}"
        );
    }
}

/// P8: Any name within the limits may be that of a follower.
pub async fn any_name_may_follow<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    for name in hard_names() {
        let step = step_from(0, store.log_id()).by(name.clone()).to(3);
        store
            .append(append().with_tracking(step))
            .await
            .expect("any name may follow");
        assert_eq!(
            tracking_of(&store, &name, store.log_id()).await,
            Position::new(3),
            "follower {name:?}"
        );
    }
}

/// P8: Names are compared byte for byte: case, spaces and Unicode composition matter.
pub async fn names_are_compared_byte_for_byte<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let id = Uuid::now_v7();

    let names = [
        "caf\u{e9}",
        "cafe\u{301}",
        "CAF\u{c9}",
        "caf\u{e9} ",
        "cafe",
        "\u{ff43}afe",
    ];
    for name in names {
        let create = append().with_events(
            StreamId::new(name, id),
            Expected::NoStream,
            vec![named_event(name, name)],
        );
        store.append(create).await.expect("a stream of its own");
    }
    for name in names {
        assert_eq!(
            texts_of(&stream_of(&store, &StreamId::new(name, id)).await),
            [name]
        );
        let by_category = follow(&store, LogQuery::after(Position::ZERO).categories([name])).await;
        let by_name = follow(&store, LogQuery::after(Position::ZERO).names([name])).await;
        assert_eq!(
            (texts_of(&by_category), texts_of(&by_name)),
            (vec![name.to_owned()], vec![name.to_owned()])
        );
    }
}

/// P8: An append as large as the limits allow is kept.
pub async fn largest_allowed_append_is_kept<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let large = stream();
    let long = stream();

    let largest = NewEvent {
        payload: vec![0xa5; PAYLOAD_BYTES_MAX],
        metadata: vec![0x5a; METADATA_BYTES_MAX],
        ..named_event(&"n".repeat(Name::BYTES_MAX), "")
    };
    let append_large =
        append().with_events(large.clone(), Expected::NoStream, vec![largest.clone()]);
    store
        .append(append_large)
        .await
        .expect("the largest event is allowed");
    let many = numbered_events(EVENTS_PER_APPEND_MAX);
    store
        .append(append().with_events(long.clone(), Expected::NoStream, many))
        .await
        .expect("the most events too");

    let events = stream_of(&store, &large).await;
    assert!(
        events.len() == 1
            && events[0].payload == largest.payload
            && events[0].metadata == largest.metadata
    );
    let events = stream_of(&store, &long).await;
    assert!(
        versions_of(&events)
            .into_iter()
            .eq(1..=EVENTS_PER_APPEND_MAX as u64),
        "no holes, none lost"
    );
    assert!(
        events
            .iter()
            .all(|event| text_of(event) == event.version.to_string()),
        "in order"
    );
}

/// P8: Beyond the documented limits an append is `Invalid` and nothing is written.
pub async fn beyond_the_limits_is_invalid_and_writes_nothing<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    store
        .append(append_to(&stream, "there"))
        .await
        .expect("any version");
    let before = Picture::with_follower(&store, &[&stream]).await;
    for (what, extra) in appends_beyond_the_limits(&store, &stream) {
        assert_invalid(store.append(extra).await, &what);
    }
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
}

fn appends_beyond_the_limits(store: &impl EventStore, stream: &StreamId) -> Vec<(String, Append)> {
    let with_event =
        |new| append_to(stream, "first").with_events(other_stream(), Expected::Any, vec![new]);
    let with = append_to(stream, "first");
    let too_large = NewSnapshot {
        payload: vec![0; PAYLOAD_BYTES_MAX + 1],
        ..snapshot(stream, 1)
    };
    let too_many = numbered_events(EVENTS_PER_APPEND_MAX);
    let mut appends = vec![
        (
            "payload",
            with_event(NewEvent {
                payload: vec![0; PAYLOAD_BYTES_MAX + 1],
                ..event("")
            }),
        ),
        (
            "metadata",
            with_event(NewEvent {
                metadata: vec![0; METADATA_BYTES_MAX + 1],
                ..event("")
            }),
        ),
        ("snapshot", with.clone().with_snapshot(too_large)),
        (
            "number of events",
            with.clone()
                .with_events(other_stream(), Expected::Any, too_many),
        ),
        (
            "stream named twice",
            with.clone().with_guard(stream.clone(), Expected::Any),
        ),
        (
            "step backwards",
            with.clone()
                .with_tracking(step_from(5, store.log_id()).to(4)),
        ),
    ]
    .into_iter()
    .map(|(what, append)| (what.to_owned(), append))
    .collect::<Vec<_>>();
    for name in [
        String::new(),
        "n".repeat(Name::BYTES_MAX + 1),
        "\u{e9}".repeat(128),
        "nul\0".to_owned(),
    ] {
        let stream = StreamId::new(name.clone(), Uuid::now_v7());
        let step = step_from(0, store.log_id()).by(name.clone()).to(1);
        appends.push((
            format!("event name {name:?}"),
            with_event(named_event(&name, "")),
        ));
        appends.push((format!("category {name:?}"), append_to(&stream, "")));
        appends.push((
            format!("category {name:?} of a guard"),
            with.clone().with_guard(stream, Expected::Any),
        ));
        appends.push((
            format!("follower {name:?}"),
            with.clone().with_tracking(step),
        ));
    }
    appends
}
