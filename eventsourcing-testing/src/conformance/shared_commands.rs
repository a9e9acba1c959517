//! P6, P7 and P9 for commands that share an append: each is answered as if it had an append of its own.

use std::sync::Arc;

use eventsourcing_core::store::{
    Append, Appended, AuditStore, COMMANDS_PER_APPEND_MAX, CommandId, EventStore, Expected,
    Position, Receipt, ReceiptKind, SharedAnswer, SharedCommand, StoreError, StreamId, Version,
};

use super::assertions::{
    Picture, assert_conflict, assert_invalid, head_of, log_of, newest_of, stream_of, texts_of,
};
use super::builders::{
    append, append_to, event, numbered_events, other_stream, snapshot, step_from, stream,
};
use super::concurrency::{Start, open_many, race};
use super::{DurableFixture, Fixture, FollowerFixture};
use crate::Seed;

fn shared(answer: SharedAnswer) -> SharedCommand {
    let id = CommandId::new();
    SharedCommand { id, answer }
}

fn recorded(last_event: usize) -> SharedCommand {
    shared(SharedAnswer::Recorded { last_event })
}

/// Five commands of every kind on two streams; the second event belongs to none, and the last command is not the last to be named.
fn commands_of_every_kind() -> Vec<SharedCommand> {
    vec![
        recorded(0),
        shared(SharedAnswer::NothingRecorded),
        recorded(4),
        shared(SharedAnswer::Rejected),
        recorded(2),
    ]
}

fn five_events(one: &StreamId, other: &StreamId) -> Append {
    append()
        .with_events(one.clone(), Expected::NoStream, numbered_events(3))
        .with_events(other.clone(), Expected::Any, numbered_events(2))
}

async fn receipt_of(store: &impl EventStore, id: CommandId) -> Option<Receipt> {
    store.receipt(id).await.expect("receipts can be read")
}

/// The receipts of the commands that were answered before, of which the refusal of an append speaks.
fn repeated(answer: Result<Appended, StoreError>) -> Vec<Receipt> {
    match answer {
        Err(StoreError::Repeated { receipts }) => receipts,
        other => panic!("a command of the append was answered before: {other:?}"),
    }
}

/// P6: Each of several commands that share an append gets a receipt of its own, as if it had been appended alone.
pub async fn commands_that_share_an_append_have_receipts_of_their_own<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let one = stream();
    let other = other_stream();
    store
        .append(append_to(&other, "earlier"))
        .await
        .expect("any version");
    let commands = commands_of_every_kind();
    let appended = store
        .append(five_events(&one, &other).with_shared_commands(commands.clone()))
        .await
        .expect("all commands are new");
    let positions: Vec<_> = log_of(&store).await[1..]
        .iter()
        .map(|event| event.position)
        .collect();
    let receipt = |kind, position, command_id| Receipt {
        log: store.log_id(),
        kind,
        position,
        command_id,
    };
    let expected: Vec<_> = commands
        .iter()
        .map(|SharedCommand { id, answer }| match answer {
            SharedAnswer::Recorded { last_event } => {
                receipt(answer.kind(), positions[*last_event], Some(*id))
            }
            _ => receipt(answer.kind(), positions[4], Some(*id)),
        })
        .collect();
    assert_eq!(
        appended,
        Appended {
            receipt: receipt(ReceiptKind::Recorded, positions[4], None),
            repeated: false,
            shared: expected.clone(),
        }
    );

    store
        .append(append_to(&one, "later"))
        .await
        .expect("any version");
    let mut sorted = expected.clone();
    sorted.sort_by_key(|receipt| receipt.command_id);
    for store in [&store, &fixture.open().await] {
        let listed = store.receipts(None, usize::MAX).await;
        assert_eq!(listed.expect("receipts can be listed"), sorted);
        for (SharedCommand { id, .. }, receipt) in commands.iter().zip(&expected) {
            assert_eq!(receipt_of(store, *id).await, Some(*receipt));
            let again = append_to(&one, "something else").with_command_id(*id);
            assert_eq!(
                store
                    .append(again)
                    .await
                    .expect("a repeated command is answered"),
                Appended::repeated(*receipt)
            );
        }
    }
    assert_eq!(
        texts_of(&stream_of(&store, &one).await),
        ["1", "2", "3", "later"]
    );
}

