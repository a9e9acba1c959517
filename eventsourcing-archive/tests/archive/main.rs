//! Exports of a log to a file and imports of the file: every byte arrives at its place, and no import is half done.
#![allow(clippy::unwrap_used)]

#[path = "../../../eventsourcing-core/tests/domain/mod.rs"]
mod domain;
mod streams;

use std::io::Cursor;
use std::sync::Arc;

use domain::{FAILS_ON, Jar, JarEvent, NotEnough, Pantry, shelf};
use eventsourcing_archive::{ArchiveError, Exported, Imported, Stage, export, import};
use eventsourcing_core::store::{
    Append, AuditStore, CodecId, CommandId, EventStore, Expected, FollowerStore, LogQuery,
    MemoryStore, NewEvent, NotesQuery, Position, Receipt, ReceiptKind, SharedAnswer, SharedCommand,
    StoreError, StoredEvent, StreamId, Tracking,
};
use eventsourcing_core::{
    CommandError, Id, OnFailure, Runner, RunningSystem, SystemBuilder, SystemError,
};
use eventsourcing_testing::{Fault, FaultyStore, Operation, Seed};
use jiff::Timestamp;
use uuid::Uuid;

async fn exported(store: &(impl FollowerStore + Clone)) -> (Vec<u8>, Exported) {
    let mut file = Vec::new();
    let exported = export::<Pantry>(store.clone(), &mut file, |_| {})
        .await
        .unwrap();
    (file, exported)
}

async fn imported(
    store: &(impl FollowerStore + Clone),
    file: &[u8],
) -> Result<Imported, ArchiveError> {
    import(store.clone(), Cursor::new(file), |_| {}).await
}

async fn log(store: &dyn EventStore) -> Vec<StoredEvent> {
    let mut events = store
        .read_log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .unwrap()
        .events;
    events
        .iter_mut()
        .for_each(|event| event.position = Position::ZERO);
    events
}

fn event(codec: u8, payload: &[u8], metadata: &[u8]) -> NewEvent {
    let payload = payload.to_vec();
    let metadata = metadata.to_vec();

    NewEvent {
        name: "Happened \u{1F980}".into(),
        schema_version: 7,
        codec: CodecId(codec),
        payload,
        metadata,
    }
}

/// Payloads: valid JSON in several forms, and bytes that are not JSON.
fn odd_bytes() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "null",
        "{}",
        " {}",
        "{} ",
        "{ \"a\" : 1 }",
        "{\"b\":1,\"a\":2,\"a\":3}",
        "1e2",
        "[1.10]",
        "\"\\u00e9\"",
        "\"é\u{2028}\"",
        "{\"a\":\n1}",
        "12345678901234567890123",
        "nothing",
        "{\"a\":1}{",
        "\"\\ud800\"",
        "\u{feff}{}",
        "\"\u{7f}\"",
        "true",
        "\r\n",
    ];
    let mut all: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(vec![0xFF, 0x00, 0x80]);
    all.push((0..=255).collect());
    all
}

#[tokio::test]
async fn every_byte_of_every_event_comes_back() {
    let mut rng = Seed::from_env().rng(0);
    let store = MemoryStore::new();
    for number in 0..400 {
        let bytes = odd_bytes();
        let payload = &bytes[rng.usize(..bytes.len())];
        let metadata = &bytes[rng.usize(..bytes.len())];

        let at = Timestamp::from_microsecond(rng.i64(-1_000_000..2_000_000_000_000_000)).unwrap();
        let mut append = Append::new(at);
        for stream in 0..rng.u128(1..4) {
            let stream = StreamId::new(
                "Any \"category\"",
                Uuid::from_u128(stream * 1_000 + rng.u128(..3)),
            );
            let events = (0..rng.usize(1..4))
                .map(|_| event(number as u8 % 6, payload, metadata))
                .collect();
            append = append.with_events(stream, Expected::Any, events);
        }
        store.append(append).await.unwrap();
    }
    let (file, told) = exported(&store).await;
    assert_eq!(
        (told.events, told.head),
        (log(&store).await.len() as u64, store.head().await.unwrap())
    );
    let other = MemoryStore::new();
    let done = imported(&other, &file).await.unwrap();
    assert_eq!((done.events, done.events_before), (told.events, 0));
    assert_eq!(log(&other).await, log(&store).await);
}

