//! P30: the notes of followers are written with their steps, and read as of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventsourcing_core::store::{
    CommandId, EventStore, Expected, FollowerNotes, FollowerStore, HolderId, LeaseRequest,
    LeaseToken, LogId, NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX, Name, NotesQuery, Position, Revision,
    StoreError, Tracking,
};

use super::FollowerFixture;
use super::assertions::{
    Picture, assert_invalid, assert_tracking_conflict, notebook_of, stream_of,
};
use super::builders::{FOLLOWER, append, append_to, other_stream, snapshot, step_from, stream};
use super::concurrency::{Start, finished, open_many, race};
use crate::Seed;

async fn make(store: &impl FollowerStore, step: Tracking) {
    store
        .append(append().with_tracking(step))
        .await
        .expect("the step can be made");
}

/// Returns the notes of the usual follower that match `query`.
async fn notes_of(
    store: &impl FollowerStore,
    query: impl FnOnce(NotesQuery) -> NotesQuery,
) -> Vec<(String, String)> {
    let query = query(NotesQuery::new(FOLLOWER, store.log_id(), ""));
    store
        .notes(query)
        .await
        .expect("notes can be read")
        .notes
        .into_iter()
        .collect()
}

fn notes<const N: usize>(notes: [(&str, &str); N]) -> BTreeMap<String, String> {
    notes
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// P30: Notes are written with the step that carries them, or neither is.
pub async fn notes_are_written_with_their_step_or_not_at_all<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let fresh = fixture.open().await;
    let stream = stream();

    let log_id = store.log_id();
    assert_eq!(
        notebook_of(&store, &FOLLOWER, log_id).await,
        FollowerNotes::default(),
        "the follower has made no step yet"
    );
    let first = step_from(0, log_id)
        .to(3)
        .with_note("parked", "1")
        .with_note("timer", "2");
    store
        .append(append_to(&stream, "work").with_tracking(first))
        .await
        .expect("the follower starts at 0");
    let written = FollowerNotes {
        position: Position::new(3),
        revision: Revision::new(1),
        notes: notes([("parked", "1"), ("timer", "2")]),
        ..FollowerNotes::default()
    };
    assert_eq!(notebook_of(&fresh, &FOLLOWER, log_id).await, written);

    let before = Picture::with_follower(&fresh, &[&stream]).await;
    let step = |from: u64| {
        step_from(from, log_id)
            .to(5)
            .with_note("parked", "wrong")
            .without_note("timer")
    };
    let work = |from| append_to(&stream, "work").with_tracking(step(from));
    assert!(
        store
            .append(work(3).with_guard(other_stream(), Expected::Exists))
            .await
            .is_err(),
        "no such stream"
    );
    assert_invalid(
        store
            .append(work(3).with_snapshot(snapshot(&stream, 9)))
            .await,
        "a snapshot beyond its stream",
    );
    assert_tracking_conflict(store.append(work(2)).await, &FOLLOWER, 3);
    let unleased = append_to(&stream, "work").with_tracking(step(3).with_lease(LeaseToken::new(9)));
    let unleased = store.append(unleased).await;
    assert!(
        matches!(unleased, Err(StoreError::LeaseLost { .. })),
        "there is no lease, but {unleased:?}"
    );
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
}

/// P30: A step that expects another revision is refused and writes nothing, also where the follower is at `from`.
pub async fn step_at_an_outdated_revision_is_refused_and_writes_nothing<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();

    let step = |from: u64, to, revision| {
        let step = step_from(from, store.log_id())
            .to(to)
            .with_revision(Revision::new(revision));
        append_to(&stream, "work").with_tracking(step.with_note("last", revision.to_string()))
    };
    assert_tracking_conflict(store.append(step(0, 4, 1)).await, &FOLLOWER, 0);
    store
        .append(step(0, 4, 0))
        .await
        .expect("a follower that was never seen has made no step");
    store
        .append(step(4, 4, 1))
        .await
        .expect("one step was made");
    let before = Picture::with_follower(&store, &[&stream]).await;
    for revision in [0, 1, 3, Position::MAX.as_u64()] {
        assert_tracking_conflict(store.append(step(4, 4, revision)).await, &FOLLOWER, 4);
        assert_tracking_conflict(store.append(step(4, 9, revision)).await, &FOLLOWER, 4);
    }
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
    store
        .append(step(4, 9, 2))
        .await
        .expect("two steps were made");
    assert_eq!(
        notes_of(&store, |all| all).await,
        [("last".to_owned(), "2".to_owned())]
    );
}

