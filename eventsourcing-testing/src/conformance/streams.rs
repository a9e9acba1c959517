//! P12 to P14: reads of a stream, also during writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use eventsourcing_core::store::{
    Direction, EventStore, Expected, Load, Loaded, StreamId, StreamQuery, Version,
};

use super::Fixture;
use super::assertions::{loaded, loaded_versions, stream_of, text_of, texts_of, versions_of};
use super::builders::{
    FINGERPRINT, OTHER_CATEGORY, append, append_to, event, numbered_events, other_stream, snapshot,
    stream,
};
use super::concurrency::finished;

/// P12: Ranges (from, to, limit), forwards and backwards, are inclusive.
pub async fn ranges_of_a_stream_are_inclusive_in_both_directions<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    for number in 1..=10 {
        store
            .append(append_to(&stream, &number.to_string()))
            .await
            .expect("any version");
        store
            .append(append_to(&other_stream(), "between"))
            .await
            .expect("any version");
    }
    let edges = [0, 1, 2, 5, 9, 10, 11, Version::MAX.as_u64()];
    for (from, to) in edges
        .into_iter()
        .flat_map(|from| edges.map(|to| (from, to)))
    {
        for (limit, direction) in [0, 1, 3, 10, usize::MAX]
            .into_iter()
            .flat_map(|limit| [(limit, Direction::Forwards), (limit, Direction::Backwards)])
        {
            let query = StreamQuery {
                stream: stream.clone(),
                from: Version::new(from),
                to: Version::new(to),
                limit,
                direction,
            };
            let mut expected: Vec<_> = (1..=10)
                .filter(|version| from <= *version && *version <= to)
                .collect();
            if direction == Direction::Backwards {
                expected.reverse();
            }
            expected.truncate(limit);
            let events = store
                .read_stream(query.clone())
                .await
                .expect("a stream can be read");
            assert_eq!(versions_of(&events), expected, "{query:?}");
            assert!(
                events
                    .iter()
                    .all(|event| text_of(event) == event.version.to_string()),
                "{query:?}"
            );
        }
    }
}

/// P12: An unknown stream is empty, not an error.
pub async fn unknown_stream_is_empty<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    store
        .append(append_to(&other_stream(), "elsewhere"))
        .await
        .expect("any version");
    assert_eq!(
        store
            .read_stream(StreamQuery::new(stream.clone()))
            .await
            .expect("not an error"),
        []
    );
    assert_eq!(
        store
            .read_stream(StreamQuery::new(stream.clone()).backwards())
            .await
            .expect("not an error"),
        []
    );
    for fingerprint in [None, Some(FINGERPRINT)] {
        let load = Load {
            fingerprint,
            ..Load::new(stream.clone())
        };
        assert_eq!(
            store.load(load).await.expect("not an error"),
            Loaded::default()
        );
    }
}

/// P13: `load` returns a snapshot and exactly the events after it.
pub async fn load_gives_a_snapshot_and_exactly_the_events_after_it<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let write = append().with_events(stream.clone(), Expected::Any, numbered_events(6));
    store
        .append(write.with_snapshot(snapshot(&stream, 4)))
        .await
        .expect("any version");

    let fresh = fixture.open().await;
    for (to, expected) in [
        (Version::MAX, vec![5, 6]),
        (Version::new(5), vec![5]),
        (Version::new(4), vec![]),
    ] {
        let loaded = loaded(&fresh, &stream, to).await;
        assert_eq!(
            loaded_versions(&loaded),
            expected,
            "exactly the events after the snapshot up to {to}"
        );
        let snapshot = loaded.snapshot.expect("there is a usable snapshot");
        assert_eq!(
            (snapshot.version, snapshot.payload),
            (Version::new(4), b"4".to_vec())
        );
    }
    let loaded = loaded(&fresh, &stream, Version::new(3)).await;
    assert_eq!(
        (loaded_versions(&loaded), loaded.snapshot),
        (vec![1, 2, 3], None)
    );
}

