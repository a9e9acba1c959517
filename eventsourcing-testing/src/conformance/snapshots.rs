//! P24 and P25: snapshots shorten loading and change nothing else.

use eventsourcing_core::store::{
    EventStore, Expected, Fingerprint, Load, Loaded, StreamId, Version,
};

use super::Fixture;
use super::assertions::{Picture, assert_invalid, loaded, loaded_versions, version_of};
use super::builders::{
    append, append_to, numbered_events, other_stream, snapshot, snapshot_by, stream,
};

/// P24: The newest snapshot at or before the requested version is found.
pub async fn newest_snapshot_not_beyond_the_asked_version_is_found<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    store
        .append(append().with_events(stream.clone(), Expected::Any, numbered_events(10)))
        .await
        .expect("any version");
    // Snapshots are written out of order, because the newest is the one of the highest version.
    let append = append()
        .with_snapshot(snapshot(&stream, 9))
        .with_snapshot(snapshot(&stream, 3));
    store.append(append).await.expect("snapshots alone");
    store
        .append(self::append().with_snapshot(snapshot(&stream, 6)))
        .await
        .expect("a snapshot alone");

    let fresh = fixture.open().await;
    for (to, expected) in [
        (2, None),
        (3, Some(3)),
        (5, Some(3)),
        (6, Some(6)),
        (8, Some(6)),
        (9, Some(9)),
        (50, Some(9)),
    ] {
        let loaded = loaded(&fresh, &stream, Version::new(to)).await;
        assert_eq!(
            loaded
                .snapshot
                .as_ref()
                .map(|snapshot| snapshot.version.as_u64()),
            expected,
            "asked for version {to}"
        );
        let after_snapshot: Vec<_> = (expected.unwrap_or(0) + 1..=to.min(10)).collect();
        assert_eq!(
            loaded_versions(&loaded),
            after_snapshot,
            "asked for version {to}"
        );
    }
}

/// P24: A snapshot with another fingerprint is ignored, even if both have the same version.
pub async fn snapshot_with_another_fingerprint_is_ignored<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let old = Fingerprint(0);
    let new = Fingerprint(u64::MAX);

    store
        .append(append().with_events(stream.clone(), Expected::Any, numbered_events(4)))
        .await
        .expect("any version");
    for (fingerprint, version) in [(old, 2), (new, 2), (new, 4), (old, 3)] {
        let append = append().with_snapshot(snapshot_by(fingerprint, &stream, version));
        store.append(append).await.expect("a snapshot alone");
    }
    let fresh = fixture.open().await;
    for (fingerprint, to, expected) in [
        (Some(old), 4, Some(3)),
        (Some(old), 2, Some(2)),
        (Some(new), 4, Some(4)),
        (Some(new), 3, Some(2)),
        (Some(Fingerprint(1)), 4, None),
        (None, 4, None),
    ] {
        let load = Load {
            fingerprint,
            ..Load::new(stream.clone()).to(Version::new(to))
        };
        let loaded = fresh
            .load(load.clone())
            .await
            .expect("a stream can be loaded");
        assert_eq!(
            loaded
                .snapshot
                .as_ref()
                .map(|snapshot| snapshot.version.as_u64()),
            expected,
            "{load:?}"
        );
        assert_eq!(
            loaded_versions(&loaded),
            (expected.unwrap_or(0) + 1..=to).collect::<Vec<_>>(),
            "{load:?}"
        );
    }
}

/// P24: A snapshot beyond its stream, or at version 0, is `Invalid` and nothing is written.
pub async fn snapshot_beyond_its_stream_is_invalid_and_writes_nothing<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let unknown = other_stream();

    store
        .append(append_to(&stream, "1"))
        .await
        .expect("any version");
    let before = Picture::of(&store, &[&stream, &unknown]).await;
    for beyond in [
        snapshot(&stream, 0),
        snapshot(&stream, 2),
        snapshot(&unknown, 1),
    ] {
        assert_invalid(
            store.append(append().with_snapshot(beyond)).await,
            "a snapshot beyond its stream",
        );
    }
    let two_more = append().with_events(stream.clone(), Expected::Any, numbered_events(2));
    let beyond = two_more.clone().with_snapshot(snapshot(&stream, 4));
    assert_invalid(
        store.append(beyond).await,
        "a snapshot beyond what the append adds",
    );
    assert_eq!(
        before,
        Picture::of(&fixture.open().await, &[&stream, &unknown]).await,
        "nothing may be written"
    );

    store
        .append(two_more.with_snapshot(snapshot(&stream, 3)))
        .await
        .expect("the append itself reaches version 3");
    assert_eq!(version_of(&store, &stream).await, Version::new(3));
}

/// P25: Losing all snapshots changes no result.
pub async fn losing_all_snapshots_changes_no_result<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    for version in 1..=12 {
        let mut append = append_to(&stream, &version.to_string());
        if version % 5 == 0 {
            append = append.with_snapshot(snapshot(&stream, version));
        }
        store.append(append).await.expect("any version");
    }
    for to in (0..=13).map(Version::new) {
        let without = without_snapshots(&store, &stream, to).await;
        assert_eq!(without.snapshot, None, "no snapshot was asked for");
        assert_eq!(
            loaded_versions(&without),
            (1..=to.as_u64().min(12)).collect::<Vec<_>>()
        );
        assert_eq!(
            fold(&loaded(&store, &stream, to).await),
            fold(&without),
            "the state at version {to}"
        );
    }
    assert!(
        loaded(&store, &stream, Version::MAX)
            .await
            .snapshot
            .is_some(),
        "a snapshot took part"
    );
}

async fn without_snapshots(store: &impl EventStore, stream: &StreamId, to: Version) -> Loaded {
    let load = Load::new(stream.clone()).to(to);
    store.load(load).await.expect("a stream can be loaded")
}

/// Returns the sum of the versions that are shown. The payload of an event is its version, and that of a snapshot is the version
/// it shows, which stands for all versions up to it.
fn fold(loaded: &Loaded) -> u64 {
    let number = |payload: &[u8]| {
        String::from_utf8_lossy(payload)
            .parse::<u64>()
            .expect("payloads are numbers")
    };
    let shown = loaded
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| (1..=number(&snapshot.payload)).sum());
    shown
        + loaded
            .events
            .iter()
            .map(|event| number(&event.payload))
            .sum::<u64>()
}