/// P30: Every step adds one to the revision: with notes or without, forwards or in place. A refused or repeated step does not.
pub async fn every_step_adds_one_to_the_revision<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let log_id = store.log_id();
    let id = CommandId::new();
    let steps = [
        step_from(0, log_id).to(7),
        step_from(7, log_id).to(7),
        step_from(7, log_id).to(7).with_note("key", "value"),
        step_from(7, log_id).to(8).without_note("key"),
        step_from(8, log_id).to(100),
    ];
    for (number, step) in (1..).zip(steps) {
        let to = step.to;
        let step = append()
            .with_tracking(step)
            .with_command_id(if number == 5 { id } else { CommandId::new() });
        store.append(step).await.expect("the follower is there");
        assert!(
            store
                .append(append().with_tracking(step_from(3, log_id).to(3)))
                .await
                .is_err(),
            "it is elsewhere"
        );
        let FollowerNotes {
            position, revision, ..
        } = notebook_of(&store, &FOLLOWER, log_id).await;
        assert_eq!(
            (position, revision),
            (to, Revision::new(number)),
            "after {number} steps"
        );
    }
    let repeated = append()
        .with_tracking(step_from(8, log_id).to(100))
        .with_command_id(id);
    store
        .append(repeated)
        .await
        .expect("a repeated command is answered");
    assert_eq!(
        notebook_of(&fixture.open().await, &FOLLOWER, log_id)
            .await
            .revision,
        Revision::new(5)
    );
}

/// P30: A note replaces the previous one of its key. Removing a missing note is harmless.
pub async fn note_that_is_put_replaces_and_one_that_is_missing_may_be_removed<
    F: FollowerFixture,
>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let step = || step_from(0, store.log_id()).to(0);
    make(
        &store,
        step()
            .without_note("never there")
            .without_note("nor this")
            .with_note("a", "1"),
    )
    .await;
    make(
        &store,
        step()
            .with_note("a", "2")
            .with_note("b", "1")
            .with_note("c", "1"),
    )
    .await;
    make(
        &store,
        step()
            .with_note("a", "3")
            .without_note("b")
            .without_note("d"),
    )
    .await;
    make(&store, step()).await;
    let notebook = notebook_of(&fixture.open().await, &FOLLOWER, store.log_id()).await;
    assert_eq!(notebook.notes, notes([("a", "3"), ("c", "1")]));
    make(
        &store,
        step()
            .with_note("b", "4")
            .without_note("a")
            .without_note("c"),
    )
    .await;
    make(&store, step().with_note("a", "")).await;
    assert_eq!(
        notebook_of(&store, &FOLLOWER, store.log_id()).await.notes,
        notes([("a", ""), ("b", "4")])
    );
}

/// P30: A query returns the notes whose keys begin with a prefix and come after a key: at most `limit`, in the order of the bytes
/// of their keys.
pub async fn notes_are_read_in_order_by_prefix_after_a_key_and_so_many<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let mut keys = hard_keys();
    let step = keys
        .iter()
        .fold(step_from(0, store.log_id()).to(1), |step, key| {
            step.with_note(key, key)
        });
    make(&store, step).await;
    keys.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));

    let mut prefixes = vec![
        String::new(),
        "no such".to_owned(),
        "parked/".to_owned(),
        "\u{10ffff}".to_owned(),
    ];
    prefixes.extend(
        keys.iter()
            .filter_map(|key| key.chars().next())
            .map(String::from),
    );
    prefixes.extend(keys.iter().cloned());
    for prefix in &prefixes {
        let expected: Vec<_> = keys
            .iter()
            .filter(|key| key.starts_with(prefix.as_str()))
            .collect();
        let found = notes_of(&store, |all| NotesQuery {
            prefix: prefix.clone(),
            ..all
        })
        .await;
        assert!(
            found.iter().all(|(key, value)| key == value),
            "each note has a value of its own"
        );
        assert_eq!(
            found.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            expected,
            "notes that begin with {prefix:?}"
        );
        assert_eq!(
            pages(&store, prefix, 3).await,
            found,
            "the same in pages, of {prefix:?}"
        );
    }
    for after in keys.iter().chain(&prefixes) {
        let expected: Vec<_> = keys
            .iter()
            .filter(|key| key.as_bytes() > after.as_bytes())
            .take(2)
            .collect();
        let found = notes_of(&store, |all| all.after(after).limit(2)).await;
        assert_eq!(
            found.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            expected,
            "two notes after {after:?}"
        );
    }
    let none = NotesQuery::new(FOLLOWER, store.log_id(), "").limit(0);
    let none = store.notes(none).await.expect("notes can be read");
    assert_eq!(
        (none.position, none.revision.as_u64(), none.notes.len()),
        (Position::new(1), 1, 0)
    );
}