async fn fill(pantry: &Pantry, beans: u32) -> Id<Jar> {
    pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans })
        .await
        .unwrap()
        .id
}

async fn start(store: impl FollowerStore, partitions: u32) -> RunningSystem<Pantry> {
    let builder = SystemBuilder::<Pantry>::new(store).with_runner(Runner::inline());
    let builder = builder
        .with_on_failure_default(OnFailure::Park)
        .with_partitions(Pantry::SHELVES, partitions);
    builder.start().await.unwrap()
}

async fn beans(pantry: &Pantry) -> (i64, u64) {
    let shelf = pantry.shelves.app.load(shelf()).await.unwrap();
    (shelf.beans, shelf.changes)
}

/// A pantry with processed, parked, waiting and discarded events.
async fn used_pantry(store: &MemoryStore, partitions: u32) {
    let pantry = start(store.clone(), partitions).await;
    for beans in 0..40 {
        let jar = fill(&pantry, if beans % 10 == 3 { FAILS_ON } else { beans }).await;
        pantry.jars.app.update(jar, |jar| jar.add(1)).await.unwrap();
    }
    let parking = pantry.parking(Pantry::SHELVES).unwrap();
    let parked = parking.list().await.unwrap();
    assert_eq!(parked.len(), 4);
    parking
        .discard(&parked[0].stream, "it is not needed")
        .await
        .unwrap();
    answer_without_events(&pantry).await;
    pantry.stop().await.unwrap();
}

/// More commands than one group of an import holds. They are rejected with a kept receipt, or record nothing.
async fn answer_without_events(pantry: &Pantry) {
    let jar = fill(pantry, 5).await;
    for beans in 10..80 {
        let command = pantry.jars.app.command(CommandId::new());
        let rejected = command
            .once(command.update(jar, |jar| jar.take(beans)))
            .await;
        assert!(matches!(
            rejected,
            Err(CommandError::Rejected(NotEnough { left: 5 }))
        ));
        let command = pantry.jars.app.command(CommandId::new());
        let nothing = command.update(jar, |_| None).await.unwrap();
        assert_eq!(nothing.kind, ReceiptKind::NothingRecorded);
    }
}

/// Returns the answers to commands that recorded no event, with their notes.
async fn answers_of(store: &dyn FollowerStore) -> Vec<(CommandId, ReceiptKind, Option<String>)> {
    let mut answers = Vec::new();
    let audit = store.audit().unwrap();
    for Receipt {
        kind, command_id, ..
    } in audit.receipts(None, usize::MAX).await.unwrap()
    {
        let command = command_id.unwrap();
        let query = NotesQuery::new(format!("refusal:{command}").into(), store.log_id(), "");
        let note = store.notes(query).await.unwrap().notes.remove("refusal");
        if kind != ReceiptKind::Recorded {
            answers.push((command, kind, note));
        }
    }
    answers
}