/// P6: Commands may share an append without events, and each stands for what was there.
pub async fn commands_that_share_an_append_need_no_event<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    for events in 0..2 {
        let commands = vec![
            shared(SharedAnswer::NothingRecorded),
            shared(SharedAnswer::Rejected),
        ];
        let appended = store
            .append(append().with_shared_commands(commands.clone()))
            .await
            .expect("commands may be all that an append carries");
        let newest = newest_of(&store).await;
        assert_eq!(appended.receipt.kind, ReceiptKind::NothingRecorded);
        assert_eq!(appended.receipt.position, newest, "after {events} events");
        for (SharedCommand { id, answer }, receipt) in commands.iter().zip(&appended.shared) {
            assert_eq!((receipt.kind, receipt.position), (answer.kind(), newest));
            assert_eq!(receipt_of(&store, *id).await, Some(*receipt));
        }
        store
            .append(append_to(&stream, "an event"))
            .await
            .expect("any version");
    }
}

/// P6: If one of several commands was answered before, nothing of the append is written, and the refusal has the first receipts, so
/// that the caller can answer those and send the others again.
pub async fn repeated_command_refuses_the_append_it_shares<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let one = stream();
    let other = other_stream();
    let early = CommandId::new();
    let rejected = CommandId::new();
    let first = store
        .append(append_to(&one, "early").with_command_id(early))
        .await
        .expect("the command is new")
        .receipt;
    let second = store
        .append(append().with_rejected_command(rejected))
        .await
        .expect("the command is new")
        .receipt;
    let new = recorded(0);
    let nothing = shared(SharedAnswer::NothingRecorded);
    let named = |id, last_event| SharedCommand {
        id,
        answer: SharedAnswer::Recorded { last_event },
    };
    let before = Picture::with_follower(&store, &[&one, &other]).await;
    for (expected, streams) in [
        (Expected::Any, 2),
        (Expected::NoStream, 2),
        (Expected::Any, 1),
    ] {
        let mut append = append()
            .with_events(one.clone(), expected, numbered_events(2))
            .with_events(other.clone(), Expected::Any, numbered_events(1))
            .with_tracking(step_from(0, store.log_id()).to(7))
            .with_snapshot(snapshot(&one, 1));
        append.streams.truncate(streams);
        let store = fixture.open().await;
        let commands = vec![new, named(rejected, 1), nothing];
        let refused = append.clone().with_shared_commands(commands);
        assert_eq!(repeated(store.append(refused).await), [second]);
        let commands = vec![nothing, named(rejected, 0), new, named(early, 1)];
        let commands = commands.into_iter().filter(|command| command.id != new.id);
        let refused = append.with_shared_commands(commands.collect());
        assert_eq!(repeated(store.append(refused).await), [second, first]);
        assert_eq!(
            before,
            Picture::with_follower(&store, &[&one, &other]).await,
            "nothing may be written"
        );
        for id in [new.id, nothing.id] {
            assert_eq!(receipt_of(&store, id).await, None, "it was not carried out");
        }
    }
    let rest = append_to(&other, "the rest").with_shared_commands(vec![new, nothing]);
    let appended = store.append(rest.clone()).await.expect("these are new");
    assert_eq!(
        repeated(store.append(rest).await),
        appended.shared,
        "by now all of them were answered before"
    );
    assert_eq!(texts_of(&stream_of(&store, &other).await), ["the rest"]);
}

/// P6: An append that is refused has carried out none of the commands that share it.
pub async fn refused_append_answers_none_of_the_commands_that_share_it<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let one = stream();
    let other = other_stream();
    let commands = commands_of_every_kind();
    let stale = five_events(&one, &other)
        .with_guard(stream(), Expected::Exists)
        .with_shared_commands(commands.clone());
    let guarded = stale.streams[2].stream.clone();
    assert_conflict(store.append(stale).await, &guarded, Version::ZERO);
    for SharedCommand { id, .. } in &commands {
        assert_eq!(receipt_of(&store, *id).await, None);
    }
    let appended = store
        .append(five_events(&one, &other).with_shared_commands(commands))
        .await
        .expect("none of them has been seen");
    assert_eq!(appended.shared.len(), 5);
    assert_eq!(head_of(&store).await, appended.receipt.position);
}

