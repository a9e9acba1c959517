//! P6, P7 and P9: the contents of receipts, also of commands that recorded nothing or were rejected.

use std::sync::Arc;

use eventsourcing_core::store::{
    Append, Appended, AuditStore, CommandId, EventStore, Expected, NOTE_BYTES_MAX, Position,
    Receipt, ReceiptKind, StreamId, Version,
};

use super::assertions::{
    Picture, assert_conflict, assert_invalid, head_of, log_of, newest_of, stream_of, version_of,
};
use super::builders::{append, append_to, event, snapshot, step_from, stream};
use super::concurrency::{Start, open_many, race};
use super::{DurableFixture, Fixture, FollowerFixture};
use crate::Seed;

/// Returns appends without events that answer commands, each with the kind of its receipt.
fn answers_without_events(
    store: &impl EventStore,
    stream: &StreamId,
) -> Vec<(Append, ReceiptKind)> {
    let nothing = CommandId::new;
    let rejected = CommandId::new;

    let keeper = |command: CommandId| {
        step_from(0, store.log_id())
            .by(format!("refusal:{command}"))
            .to(0)
    };
    let noted = rejected();
    vec![
        (
            append().with_command_id(nothing()),
            ReceiptKind::NothingRecorded,
        ),
        (
            append()
                .with_guard(stream.clone(), Expected::Exists)
                .with_command_id(nothing()),
            ReceiptKind::NothingRecorded,
        ),
        (
            append()
                .with_snapshot(snapshot(stream, 1))
                .with_command_id(nothing()),
            ReceiptKind::NothingRecorded,
        ),
        (
            append()
                .with_tracking(keeper(nothing()))
                .with_command_id(nothing()),
            ReceiptKind::NothingRecorded,
        ),
        (
            append().with_rejected_command(rejected()),
            ReceiptKind::Rejected,
        ),
        (
            append()
                .with_guard(stream.clone(), Expected::Exists)
                .with_rejected_command(rejected()),
            ReceiptKind::Rejected,
        ),
        (
            append()
                .with_tracking(keeper(noted).with_note("refusal", "no"))
                .with_rejected_command(noted),
            ReceiptKind::Rejected,
        ),
    ]
}

/// Appends an event and then every answer without events, and returns the appends with their receipts.
async fn answer_in_every_way(store: &impl EventStore, stream: &StreamId) -> Vec<(Append, Receipt)> {
    let write = append_to(stream, "an event").with_command_id(CommandId::new());
    let written = store
        .append(write.clone())
        .await
        .expect("any version")
        .receipt;
    assert_eq!(written.kind, ReceiptKind::Recorded);
    let mut answers = vec![(write, written)];
    for (append, kind) in answers_without_events(store, stream) {
        let Appended {
            receipt, repeated, ..
        } = store.append(append.clone()).await.expect("it is sound");
        assert!(!repeated, "the command is new: {append:?}");
        assert_eq!(
            (receipt.kind, receipt.command_id),
            (kind, append.commands.only()),
            "of {append:?}"
        );
        answers.push((append, receipt));
    }
    answers
}

/// P6: Every receipt names the log of its position, and its kind: events recorded, nothing recorded, or command rejected. The
/// receipt is the same in the answer, when it is read or listed, and after a repetition, whatever the repeated append carries.
pub async fn receipts_say_their_log_and_their_kind<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let answers = answer_in_every_way(&store, &stream).await;
    let unnamed = store
        .append(append_to(&stream, "unnamed"))
        .await
        .expect("any version")
        .receipt;
    assert_eq!(
        (unnamed.log, unnamed.kind),
        (store.log_id(), ReceiptKind::Recorded)
    );

    let before = Picture::with_follower(&store, &[&stream]).await;
    for store in [&store, &fixture.open().await] {
        let listed = store
            .receipts(None, usize::MAX)
            .await
            .expect("receipts can be listed");
        assert_eq!(
            listed.len(),
            answers.len(),
            "each command has one receipt: {listed:?}"
        );
        for (append, receipt) in &answers {
            let id = append.commands.only().expect("all are commands");
            assert_eq!(receipt.log, store.log_id());
            assert!(listed.contains(receipt), "{receipt:?} is listed");
            assert_eq!(
                store.receipt(id).await.expect("receipts can be read"),
                Some(*receipt)
            );
            let with_event = append_to(&stream, "something else").with_command_id(id);
            let rejected = self::append().with_rejected_command(id);
            for other in [
                append.clone(),
                self::append().with_command_id(id),
                rejected,
                with_event,
            ] {
                let again = store
                    .append(other)
                    .await
                    .expect("a repeated command is answered");
                assert_eq!(again, Appended::repeated(*receipt));
            }
        }
    }
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[&stream]).await,
        "nothing may be written"
    );
}