#[tokio::test]
async fn policies_go_on_behind_the_same_event_with_what_they_have_parked() {
    for partitions in [1, 3] {
        let store = MemoryStore::new();
        let other = MemoryStore::new();

        used_pantry(&store, partitions).await;
        let (file, told) = exported(&store).await;
        assert_eq!(
            told.followers.len(),
            if partitions == 1 { 1 } else { 4 },
            "and how many partitions there are"
        );
        imported(&other, &file).await.unwrap();

        let before = start(store.clone(), partitions).await;
        let after = start(other.clone(), partitions).await;

        assert_eq!(
            log(&store).await,
            log(&other).await,
            "no event is processed again"
        );
        assert!(after.verify().await.unwrap().agrees());
        let parked = before
            .parking(Pantry::SHELVES)
            .unwrap()
            .list()
            .await
            .unwrap();
        let still = after.parking(Pantry::SHELVES).unwrap();

        assert_eq!(still.list().await.unwrap(), parked);
        for pantry in [&before, &after] {
            let jar = Id::<Jar>::from_uuid(parked[0].stream.id);
            let edited = serde_json::json!({ "beans": 5 });
            pantry
                .parking(Pantry::SHELVES)
                .unwrap()
                .retry_edited(&jar.stream(), edited)
                .await
                .unwrap();
            fill(pantry, 1_000).await;
        }
        assert_eq!(beans(&before).await, beans(&after).await);
        assert!(after.verify().await.unwrap().agrees());
    }
}

#[tokio::test]
async fn what_a_policy_has_missed_it_has_missed_in_the_other_store_too() {
    let store = MemoryStore::new();
    let other = MemoryStore::new();

    used_pantry(&store, 1).await;
    let name = eventsourcing_core::store::Name::from_static("shelves");
    let position = store.tracking(&name, store.log_id()).await.unwrap();
    let wrong = r#"{"count":7,"digest":"0000000000000000000000000000002a"}"#;
    let step = Tracking::new("shelves", store.log_id(), position, position);
    let step = step.with_note(format!("figures/{:015}", 0), wrong);
    store
        .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
        .await
        .unwrap();
    assert!(
        !start(store.clone(), 1)
            .await
            .verify()
            .await
            .unwrap()
            .agrees()
    );
    let (file, _) = exported(&store).await;
    imported(&other, &file).await.unwrap();
    let was = start(store, 1).await;
    let is = start(other, 1).await;

    let noted = async |pantry: &RunningSystem<Pantry>| {
        let verification = pantry.verify().await.unwrap();
        let difference = verification.differences().next().unwrap().clone();
        (difference.expected, difference.noted)
    };
    assert_eq!(noted(&was).await, noted(&is).await);
}

#[tokio::test]
async fn an_import_that_stops_anywhere_goes_on_and_nothing_starts_meanwhile() {
    let store = MemoryStore::new();
    used_pantry(&store, 3).await;
    let (file, _) = exported(&store).await;
    let counting = Arc::new(FaultyStore::new(MemoryStore::new()));
    imported(&counting, &file).await.unwrap();
    let appends = counting.calls(Operation::Append);
    assert!(appends > 50, "{appends}");
    for nth in 1..=appends {
        let fault = if nth % 2 == 0 {
            Fault::Unavailable
        } else {
            Fault::LostReply
        };
        let other = MemoryStore::new();
        let faulty = FaultyStore::new(other.clone()).with_fault(Operation::Append, nth, fault);
        let error = imported(&Arc::new(faulty), &file).await.unwrap_err();
        assert!(
            matches!(error, ArchiveError::Store(StoreError::Unavailable { .. })),
            "{error}"
        );
        let is_finished = nth == appends && fault == Fault::LostReply;
        if !is_finished {
            let builder =
                SystemBuilder::<Pantry>::new(other.clone()).with_partitions(Pantry::SHELVES, 3);
            let refused = builder.start().await.err();
            assert!(
                matches!(refused, Some(SystemError::ImportUnfinished)),
                "after {nth}: {refused:?}"
            );
            imported(&other, &file).await.unwrap();
        }
        assert_eq!(
            log(&other).await,
            log(&store).await,
            "stopped at append {nth}"
        );
        assert_eq!(
            answers_of(&other).await,
            answers_of(&store).await,
            "stopped at append {nth}"
        );
        let pantry = start(other, 3).await;
        assert!(pantry.verify().await.unwrap().agrees());
        assert_eq!(log(pantry.jars.app.store()).await, log(&store).await);
    }
}

