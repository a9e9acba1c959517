//! P6, P7 and P11: a repeated command is not carried out again.

use std::sync::Arc;

use eventsourcing_core::store::{
    Appended, AuditStore, CommandId, EventStore, Expected, Position, Version,
};

use super::assertions::{
    Picture, assert_conflict, assert_invalid, head_of, log_of, stream_of, text_of, texts_of,
    tracking_of, versions_of,
};
use super::builders::{
    FOLLOWER, append, append_to, event, numbered_events, other_stream, snapshot, step_from, stream,
};
use super::concurrency::{Start, drop_midway, open_many, race, within};
use super::{Fixture, FollowerFixture};
use crate::Seed;

/// P6: A command id seen before returns the first receipt and writes nothing — in the same process and in another.
pub async fn repeated_command_returns_the_first_receipt_and_writes_nothing<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();

    let with_events = CommandId::new();
    let with_tracking = CommandId::new();

    let write = append_to(&stream, "once").with_command_id(with_events);
    let step = append()
        .with_tracking(step_from(0, store.log_id()).to(9))
        .with_command_id(with_tracking);
    let first = store
        .append(write.clone())
        .await
        .expect("the command is new");
    let first_step = store
        .append(step.clone())
        .await
        .expect("the command is new");
    assert!(
        !first.repeated && !first_step.repeated,
        "nothing is repeated yet"
    );
    assert_eq!(first.receipt.command_id, Some(with_events));
    assert_eq!(first.receipt.position, head_of(&store).await);
    assert_eq!(
        first_step.receipt.position, first.receipt.position,
        "no event, and what was there before"
    );

    let before = Picture::with_follower(&store, &[&stream]).await;
    for store in [&store, &fixture.open().await] {
        let again = store
            .append(write.clone())
            .await
            .expect("a repeated command is answered");
        assert_eq!(again, Appended::repeated(first.receipt));
        let again = store
            .append(step.clone())
            .await
            .expect("a repeated command is answered");
        assert_eq!(again, Appended::repeated(first_step.receipt));
    }
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
}

/// P6: A command id seen before returns the first receipt even when the expected version is stale by now.
pub async fn repeated_command_is_recognised_when_its_expectation_is_stale<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let stream = stream();
    let id = CommandId::new();

    let create = append()
        .with_events(stream.clone(), Expected::NoStream, numbered_events(2))
        .with_command_id(id);
    let first = store
        .append(create.clone())
        .await
        .expect("the command is new");
    store
        .append(append_to(&stream, "later"))
        .await
        .expect("any version");
    let step = append_to(&stream, "even later").with_tracking(step_from(0, store.log_id()).to(4));
    store.append(step).await.expect("any version");

    let other_content =
        append_to(&stream, "something else").with_tracking(step_from(0, store.log_id()).to(2));
    for retry in [create, other_content.with_command_id(id)] {
        let again = fixture
            .open()
            .await
            .append(retry)
            .await
            .expect("a repeated command is answered");
        assert_eq!(again, Appended::repeated(first.receipt));
    }
    assert_eq!(
        texts_of(&stream_of(&store, &stream).await),
        ["1", "2", "later", "even later"]
    );
}

/// P6: The receipt of a command that was carried out can be read; there is none of any other command.
pub async fn receipt_of_a_command_can_be_read<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let carried_out = CommandId::new();
    let step = CommandId::new();
    let refused = CommandId::new();

    let appended = store
        .append(append_to(&stream, "1").with_command_id(carried_out))
        .await
        .expect("any version");
    let stale = append()
        .with_events(stream.clone(), Expected::NoStream, vec![event("2")])
        .with_command_id(refused);
    assert_conflict(store.append(stale).await, &stream, Version::FIRST);
    let step_alone = append()
        .with_tracking(step_from(0, store.log_id()).to(9))
        .with_command_id(step);
    let stepped = store
        .append(step_alone)
        .await
        .expect("a step alone is allowed");
    for store in [&store, &fixture.open().await] {
        let receipt = async |id| store.receipt(id).await.expect("receipts can be read");
        assert_eq!(receipt(carried_out).await, Some(appended.receipt));
        assert_eq!(
            receipt(step).await,
            Some(stepped.receipt),
            "also without an event"
        );
        assert_eq!(
            (receipt(refused).await, receipt(CommandId::new()).await),
            (None, None)
        );
    }
}