/// P7: Of appends at the same time that share commands each command is carried out by one, and has one receipt.
pub async fn simultaneous_appends_that_share_a_command_carry_it_out_once<F: Fixture>(fixture: &F) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 3).await;
    let mut carried_out = 0;
    for round in 0..30 {
        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let common = [CommandId::new(), CommandId::new()];
        let streams = [stream(), stream()];
        let racers = (0..6).map(|racer| {
            let store = Arc::clone(&stores[racer % stores.len()]);
            let own = CommandId::new();
            // Half of them name the commands, and write to the streams, in the other order.
            let order = if racer % 2 == 0 { [0, 1] } else { [1, 0] };
            let ids = [common[order[0]], own, common[order[1]]];
            let command = |(last_event, id)| SharedCommand {
                id,
                answer: SharedAnswer::Recorded { last_event },
            };
            let append = append()
                .with_events(
                    streams[order[0]].clone(),
                    Expected::Any,
                    vec![event("first"), event("own")],
                )
                .with_events(
                    streams[order[1]].clone(),
                    Expected::Any,
                    vec![event("last")],
                )
                .with_shared_commands((0..).zip(ids).map(command).collect());
            async move { (own, store.append(append).await) }
        });
        let answers = race::<F, _>(start, racers).await;
        let written: Vec<_> = answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().ok())
            .collect();
        assert_eq!(written.len(), 1, "one is carried out: {answers:?}");
        for (own, answer) in &answers {
            let receipt = receipt_of(&*stores[0], *own).await;
            if answer.is_ok() {
                assert_eq!(receipt, Some(written[0].shared[1]));
                continue;
            }
            assert_eq!(receipt, None, "nothing of the others is carried out");
            let Err(StoreError::Repeated { receipts }) = answer else {
                panic!("the others have been told that commands were answered before: {answer:?}");
            };
            let first = |receipt: &Receipt| written[0].shared.contains(receipt);
            assert!(
                receipts.len() == 2 && receipts.iter().all(first),
                "both receipts are those of the one that was carried out: {answers:?}"
            );
        }
        carried_out += 3;
        assert_eq!(log_of(&*stores[0]).await.len(), carried_out);
    }
}

/// P9: Several commands that cannot share an append.
pub async fn commands_that_cannot_share_an_append_are_invalid<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();
    let command = recorded(0);
    let invalid = [
        (
            "one command twice",
            vec![
                command,
                SharedCommand {
                    answer: SharedAnswer::Rejected,
                    ..command
                },
            ],
        ),
        ("an event that is not there", vec![recorded(1)]),
        (
            "two commands that end with one event",
            vec![recorded(0), recorded(0)],
        ),
        (
            "too many commands",
            (0..=COMMANDS_PER_APPEND_MAX)
                .map(|_| shared(SharedAnswer::NothingRecorded))
                .collect(),
        ),
    ];
    for (what, commands) in invalid {
        let id = commands[0].id;
        let append = append_to(&stream, "1").with_shared_commands(commands);
        assert_invalid(store.append(append).await, what);
        assert_eq!(receipt_of(&store, id).await, None, "{what}");
    }
    assert_invalid(
        store
            .append(append().with_shared_commands(Vec::new()))
            .await,
        "no event and no command",
    );
    assert_eq!(stream_of(&fixture.open().await, &stream).await, []);
    assert_eq!(newest_of(&store).await, Position::ZERO);
}

/// P6: Commands that have shared an append are recognised after a restart.
pub async fn commands_that_shared_an_append_are_recognised_after_a_restart<F: DurableFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let one = stream();
    let other = other_stream();
    let commands = commands_of_every_kind();
    let append = five_events(&one, &other).with_shared_commands(commands.clone());
    let first = store
        .append(append.clone())
        .await
        .expect("all commands are new");
    fixture.crash(store).await;

    let store = fixture.open().await;
    assert_eq!(repeated(store.append(append).await), first.shared);
    for (SharedCommand { id, .. }, receipt) in commands.iter().zip(first.shared) {
        let again = store
            .append(append_to(&one, "something else").with_command_id(*id))
            .await;
        assert_eq!(
            again.expect("a repeated command is answered"),
            Appended::repeated(receipt)
        );
    }
    assert_eq!(head_of(&store).await, first.receipt.position);
}