#[tokio::test]
async fn only_an_empty_store_is_filled_and_only_once() {
    let store = MemoryStore::new();
    used_pantry(&store, 1).await;
    let (file, _) = exported(&store).await;
    let error = imported(&store, &file).await.unwrap_err();
    assert!(matches!(error, ArchiveError::NotEmpty { .. }), "{error}");
    let other = MemoryStore::new();
    imported(&other, &file).await.unwrap();
    let error = imported(&other, &file).await.unwrap_err().to_string();
    assert_eq!(error, "this archive is in the store already");

    let half = MemoryStore::new();
    let another = MemoryStore::new();

    let faulty =
        FaultyStore::new(half.clone()).with_fault(Operation::Append, 5, Fault::Unavailable);
    imported(&Arc::new(faulty), &file).await.unwrap_err();
    let (other_file, _) = exported(&another).await;
    let error = imported(&half, &other_file).await.unwrap_err().to_string();
    assert!(
        error.contains("it has another archive, whose import is not finished"),
        "{error}"
    );
    imported(&half, &file).await.unwrap();
}

#[tokio::test]
async fn a_store_whose_policies_run_is_not_filled() {
    let store = MemoryStore::new();
    used_pantry(&store, 1).await;
    let (file, _) = exported(&store).await;
    let other = MemoryStore::new();
    let running = SystemBuilder::<Pantry>::new(other.clone())
        .with_runner(Runner::concurrent())
        .start()
        .await
        .unwrap();
    while running
        .health()
        .await
        .unwrap()
        .followers
        .iter()
        .all(|follower| follower.holder.is_none())
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let error = imported(&other, &file).await.unwrap_err();
    assert!(
        matches!(&error, ArchiveError::AtWork { follower } if *follower == *"shelves"),
        "{error}"
    );
    running.stop().await.unwrap();
    imported(&other, &file).await.unwrap();
}

#[tokio::test]
async fn a_command_that_is_repeated_after_the_move_is_recognised() {
    let store = MemoryStore::new();
    let other = MemoryStore::new();

    let pantry = start(store.clone(), 1).await;
    let jar = fill(&pantry, 1).await;
    let mut commands = Vec::new();
    for beans in 1..30 {
        let command = CommandId::new();
        pantry
            .jars
            .app
            .command(command)
            .update(jar, |jar| jar.add(beans))
            .await
            .unwrap();
        if beans % 3 == 0 {
            fill(&pantry, 1).await;
        }
        commands.push((command, beans));
    }
    pantry.stop().await.unwrap();
    let (file, _) = exported(&store).await;
    imported(&other, &file).await.unwrap();
    let pantry = start(other.clone(), 1).await;
    for (command, beans) in commands {
        let was = store.receipt(command).await.unwrap().unwrap();
        let is = other.receipt(command).await.unwrap().unwrap();
        assert_eq!(
            is,
            Receipt {
                log: other.log_id(),
                ..was
            }
        );
        let again = pantry
            .jars
            .app
            .command(command)
            .update(jar, |jar| jar.add(beans))
            .await
            .unwrap();
        assert_eq!(again, is);
    }
    assert_eq!(log(&other).await, log(&store).await);
}