/// P6: Receipts are listed in the order of their command ids: at most `limit` receipts after a given id.
pub async fn receipts_are_listed_in_the_order_of_their_commands<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let mut rng = Seed::from_env().rng(0);

    let unknown = store
        .receipts(None, 10)
        .await
        .expect("receipts can be listed");
    assert!(unknown.is_empty(), "nothing was carried out: {unknown:?}");
    let mut expected = Vec::new();
    for _ in 0..20 {
        let id = CommandId::from_uuid(uuid::Uuid::from_u128(rng.u128(..)));
        let append = append_to(&stream(), "1").with_command_id(id);
        expected.push(store.append(append).await.expect("any version").receipt);
        store
            .append(append_to(&stream(), "of no command"))
            .await
            .expect("any version");
    }
    expected.sort_by_key(|receipt| receipt.command_id);
    for store in [&store, &fixture.open().await] {
        let listed = async |after, limit| {
            store
                .receipts(after, limit)
                .await
                .expect("receipts can be listed")
        };
        assert_eq!(listed(None, usize::MAX).await, expected);
        assert_eq!(listed(None, 3).await, expected[..3]);
        for (index, receipt) in expected.iter().enumerate() {
            let end = expected.len().min(index + 4);
            assert_eq!(
                listed(receipt.command_id, 3).await,
                expected[index + 1..end],
                "after {index}"
            );
        }
    }
}

/// P6: A refused append leaves no trace of its command id: the command can be tried again with the same id.
pub async fn refused_command_can_be_tried_again<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let id = CommandId::new();

    let stale = append()
        .with_events(stream.clone(), Expected::Exists, vec![event("1")])
        .with_command_id(id);
    assert_conflict(store.append(stale).await, &stream, Version::ZERO);
    let beyond = append_to(&stream, "1")
        .with_snapshot(snapshot(&stream, 2))
        .with_command_id(id);
    assert_invalid(store.append(beyond).await, "a snapshot beyond its stream");

    let appended = store
        .append(append_to(&stream, "1").with_command_id(id))
        .await
        .expect("any version");
    assert!(!appended.repeated, "it was not carried out before");
    assert_eq!(texts_of(&stream_of(&store, &stream).await), ["1"]);
}

/// P7: Two appends with the same new command id at the same time: one writes, both get the same receipt.
pub async fn simultaneous_appends_of_one_command_write_once<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    for round in 0..30 {
        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let expected = if round % 3 == 0 {
            Expected::Any
        } else {
            Expected::Exact(Version::new(round))
        };
        let append = append()
            .with_events(stream.clone(), expected, vec![event(&round.to_string())])
            .with_command_id(CommandId::new());
        let racers = (0..6).map(|racer| {
            let store = Arc::clone(&stores[racer % stores.len()]);
            let append = append.clone();

            async move {
                store
                    .append(append)
                    .await
                    .expect("one writes, all others repeat")
            }
        });
        let answers = race::<F, _>(start, racers).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.receipt == answers[0].receipt),
            "one receipt: {answers:?}"
        );
        assert_eq!(
            answers.iter().filter(|answer| !answer.repeated).count(),
            1,
            "one writes: {answers:?}"
        );
        assert_eq!(answers[0].receipt.position, head_of(&stores[0]).await);
    }
    assert_eq!(
        versions_of(&stream_of(&fixture.open().await, &stream).await),
        (1..=30).collect::<Vec<_>>()
    );
}

/// P11: If the future is dropped at any await the append has happened as a whole or not at all, and a retry with its command id
/// shows the outcome.
pub async fn dropped_append_happened_wholly_or_not_at_all<F: FollowerFixture>(fixture: &F) {
    let mut rng = Seed::from_env().rng(0);
    let store = fixture.open().await;
    let fresh = fixture.open().await;

    let one = stream();
    let two = other_stream();

    for round in 0..60_u64 {
        let text = round.to_string();
        let append = append()
            .with_events(
                one.clone(),
                Expected::Exact(Version::new(round)),
                vec![event(&text)],
            )
            .with_events(two.clone(), Expected::Any, vec![event(&text)])
            .with_tracking(step_from(round, store.log_id()).to(round + 1))
            .with_command_id(CommandId::new());
        drop_midway(store.append(append.clone()), &mut rng).await;

        let retry = within::<F, _>("the retry of a dropped append", store.append(append)).await;
        let appended = retry.expect("a retry is answered, whatever became of the first try");
        for stream in [&one, &two] {
            let events = stream_of(&fresh, stream).await;
            assert_eq!(
                events.len() as u64,
                round + 1,
                "each command is there exactly once on {stream}"
            );
            assert_eq!(text_of(&events[round as usize]), text);
        }
        assert_eq!(
            tracking_of(&fresh, &FOLLOWER, store.log_id()).await,
            Position::new(round + 1)
        );
        assert_eq!(head_of(&fresh).await, appended.receipt.position);
    }
    assert_eq!(log_of(&store).await.len(), 120);
}