/// Keys that a store must not treat as patterns, nor sort by a collation or by UTF-16.
fn hard_keys() -> Vec<String> {
    let mut keys: Vec<_> = [
        "parked/",
        "parked/1",
        "parked/10",
        "parked/2",
        "parked0",
        "Parked/1",
        "parke",
        "park%d",
        "par_ed",
    ]
    .into_iter()
    .chain([
        "%",
        "_",
        "\\",
        "'",
        "*",
        "?",
        "[a-z]",
        " ",
        "  spaced ",
        "\u{1}",
        "caf\u{e9}",
        "cafe\u{301}",
        "cafe",
    ])
    .chain([
        "\u{7f}",
        "\u{80}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{ffff}",
        "\u{ffff}\u{ffff}",
        "\u{10000}",
        "\u{1f600}",
    ])
    .chain([
        "\u{10ffff}",
        "\u{10ffff}\u{10ffff}",
        "a\u{10ffff}",
        "a\u{10ffff}b",
        "b",
    ])
    .map(str::to_owned)
    .collect();
    keys.push("k".repeat(NOTE_KEY_BYTES_MAX));
    keys
}

async fn pages(store: &impl FollowerStore, prefix: &str, limit: usize) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone()).unwrap_or_default();
        let page = notes_of(store, |all| {
            NotesQuery {
                prefix: prefix.to_owned(),
                ..all
            }
            .after(after)
            .limit(limit)
        })
        .await;
        if page.is_empty() {
            return found;
        }
        assert!(
            page.len() <= limit,
            "{} notes instead of {limit} at most",
            page.len()
        );
        found.extend(page);
    }
}

/// P30: Position, revision and notes are read as of one moment, also during steps of the follower.
pub async fn notebook_is_of_one_moment_while_the_follower_steps<F: FollowerFixture>(fixture: &F) {
    const STEPS: u64 = 60;
    let stores = open_many(fixture, 2).await;
    let writer = Arc::clone(&stores[0]);
    let log_id = stores[0].log_id();

    let steps = tokio::spawn(async move {
        for number in 0..STEPS {
            let here = number.to_string();
            let next = (number + 1).to_string();

            let step = step_from(number, log_id)
                .to(number + 1)
                .with_note("at", &next)
                .with_note(&next, "");
            make(&*writer, step.without_note(here)).await;
        }
    });
    let mut last = 0;
    while last < STEPS {
        for store in &stores {
            let FollowerNotes {
                position,
                revision,
                notes: found,
                ..
            } = notebook_of(&**store, &FOLLOWER, log_id).await;
            let at = position.to_string();
            let expected = if at == "0" {
                BTreeMap::new()
            } else {
                notes([("at", &at), (&at, "")])
            };
            assert_eq!(
                (revision.as_u64(), found),
                (position.as_u64(), expected),
                "at position {at}"
            );
            last = position.as_u64();
        }
        tokio::task::yield_now().await;
    }
    finished::<F, _>(vec![steps]).await;
}

/// P30: Notes of different followers, and of one follower in different logs, are independent.
pub async fn notes_of_different_followers_and_logs_are_independent<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let logs = [store.log_id(), LogId::new()];
    let places: Vec<_> = ["statements", "Statements", "statement"]
        .into_iter()
        .flat_map(|name| logs.map(|log| (name, log)))
        .collect();
    for (number, (follower, upstream)) in places.iter().enumerate() {
        let step = step_from(0, *upstream)
            .by(*follower)
            .to(0)
            .with_note("key", number.to_string());
        make(
            &store,
            step.with_note(number.to_string(), "own")
                .without_note((number + 1).to_string()),
        )
        .await;
    }
    let (forgetful, log) = places[2];
    make(
        &store,
        step_from(0, log)
            .by(forgetful)
            .to(0)
            .without_note("key")
            .without_note("2"),
    )
    .await;
    for (number, (follower, upstream)) in places.into_iter().enumerate() {
        let number = number.to_string();
        let own = notes([("key", &number), (&number, "own")]);
        let (revision, expected) = if number == "2" {
            (2, BTreeMap::new())
        } else {
            (1, own)
        };
        let found = notebook_of(&store, &Name::from(follower), upstream).await;
        assert_eq!(
            (found.revision.as_u64(), found.notes),
            (revision, expected),
            "{follower:?} in the log {upstream}"
        );
    }
}