/// A debit is rejected, money arrives, and the client repeats the command in the other store.
#[tokio::test]
async fn rejections_that_were_kept_and_commands_that_recorded_nothing_are_answered_alike_after_the_move()
 {
    let store = MemoryStore::new();
    let other = MemoryStore::new();

    let pantry = start(store.clone(), 1).await;
    let jar = fill(&pantry, 3).await;
    let rejected = CommandId::new();
    let nothing = CommandId::new();

    let fill_up = |jar: &Jar| (jar.beans < 3).then_some(JarEvent::Added { beans: 1 });
    let ask = async |pantry: &Pantry| {
        let take = pantry.jars.app.command(rejected);
        let taken: Result<Receipt, CommandError<NotEnough>> =
            take.once(take.update(jar, |jar| jar.take(5))).await;
        let filled = pantry
            .jars
            .app
            .command(nothing)
            .update(jar, fill_up)
            .await
            .unwrap();
        (format!("{taken:?}"), filled.kind)
    };
    let first = ask(&pantry).await;
    assert!(
        first.0.contains("NotEnough { left: 3 }") && first.1 == ReceiptKind::NothingRecorded,
        "{first:?}"
    );
    pantry.jars.app.update(jar, |jar| jar.add(8)).await.unwrap();
    assert_eq!(ask(&pantry).await, first);
    pantry.stop().await.unwrap();

    let (file, told) = exported(&store).await;
    let done = imported(&other, &file).await.unwrap();
    assert_eq!((told.answers, done.answers), (2, 2));
    let pantry = start(other.clone(), 1).await;
    assert_eq!(ask(&pantry).await, first, "though there is enough by now");
    pantry
        .jars
        .app
        .update(jar, |jar| jar.take(11))
        .await
        .unwrap();
    assert_eq!(
        ask(&pantry).await,
        first,
        "though there is something to fill by now"
    );
    assert_eq!(answers_of(&other).await, answers_of(&store).await);
    for receipt in other.receipts(None, 9).await.unwrap() {
        assert_eq!(receipt.log, other.log_id());
        pantry
            .wait_for(&receipt, Pantry::SHELVES, std::time::Duration::from_secs(9))
            .await
            .unwrap();
    }
    let (again, _) = exported(&other).await;
    let third = MemoryStore::new();
    imported(&third, &again).await.unwrap();
    assert_eq!(
        answers_of(&third).await,
        answers_of(&store).await,
        "from store to store"
    );
}

/// Commands that have shared an append are commands of their own in a file, and in the store that it is imported into.
#[tokio::test]
async fn commands_that_have_shared_an_append_are_answered_after_an_import() {
    let store = MemoryStore::new();
    let answers = [
        SharedAnswer::Recorded { last_event: 3 },
        SharedAnswer::NothingRecorded,
        SharedAnswer::Recorded { last_event: 1 },
        SharedAnswer::Rejected,
        SharedAnswer::Recorded { last_event: 4 },
    ];
    let commands = answers.map(|answer| SharedCommand {
        id: CommandId::new(),
        answer,
    });
    let event = |number: u8| NewEvent {
        name: "Counted".into(),
        schema_version: 1,
        codec: CodecId(1),
        payload: vec![b'0' + number],
        metadata: b"{}".to_vec(),
    };
    let stream = || StreamId::new("Counter", CommandId::new().as_uuid());
    let append = Append::new(Timestamp::UNIX_EPOCH)
        .with_events(stream(), Expected::NoStream, (0..3).map(event).collect())
        .with_events(stream(), Expected::NoStream, (3..5).map(event).collect())
        .with_shared_commands(commands.to_vec());
    store.append(append.clone()).await.unwrap();
    let (file, told) = exported(&store).await;
    assert_eq!((told.events, told.answers), (5, 2));
    let other = MemoryStore::new();
    imported(&other, &file).await.unwrap();
    for store in [&store, &other] {
        let error = store.append(append.clone()).await.unwrap_err();
        let StoreError::Repeated { receipts } = error else {
            panic!("{error}")
        };
        let answers = receipts
            .iter()
            .map(|receipt| (receipt.kind, receipt.position.as_u64()));
        assert_eq!(
            answers.collect::<Vec<_>>(),
            [
                (ReceiptKind::Recorded, 4),
                (ReceiptKind::NothingRecorded, 5),
                (ReceiptKind::Recorded, 2),
                (ReceiptKind::Rejected, 5),
                (ReceiptKind::Recorded, 5),
            ]
        );
    }
}

