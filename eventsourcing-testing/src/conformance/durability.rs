//! P27 to P29: data that outlives the process, the meaning of errors, and the opening of a store.

use std::collections::HashSet;
use std::sync::Arc;

use eventsourcing_core::store::{
    Append, Appended, CommandId, EventStore, Expected, StoreError, StreamId, Version,
};

use super::assertions::{
    Picture, assert_conflict, assert_invalid, assert_tracking_conflict, log_of, positions_of,
    texts_of,
};
use super::builders::{
    FOLLOWER, append, append_to, event, numbered_events, other_stream, snapshot, step_from, stream,
};
use super::concurrency::{finished, within};
use super::writer::be_refused_in_every_way;
use super::{DurableFixture, FollowerFixture};

/// P27: Acknowledged appends are readable after a crash, and the log continues after them.
pub async fn acknowledged_appends_survive_a_crash<F: DurableFixture>(fixture: &F) {
    let mut acknowledged = HashSet::new();
    for life in 0..4_u64 {
        let store = Arc::new(fixture.open().await);
        let log = log_of(&*store).await;
        assert_eq!(
            texts_of(&log).into_iter().collect::<HashSet<_>>(),
            acknowledged,
            "at the start of life {life}"
        );
        let writers = (0..3).map(|writer| {
            tokio::spawn(write_a_few(Arc::clone(&store), format!("{life} {writer}")))
        });
        acknowledged.extend(
            finished::<F, _>(writers.collect())
                .await
                .into_iter()
                .flatten(),
        );
        let last = format!("{life} last");
        let step = step_from(life, store.log_id())
            .to(life + 1)
            .with_note("last", &last)
            .with_note(&last, "");
        store
            .append(append_to(&stream(), &last).with_tracking(step))
            .await
            .expect("the step is kept from life to life");
        acknowledged.insert(last);

        let before = Picture::with_follower(&*store, &[]).await;
        let store = Arc::into_inner(store).expect("the writers have ended");
        fixture.crash(store).await;
        let after = Picture::with_follower(&fixture.open().await, &[]).await;
        assert_eq!(before, after, "everything acknowledged survives the crash");
    }
}

async fn write_a_few(store: Arc<impl EventStore>, writer: String) -> Vec<String> {
    let stream = stream();
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let text = format!("{writer} {number}");
        let expected = Expected::Exact(Version::new(number));
        let append = append().with_events(stream.clone(), expected, vec![event(&text)]);
        store
            .append(append.with_snapshot(snapshot(&stream, number + 1)))
            .await
            .expect("there is no other writer");
        acknowledged.push(text);
    }
    acknowledged
}

/// P6: A command id seen before returns the first receipt and writes nothing after a restart too.
pub async fn repeated_command_is_recognised_after_a_restart<F: DurableFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let create = append().with_events(stream.clone(), Expected::NoStream, numbered_events(2));
    let create = create.with_command_id(CommandId::new());
    let first = store
        .append(create.clone())
        .await
        .expect("the command is new");
    store
        .append(append_to(&stream, "later"))
        .await
        .expect("any version");
    fixture.crash(store).await;

    let store = fixture.open().await;
    let again = store
        .append(create)
        .await
        .expect("a repeated command is answered");
    assert_eq!(again, Appended::repeated(first.receipt));
    assert_eq!(texts_of(&log_of(&store).await), ["1", "2", "later"]);
}

/// P19: A position is never used twice, also after a restart that follows failed appends.
pub async fn position_is_never_used_twice_after_a_restart<F: DurableFixture>(fixture: &F) {
    let stream = stream();
    let mut used = Vec::new();
    for life in 0..4 {
        let store = fixture.open().await;
        let position = store
            .append(append_to(&stream, &life.to_string()))
            .await
            .expect("any version")
            .receipt
            .position;
        assert!(
            used.last() < Some(&position),
            "{position} is not beyond {used:?}"
        );
        used.push(position);
        be_refused_in_every_way(&store, &stream).await;
        fixture.crash(store).await;
    }
    assert_eq!(
        positions_of(&log_of(&fixture.open().await).await),
        used,
        "events stand where their receipts say"
    );
}

/// P28: Errors are true: after `Conflict` and `Invalid` nothing was written, and the attempt left no trace.
pub async fn refused_append_leaves_no_trace<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let there = stream();
    let missing = other_stream();

    let start = append().with_events(there.clone(), Expected::Any, numbered_events(3));
    let step = step_from(0, store.log_id()).to(2);
    store
        .append(start.with_snapshot(snapshot(&there, 2)).with_tracking(step))
        .await
        .expect("any version");
    let before = Picture::with_follower(&store, &[&there, &missing]).await;
    let id = CommandId::new();
    for (what, refused) in refusals(&store, &there, &missing) {
        let result = store.append(refused.with_command_id(id)).await;
        match what {
            Refusal::Conflict(stream, actual) => {
                assert_conflict(result, stream, Version::new(actual));
            }
            Refusal::TrackingConflict => assert_tracking_conflict(result, &FOLLOWER, 2),
            Refusal::Invalid(what) => assert_invalid(result, what),
        }
        let after = Picture::with_follower(&fixture.open().await, &[&there, &missing]).await;
        assert_eq!(before, after, "nothing may be written");
    }
    let appended = store
        .append(append_to(&missing, "at last").with_command_id(id))
        .await
        .expect("any version");
    assert!(
        !appended.repeated,
        "refused commands have not been carried out"
    );
}

