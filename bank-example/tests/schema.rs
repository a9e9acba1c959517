//! The bank's lock on the schema of its events, and the commands about it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bank_example::domain::account::Account;
use bank_example::domain::ledger::Ledger;
use bank_example::domain::transfer::{Leg, Transfer};
use bank_example::system::EventSourcedBank;
use eventsourcing::Aggregate;
use eventsourcing::schema::{SchemaLock, SystemSchema};
use serde_json::Value;

#[test]
fn stored_events_stay_readable() {
    SystemSchema::of::<EventSourcedBank>().assert_locked("events.lock.json");
}

/// Returns the number of samples of the aggregate, each of which is decoded to one event.
fn decoded<A: Aggregate>(lock: &SchemaLock) -> usize {
    let samples = lock.samples::<A>().map(|sample| {
        sample
            .decode::<A>()
            .unwrap_or_else(|error| panic!("{sample:?}: {error}"))
    });
    samples
        .inspect(|events| assert_eq!(events.len(), 1))
        .count()
}

#[test]
fn every_golden_event_is_read() {
    let lock = SchemaLock::read("events.lock.json").expect("the lock is committed");
    let decoded = [
        decoded::<Account>(&lock),
        decoded::<Leg>(&lock),
        decoded::<Transfer>(&lock),
        decoded::<Ledger>(&lock),
    ];
    assert!(decoded.iter().all(|decoded| *decoded > 0), "{decoded:?}");
    let all: usize = lock.events().map(|event| event.samples.len()).sum();
    assert_eq!(decoded.iter().sum::<usize>(), all);
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_bank-example"))
        .args(arguments)
        .output()
        .expect("the bank runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events.lock.json")
}

/// A lock in a folder of its own, changed.
fn changed(from: &str, to: &str) -> (tempfile::TempDir, String) {
    let text = std::fs::read_to_string(committed()).expect("the lock is committed");
    assert!(text.contains(from), "{from} is not in the lock");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.lock.json");
    std::fs::write(&path, text.replace(from, to)).expect("it is written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

#[test]
fn check_is_content_with_what_is_committed() {
    let (code, text, said) = run(&["schema", "check"]);
    assert_eq!((code, &*said), (Some(0), ""), "{text}");
    assert!(text.starts_with("aggregate  event"), "{text}");
    assert!(
        text.lines()
            .skip(1)
            .all(|line| line.ends_with("read as it was stored")),
        "{text}"
    );
    let (code, json, _) = run(&["--json", "schema", "check"]);
    let json: Value = serde_json::from_str(&json).expect("one document");
    assert_eq!((code, &json["locked"]), (Some(0), &true.into()));
}

#[test]
fn check_and_update_refuse_what_would_break_stored_events() {
    let (_folder, path) = changed("\"reason\"", "\"why\"");
    let before = std::fs::read_to_string(&path).expect("it is there");
    let (code, text, said) = run(&["schema", "check", "--lock", &path]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("$.why was removed")
            && text.contains("fn refused_1_to_2(old: Refused1) -> Refused2"),
        "{text}"
    );
    assert!(
        said.contains("of the changes would break events that are stored"),
        "{said}"
    );
    assert_eq!(run(&["schema", "update", "--lock", &path]).0, Some(1));
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), before);
}

#[test]
fn update_writes_what_is_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new.json");
    let lock = path.to_str().expect("UTF-8");
    let (code, _, said) = run(&["schema", "check", "--lock", lock]);
    assert_eq!(code, Some(2));
    assert!(said.contains("cannot be read"), "{said}");
    let (code, text, _) = run(&["schema", "update", "--lock", lock]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("Account / Credited / version 1: the event is new"),
        "{text}"
    );
    let written = std::fs::read_to_string(&path).expect("it was written");
    assert_eq!(
        written,
        std::fs::read_to_string(committed()).expect("the lock is committed")
    );
    assert_eq!(
        run(&["schema", "update", "--lock", lock]).1,
        "nothing is new\n"
    );
}

#[test]
fn print_shows_documents_for_programs() {
    let (code, schema, _) = run(&["schema", "print"]);
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(
        (code, &schema["title"]),
        (Some(0), &"The events of EventSourcedBank".into())
    );
    let (code, document, _) = run(&["schema", "print", "--asyncapi"]);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!((code, &document["asyncapi"]), (Some(0), &"3.0.0".into()));
    let channels = document["channels"]
        .as_object()
        .expect("channels")
        .keys()
        .map(String::as_str);
    assert_eq!(
        channels.collect::<Vec<_>>(),
        ["Account", "Ledger", "Leg", "Transfer"]
    );
    assert_eq!(
        document["operations"]["ledger.receive.Account"]["action"],
        "receive"
    );
}