/// Rejections stored by earlier releases, and archives written by them.
#[tokio::test]
async fn an_archive_of_format_1_and_an_empty_log_are_imported() {
    let store = MemoryStore::new();
    let command = CommandId::new();
    store
        .append(Append::new(Timestamp::UNIX_EPOCH).with_rejected_command(command))
        .await
        .unwrap();
    let (file, told) = exported(&store).await;
    assert_eq!((told.events, told.answers), (0, 1));
    let other = MemoryStore::new();
    imported(&other, &file).await.unwrap();
    assert_eq!(
        other.receipt(command).await.unwrap().unwrap().kind,
        ReceiptKind::Rejected
    );
    assert!(matches!(
        imported(&other, &file).await.unwrap_err(),
        ArchiveError::Finished
    ));
    let used = MemoryStore::new();
    used.append(Append::new(Timestamp::UNIX_EPOCH).with_command_id(command))
        .await
        .unwrap();
    let error = imported(&used, &file).await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::NotEmpty { .. }),
        "it has answered commands: {error}"
    );

    let (file, _) = exported(&MemoryStore::new()).await;
    let earlier = sealed(&String::from_utf8(file).unwrap().replacen(
        "\"format\":2",
        "\"format\":1",
        1,
    ));
    imported(&MemoryStore::new(), earlier.as_bytes())
        .await
        .unwrap();
}

#[tokio::test]
async fn answers_stand_between_events_and_followers_and_belong_to_no_event() {
    let store = MemoryStore::new();
    used_pantry(&store, 1).await;
    let (file, _) = exported(&store).await;
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let answer = lines
        .iter()
        .position(|line| line.starts_with("{\"answer\""))
        .unwrap();
    let follower = lines
        .iter()
        .position(|line| line.starts_with("{\"follower\""))
        .unwrap();
    let moved = |from: usize, to: usize| {
        let mut lines = lines.clone();
        let line = lines.remove(from);
        lines.insert(to, line);
        lines.concat()
    };
    let recorded = text.replacen("\"kind\":\"nothing_recorded\"", "\"kind\":\"recorded\"", 1);
    for (what, file, reason) in [
        (
            "an event after an answer",
            moved(answer - 1, answer),
            "stands after answers or followers",
        ),
        (
            "an answer after a follower",
            moved(answer, follower),
            "stands after the followers",
        ),
        ("an answer with an event", recorded, "belongs to an event"),
    ] {
        let error = imported(&MemoryStore::new(), sealed(&file).as_bytes())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{what}: {error}");
    }
}

/// Returns the file with a matching checksum.
fn sealed(text: &str) -> String {
    use sha2::Digest as _;
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let end = lines.len() - 1;
    let hash = sha2::Sha256::digest(lines[..end].concat());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let at = lines[end].find("\"sha256\":\"").unwrap() + 10;
    lines[end].replace_range(at..at + 64, &hash);
    lines.concat()
}