/// P30: Keys and values come back byte for byte: empty values, every Unicode plane, 16 MiB.
pub async fn notes_come_back_unchanged<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let every_plane: String = (0..=16)
        .filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x1234))
        .collect();
    let large = every_plane.repeat(1024 * 1024 / every_plane.len());
    let values = [
        "",
        " spaced ",
        "\u{1}\t\r\n\u{feff}\u{202e}",
        "'; drop table notes; --",
        "{\"a\":\"\\u0000\"}",
        &large,
    ];
    let mut expected = BTreeMap::from([(
        every_plane.repeat(NOTE_KEY_BYTES_MAX / every_plane.len()),
        every_plane.clone(),
    )]);
    expected.extend(
        values
            .iter()
            .enumerate()
            .map(|(number, value)| (format!("{number} {every_plane}"), (*value).to_owned())),
    );
    expected.insert(
        "\u{10ffff}".repeat(NOTE_KEY_BYTES_MAX / 4),
        "the longest key".to_owned(),
    );
    expected.insert("largest".to_owned(), "n".repeat(NOTE_BYTES_MAX));
    let mut step = step_from(0, store.log_id()).to(1);
    step.notes = expected
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    make(&store, step).await;
    let found = notebook_of(&fixture.open().await, &FOLLOWER, store.log_id())
        .await
        .notes;
    assert!(
        found.keys().eq(expected.keys()),
        "the keys have changed: {:?}",
        found.keys()
    );
    for (key, value) in &expected {
        assert!(found[key] == *value, "the note {key:?} has changed");
    }
}

/// P30: Beyond the documented limits a step is `Invalid` and nothing is written.
pub async fn notes_beyond_the_limits_are_invalid_and_write_nothing<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();

    make(
        &store,
        step_from(0, store.log_id())
            .to(0)
            .with_note("there", "before"),
    )
    .await;
    let before = Picture::with_follower(&store, &[&stream]).await;
    let step = || {
        step_from(0, store.log_id())
            .to(1)
            .with_note("sound", "note")
    };
    for (what, step) in [
        ("an empty key", step().with_note("", "value")),
        ("an empty key to forget", step().without_note("")),
        ("a key with a NUL", step().with_note("k\0", "value")),
        (
            "a key that is too long",
            step().with_note("k".repeat(NOTE_KEY_BYTES_MAX + 1), "value"),
        ),
        (
            "a key with too many bytes",
            step().with_note("\u{e9}".repeat(NOTE_KEY_BYTES_MAX / 2 + 1), "value"),
        ),
        (
            "a key to forget that is too long",
            step().without_note("k".repeat(NOTE_KEY_BYTES_MAX + 1)),
        ),
        ("a value with a NUL", step().with_note("key", "v\0")),
        (
            "a value that is too large",
            step().with_note("key", "v".repeat(NOTE_BYTES_MAX + 1)),
        ),
    ] {
        assert_invalid(
            store
                .append(append_to(&stream, "work").with_tracking(step))
                .await,
            what,
        );
    }
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
}

/// P30: Exactly one of any number of concurrent steps at one revision succeeds, with a lease and without.
pub async fn of_concurrent_steps_at_one_revision_exactly_one_succeeds<F: FollowerFixture>(
    fixture: &F,
) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let log_id = stores[0].log_id();
    let stream = stream();

    let holder = HolderId::new();
    let duration = LeaseRequest::DURATION_MAX;

    let request = LeaseRequest {
        follower: FOLLOWER,
        upstream: log_id,
        holder,
        duration,
    };
    let lease = stores[0]
        .lease(request)
        .await
        .expect("leases can be asked for");
    let eventsourcing_core::store::Lease::Held { token, .. } = lease else {
        panic!("it is free, but {lease:?}")
    };
    for round in 0..20 {
        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let racers = (0..6_usize).map(|racer| {
            let step = step_from(5, log_id)
                .to(5)
                .with_revision(Revision::new(round + 1))
                .with_note("last", racer.to_string());
            let step = step.with_lease((racer % 2 == 0).then_some(token));
            let store = Arc::clone(&stores[racer % stores.len()]);
            let append = append_to(&stream, &racer.to_string());

            async move { store.append(append.with_tracking(step)).await }
        });
        if round == 0 {
            make(&*stores[0], step_from(0, log_id).to(5)).await;
        }
        let outcomes = race::<F, _>(start, racers).await;
        let winners: Vec<_> = (0..6_usize)
            .filter(|racer| outcomes[*racer].is_ok())
            .collect();
        assert_eq!(winners.len(), 1, "exactly one succeeds: {outcomes:?}");
        for lost in outcomes.into_iter().filter(Result::is_err) {
            assert_tracking_conflict(lost, &FOLLOWER, 5);
        }
        let found = notebook_of(&*stores[0], &FOLLOWER, log_id).await;
        assert_eq!(
            (found.revision.as_u64(), found.notes),
            (round + 2, notes([("last", &winners[0].to_string())]))
        );
    }
    assert_eq!(stream_of(&*stores[0], &stream).await.len(), 20);
}