/// P13: `load` continues after a version, returns at most the requested events, and no snapshot at or before that version.
pub async fn load_goes_on_after_a_version_and_within_a_limit<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let write = append().with_events(stream.clone(), Expected::Any, numbered_events(9));
    store
        .append(write.with_snapshot(snapshot(&stream, 4)))
        .await
        .expect("any version");

    let fresh = fixture.open().await;
    for (after, limit, shown, expected) in [
        (0, 2, Some(4), vec![5, 6]),
        (0, 0, Some(4), vec![]),
        (3, usize::MAX, Some(4), vec![5, 6, 7, 8, 9]),
        (4, 3, None, vec![5, 6, 7]),
        (7, 3, None, vec![8, 9]),
        (9, 1, None, vec![]),
        (50, 1, None, vec![]),
    ] {
        let load = Load::new(stream.clone())
            .after(Version::new(after))
            .limit(limit);
        let found = fresh
            .load(load.clone().with_snapshot(FINGERPRINT))
            .await
            .expect("a stream can be loaded");
        let version = found
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.version.as_u64());
        assert_eq!(
            (version, loaded_versions(&found)),
            (shown, expected),
            "{limit} after {after}"
        );
        let plain = fresh.load(load).await.expect("a stream can be loaded");
        let expected: Vec<_> = (after + 1..=9).take(limit).collect();
        assert_eq!(
            (plain.snapshot.is_none(), loaded_versions(&plain)),
            (true, expected),
            "{limit} after {after}"
        );
    }
}

/// P13: `load` returns one consistent view, also during appends.
pub async fn load_is_one_consistent_view_while_others_append<F: Fixture>(fixture: &F) {
    let stream = stream();
    let writing = Arc::new(AtomicBool::new(true));
    let written = Arc::new(AtomicU64::new(0));

    let loaders = [fixture.open().await, fixture.open().await].map(|store| {
        let stream = stream.clone();
        let writing = Arc::clone(&writing);
        let written = Arc::clone(&written);

        tokio::spawn(async move {
            while writing.load(Ordering::SeqCst) {
                let known = written.load(Ordering::SeqCst);
                assert_contiguous(&loaded(&store, &stream, Version::MAX).await, known);
                tokio::task::yield_now().await;
            }
        })
    });
    let store = fixture.open().await;
    for version in 1..=150 {
        let expected = Expected::Exact(Version::new(version - 1));
        let mut append =
            append().with_events(stream.clone(), expected, vec![event(&version.to_string())]);
        if version % 3 == 0 {
            append = append.with_snapshot(snapshot(&stream, version));
        }
        store
            .append(append)
            .await
            .expect("there is no other writer");
        written.store(version, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    writing.store(false, Ordering::SeqCst);
    finished::<F, _>(loaders.into()).await;
}

fn assert_contiguous(loaded: &Loaded, known: u64) {
    let start = loaded.snapshot.as_ref().map_or(0, |snapshot| {
        assert_eq!(
            snapshot.payload,
            snapshot.version.to_string().into_bytes(),
            "the snapshot shows its version"
        );
        snapshot.version.as_u64()
    });
    let versions = loaded_versions(loaded);
    let end = start + versions.len() as u64;
    assert!(
        versions.iter().copied().eq(start + 1..=end),
        "snapshot at {start}, then {versions:?}"
    );
    assert!(
        end >= known,
        "version {known} had been acknowledged, loaded up to {end}"
    );
}

/// P14: Streams with the same id and different categories are different streams.
pub async fn same_id_in_different_categories_is_different_streams<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let one = stream();

    let two = StreamId::new(OTHER_CATEGORY, one.id);
    for (stream, text) in [(&one, "one"), (&two, "two")] {
        let create = append().with_events(
            stream.clone(),
            Expected::NoStream,
            vec![event(text), event(text)],
        );
        store
            .append(create.with_snapshot(snapshot(stream, 1)))
            .await
            .expect("a stream of its own");
    }
    store
        .append(append().with_snapshot(snapshot(&two, 2)))
        .await
        .expect("a snapshot alone");
    for (stream, text, snapshot_version) in [(&one, "one", 1), (&two, "two", 2)] {
        let events = stream_of(&store, stream).await;
        assert_eq!(
            (texts_of(&events), versions_of(&events)),
            (vec![text.to_owned(); 2], vec![1, 2])
        );
        assert!(events.iter().all(|event| event.stream == *stream));
        let snapshot = loaded(&store, stream, Version::MAX)
            .await
            .snapshot
            .expect("there is a snapshot");
        assert_eq!(snapshot.version, Version::new(snapshot_version));
    }
}