/// P6: The position of a receipt without an event is that of the last visible event: all events that the decision has read are
/// at or before it.
pub async fn receipt_without_events_stands_for_what_was_there<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let empty = store
        .append(append().with_command_id(CommandId::new()))
        .await
        .expect("a command alone is allowed");
    assert_eq!(
        (empty.receipt.kind, empty.receipt.position),
        (ReceiptKind::NothingRecorded, Position::ZERO)
    );
    for number in 0..3 {
        let written = store
            .append(append_to(&stream, "an event"))
            .await
            .expect("any version")
            .receipt;
        let stale = append().with_events(stream.clone(), Expected::NoStream, vec![event("late")]);
        assert_conflict(store.append(stale).await, &stream, Version::new(number + 1));
        for (append, _) in answers_without_events(&store, &stream) {
            let receipt = store.append(append).await.expect("it is sound").receipt;
            assert_eq!(receipt.position, written.position, "{receipt:?}");
            assert_eq!(
                newest_of(&store).await,
                receipt.position,
                "and no position was used"
            );
        }
        let unnamed = store
            .append(append().with_snapshot(snapshot(&stream, 1)))
            .await
            .expect("a snapshot alone");
        assert_eq!(
            unnamed.receipt.position,
            Position::ZERO,
            "no command has been decided"
        );
    }
}

/// P6: The guard of a command that records nothing is checked, and a refused append leaves no trace of its command id.
pub async fn command_that_records_nothing_honours_its_guards<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let id = CommandId::new();

    let guarded = |expected| {
        append()
            .with_guard(stream.clone(), expected)
            .with_command_id(id)
    };
    assert_conflict(
        store.append(guarded(Expected::Exists)).await,
        &stream,
        Version::ZERO,
    );
    assert_eq!(store.receipt(id).await.expect("receipts can be read"), None);
    store
        .append(append_to(&stream, "1"))
        .await
        .expect("any version");
    assert_conflict(
        store.append(guarded(Expected::NoStream)).await,
        &stream,
        Version::FIRST,
    );
    let answered = store
        .append(guarded(Expected::Exact(Version::FIRST)))
        .await
        .expect("it is as expected");
    assert_eq!(
        (answered.repeated, answered.receipt.kind),
        (false, ReceiptKind::NothingRecorded)
    );
}