enum Refusal<'a> {
    Conflict(&'a StreamId, u64),
    TrackingConflict,
    Invalid(&'static str),
}

/// Returns appends that each have one fault, and much else that a broken store could write.
fn refusals<'a>(
    store: &impl EventStore,
    there: &'a StreamId,
    missing: &'a StreamId,
) -> [(Refusal<'a>, Append); 5] {
    let step = |from: u64| append().with_tracking(step_from(from, store.log_id()).to(from + 4));
    let full = |from, of_there, of_missing| {
        step(from)
            .with_events(there.clone(), of_there, numbered_events(2))
            .with_events(missing.clone(), of_missing, numbered_events(2))
            .with_snapshot(snapshot(there, 5))
    };
    let at_three = Expected::Exact(Version::new(3));
    let none = Expected::NoStream;

    [
        (
            Refusal::Conflict(there, 3),
            full(2, Expected::NoStream, none),
        ),
        (
            Refusal::Conflict(missing, 0),
            full(2, at_three, Expected::Exists),
        ),
        (Refusal::TrackingConflict, full(0, at_three, none)),
        (
            Refusal::Invalid("a snapshot beyond"),
            full(2, at_three, none).with_snapshot(snapshot(missing, 3)),
        ),
        (
            Refusal::Invalid("a stream named twice"),
            full(2, at_three, none).with_guard(there.clone(), at_three),
        ),
    ]
}

/// P29: Opening a store creates its schema and is safe when many processes do it at once.
pub async fn many_may_open_a_new_place_at_once<F: DurableFixture>(_: &F) {
    for _ in 0..5 {
        let place = Arc::new(F::new().await);
        let opening = (0..6).map(|number| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                let store = place
                    .try_open()
                    .await
                    .expect("opening is safe when many do it at once");
                store
                    .append(append_to(&stream(), &number.to_string()))
                    .await
                    .expect("the store is ready");
                store.log_id()
            })
        });
        let log_ids = finished::<F, _>(opening.collect()).await;
        assert!(
            log_ids.iter().all(|id| *id == log_ids[0]),
            "all have opened the same log: {log_ids:?}"
        );
        assert_eq!(
            log_of(&place.open().await).await.len(),
            6,
            "what each has written is there"
        );
    }
}

/// P29: Opening a store again changes nothing.
pub async fn opening_again_changes_nothing<F: DurableFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let log_id = fixture.open().await.log_id();

    let step = step_from(0, log_id).to(2);
    let write = append()
        .with_events(stream.clone(), Expected::Any, numbered_events(3))
        .with_tracking(step);
    store
        .append(write.with_snapshot(snapshot(&stream, 2)))
        .await
        .expect("any version");
    let before = Picture::with_follower(&store, &[&stream]).await;
    fixture.crash(store).await;
    for _ in 0..2 {
        let store = fixture
            .try_open()
            .await
            .expect("a place can be opened again");
        assert_eq!(store.log_id(), log_id, "it is the same log");
        assert_eq!(Picture::with_follower(&store, &[&stream]).await, before);
        fixture.crash(store).await;
    }
}

/// P29: Opening refuses a newer schema with a clear error, and leaves it unchanged.
pub async fn newer_schema_is_refused_and_left_alone<F: DurableFixture>(fixture: &F) {
    let store = fixture.open().await;
    store
        .append(append_to(&stream(), "kept"))
        .await
        .expect("any version");
    fixture.crash(store).await;
    fixture.make_newer().await;
    for _ in 0..2 {
        match within::<F, _>("opening a newer schema", fixture.try_open()).await {
            Ok(_) => panic!("a newer schema must be refused; it was opened"),
            Err(StoreError::Unavailable { reason, .. }) => {
                panic!("waiting does not help against a newer schema: {reason}")
            }
            Err(error) => assert!(
                error.to_string().contains("newer"),
                "the error must say so: {error}"
            ),
        }
    }
}

/// P29: Opening a store never touches foreign tables.
pub async fn foreign_tables_are_left_alone<F: DurableFixture>(fixture: &F) {
    fixture.put_foreign_table().await;
    let before = fixture.foreign_table().await;
    assert!(
        !before.is_empty(),
        "the fixture must show the foreign table"
    );
    let store = fixture.try_open().await.expect("the place can be opened");
    store
        .append(append_to(&stream(), "ours"))
        .await
        .expect("any version");
    fixture.crash(store).await;
    let store = fixture.try_open().await.expect("the place can be opened");
    assert_eq!(texts_of(&log_of(&store).await), ["ours"]);
    assert_eq!(
        fixture.foreign_table().await,
        before,
        "the foreign table has changed"
    );
}

/// P29: A store that must exist is not created where there is none, and nothing else is created either.
pub async fn store_that_must_exist_is_never_made<F: DurableFixture>(fixture: &F) {
    for _ in 0..2 {
        assert_no_store(fixture.try_open_existing().await);
    }
    fixture.put_foreign_table().await;
    let before = fixture.foreign_table().await;
    for _ in 0..2 {
        assert_no_store(fixture.try_open_existing().await);
    }
    assert_eq!(
        fixture.foreign_table().await,
        before,
        "the foreign table has changed"
    );

    let store = fixture.open().await;
    store
        .append(append_to(&stream(), "ours"))
        .await
        .expect("any version");
    let existing = fixture
        .try_open_existing()
        .await
        .expect("there is a store by now");
    assert_eq!(existing.log_id(), store.log_id(), "it is the same log");
    assert_eq!(texts_of(&log_of(&existing).await), ["ours"]);
}

fn assert_no_store<S>(opened: Result<S, StoreError>) {
    match opened {
        Ok(_) => panic!("there is no store; one was made"),
        Err(StoreError::NoStore { .. }) => {}
        Err(error) => panic!("the error must be NoStore: {error:?}"),
    }
}