/// A fault of a file is reported with its line, before anything is written.
#[tokio::test]
async fn files_that_are_not_whole_are_refused_with_the_line() {
    let store = MemoryStore::new();
    used_pantry(&store, 1).await;
    let (file, _) = exported(&store).await;
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let count = lines.len();
    let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat().concat();
    let with = |index: usize, line: &str| {
        [&lines[..index], &[line], &lines[index + 1..]]
            .concat()
            .concat()
    };
    let garbled = lines[4].replacen("\"beans\":", "\"beins\":", 1);
    let cut = text[..text.len() - 20].to_owned();
    for (what, file, line, reason) in [
        ("nothing", String::new(), 1, "cut off"),
        (
            "foreign",
            "# A page\n\nof text\n".to_owned(),
            1,
            "not an archive of events",
        ),
        (
            "foreign JSON",
            "{\"log\":[]}\n".to_owned(),
            1,
            "not an archive of events",
        ),
        (
            "a later format",
            with(0, &lines[0].replacen("\"format\":2", "\"format\":3", 1)),
            1,
            "format 3",
        ),
        ("no end", without(count - 1), count, "its end is missing"),
        (
            "cut in the last line",
            cut,
            count,
            "cut off within this line",
        ),
        ("a line less", without(7), count - 1, "the file has"),
        ("a line twice", with(8, &lines[8].repeat(2)), 10, "position"),
        (
            "lines swapped",
            with(8, &[lines[9], lines[8]].concat()),
            10,
            "position",
        ),
        (
            "an event changed",
            with(4, &garbled),
            count,
            "the checksum does not match",
        ),
        (
            "an event garbled",
            with(4, "{\"position\":4,\n"),
            5,
            "cannot be read",
        ),
        (
            "an unknown line",
            with(4, "{\"what\":4}\n"),
            5,
            "neither an event",
        ),
        (
            "not UTF-8 but something",
            with(4, "\u{0}\n"),
            5,
            "neither an event",
        ),
        (
            "more behind the end",
            format!("{text}{{}}\n"),
            count + 1,
            "has ended",
        ),
    ] {
        let other = MemoryStore::new();
        let error = imported(&other, file.as_bytes()).await.unwrap_err();
        let ArchiveError::Line {
            line: found,
            reason: why,
        } = &error
        else {
            panic!("{what}: {error}")
        };
        assert_eq!(*found, line as u64, "{what}: {error}");
        assert!(
            why.contains(reason) && !why.contains('\n'),
            "{what}: {error}"
        );
        assert!(log(&other).await.is_empty(), "{what}");
        start(other, 1).await;
    }
    let broken = [lines[0].as_bytes(), &[0xFF, b'\n']].concat();
    let error = imported(&MemoryStore::new(), &broken)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "line 2: the line is not UTF-8 text");
}

/// A file with a sound checksum, but a hole in a stream: the store notices.
#[tokio::test]
async fn an_archive_is_not_trusted_about_versions() {
    let store = MemoryStore::new();
    used_pantry(&store, 1).await;
    let (file, _) = exported(&store).await;
    let text = String::from_utf8(file).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let forged = lines
        .iter()
        .position(|line| line.contains("\"version\":2"))
        .unwrap();
    lines[forged] = lines[forged].replacen("\"version\":2", "\"version\":3", 1);
    let error = imported(&MemoryStore::new(), sealed(&lines.concat()).as_bytes())
        .await
        .unwrap_err();
    let ArchiveError::Line { line, reason } = &error else {
        panic!("{error}")
    };
    assert!(
        *line == forged as u64 + 1 && reason.contains("expected version 2"),
        "{error}"
    );
}

#[tokio::test]
async fn it_says_how_far_it_is() {
    let store = MemoryStore::new();
    for number in 0..2_500_u128 {
        let stream = StreamId::new("Jar", Uuid::from_u128(number));
        let append = Append::new(Timestamp::from_microsecond(number as i64).unwrap());
        store
            .append(append.with_events(stream, Expected::Any, vec![event(1, b"{}", b"")]))
            .await
            .unwrap();
    }
    let mut file = Vec::new();
    let mut told = Vec::new();

    export::<Pantry>(store, &mut file, |progress| told.push(progress))
        .await
        .unwrap();
    import(MemoryStore::new(), Cursor::new(file), |progress| {
        told.push(progress);
    })
    .await
    .unwrap();
    for stage in [
        Stage::Exporting,
        Stage::Reading,
        Stage::Importing,
        Stage::Comparing,
    ] {
        let events: Vec<_> = told
            .iter()
            .filter(|told| told.stage == stage)
            .map(|told| told.events)
            .collect();
        assert!(
            events.is_sorted() && events.contains(&2_000),
            "{stage:?}: {events:?}"
        );
        assert!(told.iter().all(|told| told.of == 2_500), "{stage:?}");
    }
}