/// P7: Concurrent answers of different kinds to one command: one is stored, and all get its receipt.
pub async fn simultaneous_answers_to_one_command_are_one<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let stream = stream();
    let mut events = 0;
    for round in 0..30 {
        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let id = CommandId::new();
        let answers = [
            append_to(&stream, "an event").with_command_id(id),
            append().with_command_id(id),
            append().with_rejected_command(id),
        ];
        let racers = (0..6).map(|racer| {
            let store = Arc::clone(&stores[(racer / 2) % stores.len()]);
            let append = answers[racer % 3].clone();

            async move {
                store
                    .append(append)
                    .await
                    .expect("one is stored, all others repeat it")
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
            "one is stored: {answers:?}"
        );
        events += u64::from(answers[0].receipt.kind == ReceiptKind::Recorded);
        assert_eq!(
            version_of(&*stores[0], &stream).await.as_u64(),
            events,
            "the others have written nothing"
        );
        assert_eq!(answers[0].receipt.position, head_of(&*stores[0]).await);
    }
}

/// P6: A rejection that was kept is read back as it was given, the first one counts, and no other command has one.
pub async fn kept_rejection_comes_back_unchanged<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let largest = "r".repeat(NOTE_BYTES_MAX);
    let texts = ["", "{\"left\":3}", "no \u{1} \u{1f512} 'quoted'", &largest];
    let kept = texts.map(|text| (CommandId::new(), text));
    for (id, text) in kept {
        let first = store
            .append(append().with_rejection(id, text))
            .await
            .expect("the command is new");
        assert_eq!(first.receipt.kind, ReceiptKind::Rejected);
        let other = append().with_rejection(id, "another reason");
        let again = store.append(other).await.expect("it was answered before");
        assert_eq!(again, Appended::repeated(first.receipt));
    }
    let carried_out = CommandId::new();
    let write = append_to(&stream(), "1").with_command_id(carried_out);
    let first = store.append(write).await.expect("the command is new");
    let too_late = append().with_rejection(carried_out, "too late");
    let again = store
        .append(too_late)
        .await
        .expect("it was answered before");
    assert_eq!(again, Appended::repeated(first.receipt));
    let without_text = CommandId::new();
    store
        .append(append().with_rejected_command(without_text))
        .await
        .expect("the command is new");

    let fresh = fixture.open().await;
    for (id, text) in kept {
        assert_eq!(rejection_of(&fresh, id).await.as_deref(), Some(text));
    }
    for id in [carried_out, without_text, CommandId::new()] {
        assert_eq!(rejection_of(&fresh, id).await, None);
    }
}

async fn rejection_of(store: &impl EventStore, id: CommandId) -> Option<String> {
    store.rejection(id).await.expect("rejections can be read")
}

/// P9: A rejection that is kept has neither an event nor a step, no NUL character, and is within the limit of a note.
pub async fn rejection_with_more_than_its_text_is_invalid<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let id = CommandId::new();
    let keep = |append: Append| append.with_rejection(id, "no");
    let step = step_from(0, store.log_id()).to(1);
    let mut without_command = append_to(&stream(), "1");
    without_command.rejection = Some("no".to_owned());
    for (append, what) in [
        (keep(append_to(&stream(), "1")), "a rejection with an event"),
        (
            keep(append().with_tracking(step)),
            "a rejection with a step",
        ),
        (without_command, "a rejection without a command"),
        (append().with_rejection(id, "no\0"), "a rejection with NUL"),
        (
            append().with_rejection(id, "r".repeat(NOTE_BYTES_MAX + 1)),
            "a rejection beyond the limit",
        ),
    ] {
        assert_invalid(store.append(append).await, what);
    }
    let receipt = store.receipt(id).await.expect("receipts can be read");
    assert_eq!(receipt, None, "nothing may be written");
    assert_eq!(rejection_of(&store, id).await, None);
    assert_eq!(log_of(&store).await, []);
}

/// P9: A rejection has no event.
pub async fn rejection_with_events_is_invalid<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let id = CommandId::new();
    let with_event = append_to(&stream, "1").with_rejected_command(id);
    assert_invalid(store.append(with_event).await, "a rejection with an event");
    assert_eq!(stream_of(&fixture.open().await, &stream).await, []);
    assert_eq!(store.receipt(id).await.expect("receipts can be read"), None);
}

/// P6: Receipts of every kind are unchanged after a restart.
pub async fn receipts_of_every_kind_survive_a_restart<F: DurableFixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    let answers = answer_in_every_way(&store, &stream).await;
    store
        .append(append_to(&stream, "later"))
        .await
        .expect("any version");
    fixture.crash(store).await;

    let store = fixture.open().await;
    for (append, receipt) in answers {
        let id = append.commands.only().expect("all are commands");
        assert_eq!(
            store.receipt(id).await.expect("receipts can be read"),
            Some(receipt)
        );
        let again = store
            .append(append_to(&stream, "something else").with_command_id(id))
            .await;
        assert_eq!(
            again.expect("a repeated command is answered"),
            Appended::repeated(receipt)
        );
    }
}
