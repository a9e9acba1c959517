//! The bank on the command line: its output, its failures, and the files it leaves behind.

#[path = "cli/backups.rs"]
mod backups;
#[path = "cli/files.rs"]
mod files;
mod support;

#[path = "cli/acknowledged.rs"]
mod acknowledged;
#[path = "cli/endings.rs"]
mod endings;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/places.rs"]
mod places;
#[path = "cli/restored.rs"]
mod restored;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/temporary.rs"]
mod temporary;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bank_example::domain::account::{Account, AccountEvent};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{EventHash, LogChecksum, StreamId, Version};
use eventsourcing::{Application, Root, Runner};
use serde_json::Value;
use support::{Place, schedule_unreadable_timer};
use tempfile::TempDir;

/// A bank in a folder of its own, in the default store or in another one.
struct Bank {
    folder: TempDir,
    place: Option<Place>,
}

impl Bank {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            place: None,
        }
    }

    /// Creates one bank in each kind of store that outlives the program.
    fn all() -> [Self; 2] {
        [
            Self::new(),
            Self {
                place: Some(Place::postgres()),
                ..Self::new()
            },
        ]
    }

    fn url(&self) -> String {
        let here = || format!("sqlite:{}", self.path().join("bank.db").display());
        self.place
            .as_ref()
            .map_or_else(here, |place| place.url().to_owned())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the bank runs")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank-example"));
        if let Some(place) = &self.place {
            command.args(["--store", place.url()]);
        }
        for variable in [
            "RUST_LOG",
            "BANK_STORE",
            "BANK_STORE_FILE",
            "BANK_PASSWORD",
            "BANK_PASSWORD_FILE",
            "BANK_ORIGIN",
        ] {
            command.env_remove(variable);
        }
        command.current_dir(self.path()).args(arguments);
        command
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(beside(&output), "", "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).expect("one JSON document")
    }

    fn open(&self, owner: &str) -> String {
        self.json(&["open", owner])["id"]
            .as_str()
            .expect("an id")
            .to_string()
    }

    /// The one line on stderr, after checking the exit code and that nothing was printed or written.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let before = self.log();
        let output = self.run(arguments);
        let line = beside(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {line}");
        assert!(
            output.stdout.is_empty(),
            "{arguments:?} printed {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        assert!(
            line.starts_with("error: ") && line.len() < 500,
            "{arguments:?}: {line}"
        );
        assert_eq!(before, self.log(), "{arguments:?} wrote something");
        line
    }

    fn log(&self) -> Option<Value> {
        (self.place.is_some() || self.path().join("bank.db").exists()).then(|| self.json(&["log"]))
    }
}

/// Returns the lines on standard error that are not log lines, which begin with a time.
fn beside(output: &Output) -> String {
    let text = std::str::from_utf8(&output.stderr).expect("UTF-8");
    let is_of_log = |line: &&str| {
        line.starts_with("20")
            && [" WARN ", "ERROR "]
                .iter()
                .any(|level| line.contains(level))
    };
    text.lines()
        .filter(|line| !is_of_log(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_demo_shows_the_bank_and_continues_where_it_was() {
    for bank in Bank::all() {
        for run in 1..=2 {
            let text = bank.text(&[]);
            for part in [
                "ACCOUNTS",
                "LEDGER",
                "EVENTS OF THIS RUN",
                "Alice",
                "TransactionAdded",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert!(
                text.contains("The ledger agrees: it grew by 50.00 in 12 transactions."),
                "{text}"
            );
            let ledger = bank.json(&["ledger"]);
            assert_eq!(ledger["balance"], format!("{}.00", 50 * run));
            assert_eq!(ledger["transactions"], 12 * run);
        }
        assert_eq!(
            bank.json(&["accounts"]).as_array().expect("accounts").len(),
            4
        );
        let demo = bank.json(&["demo"]);
        assert_eq!(demo["growth"]["balance"], "50.00");
        assert_eq!(demo["events"][0]["name"], "Opened");
    }
}

#[test]
fn a_transfer_in_steps_prints_its_id_and_is_listed() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let bob = bank.open("Bob");

        bank.text(&["credit", &alice, "20"]);
        assert_eq!(bank.json(&["transfers"]), serde_json::json!([]));
        assert!(bank.text(&["transfers"]).contains("--in-steps"));
        let done = bank.json(&["transfer", &alice, &bob, "15", "--in-steps"]);
        let id = done["id"].as_str().expect("an id");
        let expected = serde_json::json!({
            "id": id, "from": alice, "to": bob, "amount": "15.00", "state": "completed", "reason": null,
        });
        assert_eq!(done, expected);
        assert_eq!(bank.json(&["transfers", id]), expected);
        assert_eq!(bank.json(&["account", &bob])["balance"], "15.00");

        let missing = "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f";
        for (to, amount, part) in [
            (missing, "5", "was compensated"),
            (&bob, "7", "was refused: insufficient funds"),
        ] {
            let output = bank.run(&["transfer", &alice, to, amount, "--in-steps"]);
            let line = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                (output.status.code(), line.lines().count()),
                (Some(1), 1),
                "{line}"
            );
            assert!(line.contains(part), "{line}");
        }
        assert!(
            bank.fails(1, &["transfer", &alice, &alice, "1", "--in-steps"])
                .contains("two different accounts")
        );
        assert!(
            bank.fails(1, &["transfers", missing])
                .contains("does not exist")
        );
        assert!(bank.fails(2, &["transfers", "x"]).contains("is not an id"));
        assert_eq!(bank.json(&["account", &alice])["balance"], "5.00");
        let transfers = bank.json(&["transfers"]);
        let states: Vec<_> = transfers
            .as_array()
            .expect("an array")
            .iter()
            .map(|transfer| &transfer["state"])
            .collect();
        assert_eq!(states, ["completed", "compensated", "refused"]);
        let text = bank.text(&["transfers"]);
        assert_eq!(text.lines().count(), 4, "{text}");
    }
}

#[test]
fn the_demo_also_runs_in_memory() {
    let bank = Bank::new();
    assert!(
        bank.text(&["--store", "memory:", "demo"])
            .contains("The ledger agrees")
    );
    assert_eq!(
        bank.path().read_dir().expect("the folder").count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn every_command_prints_one_json_document() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let bob = bank.open("Bob");

        assert_eq!(bank.json(&["credit", &alice, "20"])["balance"], "20.00");
        assert_eq!(bank.json(&["debit", &alice, "0.5"])["balance"], "19.50");
        let both = bank.json(&["transfer", &alice, &bob, "9.50"]);
        assert_eq!(
            (&both[0]["balance"], &both[1]["balance"]),
            (&"10.00".into(), &"9.50".into())
        );

        let accounts = bank.json(&["accounts"]);
        let last = &accounts[0]["last_movement"];
        let opened = &accounts[1]["opened"];

        assert!(last.is_string() && *last == accounts[1]["last_movement"] && *opened == 2);
        let expected = serde_json::json!([
            { "id": alice, "owner": "Alice", "balance": "10.00", "version": 4, "movements": 3, "last_movement": last,
              "opened": 1 },
            { "id": bob, "owner": "Bob", "balance": "9.50", "version": 2, "movements": 1, "last_movement": last,
              "opened": 2 },
        ]);
        assert_eq!(accounts, expected);
        assert_eq!(
            bank.json(&["accounts", "--owner", "LIC"]),
            serde_json::json!([expected[0]])
        );
        assert_eq!(
            bank.json(&["accounts", "--after", "1", "--limit", "1"]),
            serde_json::json!([expected[1]])
        );
        let account =
            serde_json::json!({ "id": alice, "owner": "Alice", "balance": "10.00", "version": 4 });
        assert_eq!(bank.json(&["account", &alice]), account);
        assert_eq!(
            bank.json(&["account", &alice, "--at", "2"])["balance"],
            "20.00"
        );
        assert_eq!(
            bank.json(&["ledger"]),
            serde_json::json!({ "balance": "19.50", "transactions": 4 })
        );

        for command in [&["history", &alice][..], &["log"], &["activity"]] {
            let events = bank.json(command);
            let events = events.as_array().expect("an array");
            assert!(!events.is_empty());
            for event in events {
                assert!(
                    event["name"].is_string() && event["recorded_at"].is_string(),
                    "{event}"
                );
                assert!(
                    event["version"].is_u64() && event["position"].is_u64(),
                    "{event}"
                );
                assert!(event["payload"].is_object(), "{event}");
            }
        }
        let newest = bank.json(&["activity"])[0].clone();
        assert_eq!(
            (&newest["payload"]["amount"], &newest["account"]),
            (&"9.50".into(), &bob.into())
        );
        assert_eq!(
            bank.json(&["history", &alice])[1]["payload"]["amount"],
            "20.00"
        );
        assert_eq!(
            bank.json(&["activity"])[0]["name"],
            "Credited",
            "newest first"
        );
        assert_eq!(
            bank.json(&["activity", "--limit", "1"])
                .as_array()
                .expect("an array")
                .len(),
            1
        );
        let page = bank.json(&["log", "--after", "2", "--limit", "3"]);
        let positions: Vec<_> = page
            .as_array()
            .expect("an array")
            .iter()
            .map(|event| &event["position"])
            .collect();
        assert_eq!(positions, [3, 4, 5]);
        assert_eq!(bank.json(&["describe"])["followers"][2]["name"], "ledger");
    }
}

#[test]
fn watching_shows_what_other_programs_record() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let mut watch = bank.command(&["watch", "--json", "--after", "0"]);
        let mut watch = watch.stdout(Stdio::piped()).spawn().expect("the bank runs");
        let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
        let mut next = || {
            let line = lines.next().expect("it goes on").expect("UTF-8");
            serde_json::from_str::<Value>(&line).expect("a line of JSON")["name"].clone()
        };
        assert_eq!(next(), "Opened");
        bank.text(&["credit", &alice, "20"]);
        assert_eq!(next(), "Credited");
        assert_eq!(next(), "Opened", "the ledger");
        assert_eq!(next(), "TransactionAdded");
        watch
            .kill()
            .and_then(|()| watch.wait())
            .expect("it is interrupted");
    }
}

/// Writes an event that cannot be decoded: its owner is the number 7. The ledger stops before it, the rest of the bank
/// goes on, and both are shown.
fn with_garbage(bank: &Bank) {
    let garbage =
        "INSERT INTO eventsourcing_events SELECT position + 100, zeroblob(16), category, 1, name, schema_version,
        codec, recorded_at, metadata, CAST('{\"owner\":7}' AS BLOB) FROM eventsourcing_events WHERE position = 1";
    let file = rusqlite::Connection::open(bank.path().join("bank.db")).expect("the database");
    assert_eq!(file.execute(garbage, []).expect("an event"), 1);
}

const GARBAGE_ID: &str = "00000000-0000-0000-0000-000000000000";

#[test]
fn an_unreadable_event_is_parked_and_other_events_are_processed() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    bank.text(&["credit", &alice, "20"]);
    assert_eq!(bank.text(&["parked"]), "nothing is parked\n");
    with_garbage(&bank);

    let account = bank.json(&["credit", &alice, "5"]);
    assert_eq!(account["balance"], "25.00");
    let ledger = bank.run(&["--json", "ledger"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&ledger.stdout).expect("JSON")["balance"],
        "25.00"
    );
    let warning = beside(&ledger);
    assert!(
        warning.starts_with("warning: ledger has parked Account 0") && warning.lines().count() == 1,
        "{warning}"
    );
    assert!(
        warning.contains("and 2 more"),
        "the read models as well: {warning}"
    );

    let followers = bank.json(&["followers"]);
    let ledger = named_follower(&followers, "ledger");
    assert_eq!(
        (&ledger["parked"], &ledger["state"]),
        (&1.into(), &"running".into())
    );
    assert_eq!(ledger["position"], ledger["head"]);
    let parked = bank.json(&["parked"]);
    assert_eq!(parked.as_array().expect("an array").len(), 3);
    assert_eq!(
        (&parked[0]["follower"], &parked[0]["id"]),
        (&"ledger".into(), &GARBAGE_ID.into())
    );
    assert!(
        parked[0]["cause"]
            .as_str()
            .expect("why")
            .contains("invalid type: integer `7`"),
        "{parked}"
    );

    let failed = bank.fails(1, &["parked", "retry", "ledger", GARBAGE_ID, "--by", "ann"]);
    assert!(
        failed.contains("1 of 1 accounts stay parked: follower ledger failed at position 101"),
        "{failed}"
    );
    let edited = bank.text(&[
        "parked",
        "retry",
        "ledger",
        GARBAGE_ID,
        "--payload",
        "{\"owner\":\"Nobody\"}",
    ]);
    assert_eq!(edited, "ledger has processed 1 events of 1 accounts\n");
    let given_up = bank.text(&[
        "parked",
        "drop",
        "activity",
        GARBAGE_ID,
        "--reason",
        "a test wrote it",
    ]);
    assert!(
        given_up.starts_with("discarded version 1 of Account 0"),
        "{given_up}"
    );
    let unknown = bank.fails(
        1,
        &[
            "parked", "drop", "activity", GARBAGE_ID, "--reason", "again",
        ],
    );
    assert!(unknown.contains("activity has not parked"), "{unknown}");
    assert!(
        bank.fails(2, &["parked", "retry", "missing", "all"])
            .contains("ledger, activity, summaries")
    );
    assert!(
        bank.fails(2, &["parked", "retry", "ledger", "x"])
            .contains("not the id of an account")
    );
    assert!(
        bank.fails(
            2,
            &["parked", "drop", "activity", GARBAGE_ID, "--reason", ""]
        )
        .contains("--reason WHY")
    );

    let record = bank.json(&["parked", "record"]);
    let (by, actions): (Vec<_>, Vec<_>) = record
        .as_array()
        .expect("an array")
        .iter()
        .map(|line| {
            (
                line["record"]["by"].as_str().expect("who"),
                &line["record"]["action"],
            )
        })
        .unzip();
    assert_eq!(by[0], "ann");
    assert!(
        actions[0]["failed"].is_object() && actions[1]["edited"].is_object(),
        "{record}"
    );
    assert_eq!(actions[2]["dropped"]["reason"], "a test wrote it");
    assert_eq!(
        bank.json(&["parked"]).as_array().expect("an array").len(),
        1,
        "the summaries are left"
    );
}

#[test]
fn an_unreadable_timer_is_parked_retried_and_discarded() {
    for bank in Bank::all() {
        bank.text(&[]);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let stores = bank_example::stores::open(&bank.url())
                .await
                .expect("a store");
            for key in ["one", "other"] {
                schedule_unreadable_timer(&*stores.store(), key).await;
            }
        });
        let parked = bank.json(&["parked"]);
        let timers: Vec<_> = parked
            .as_array()
            .expect("an array")
            .iter()
            .map(|timer| &timer["timer"])
            .collect();
        assert_eq!(timers, ["one", "other"], "{parked}");
        assert!(
            parked[0]["cause"]
                .as_str()
                .expect("why")
                .contains("the payload of the timer"),
            "{parked}"
        );
        let text = bank.text(&["parked"]);
        assert!(
            text.contains("timer") && text.contains("2020-01-01T00:00:00Z"),
            "{text}"
        );
        let followers = bank.json(&["followers"]);
        let transfers = named_follower(&followers, "transfers");
        assert_eq!(
            (&transfers["parked_timers"], &transfers["state"]),
            (&2.into(), &"running".into())
        );

        let failed = bank.fails(
            1,
            &["parked", "retry", "transfers", "timer:one", "--by", "ann"],
        );
        assert!(
            failed.contains("the timer stays parked: follower transfers"),
            "{failed}"
        );
        let failed = bank.fails(1, &["parked", "retry", "transfers", "all"]);
        assert!(
            failed.contains("0 of 0 accounts, 2 of 2 timers stay parked"),
            "{failed}"
        );
        let unknown = bank.fails(1, &["parked", "retry", "transfers", "timer:two"]);
        assert!(
            unknown.contains("transfers has not parked a timer \"two\""),
            "{unknown}"
        );
        let given_up = bank.text(&[
            "parked",
            "drop",
            "transfers",
            "timer:one",
            "--reason",
            "a test wrote it",
        ]);
        assert_eq!(given_up, "discarded timer \"one\" of transfers\n");
        let edited = bank.fails(
            1,
            &[
                "parked",
                "retry",
                "transfers",
                "timer:other",
                "--payload",
                "{}",
            ],
        );
        assert!(
            edited.contains("the timer stays parked"),
            "no transfer either: {edited}"
        );
        bank.text(&[
            "parked",
            "drop",
            "transfers",
            "timer:other",
            "--reason",
            "nor this",
        ]);
        assert!(
            bank.fails(2, &["parked", "drop", "transfers", "all", "--reason", "x"])
                .contains("at a time")
        );
        assert_eq!(bank.text(&["parked"]), "nothing is parked\n");
        let record = bank.json(&["parked", "record"]);
        let last = &record
            .as_array()
            .expect("an array")
            .last()
            .expect("a record")["record"];
        assert_eq!(
            (&last["key"], &last["action"]["dropped"]["reason"]),
            (&"other".into(), &"nor this".into())
        );
    }
}

#[test]
fn followers_that_work_are_shown_at_the_end_of_the_log() {
    for bank in Bank::all() {
        bank.text(&[]);
        for follower in bank.json(&["followers"]).as_array().expect("an array") {
            assert_eq!(
                (&follower["state"], &follower["position"]),
                (&"running".into(), &follower["head"])
            );
            assert_eq!(
                (&follower["behind_seconds"], &follower["failure"]),
                (&0.0.into(), &Value::Null)
            );
        }
    }
}

/// A program that serves runs the followers, and other programs show which process it is.
#[test]
fn the_process_that_runs_a_follower_is_shown_to_others() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for bank in Bank::all() {
        bank.text(&[]);
        let serving = runtime.block_on(async {
            let stores = bank_example::stores::open(&bank.url())
                .await
                .expect("a store");
            let serving = EventSourcedBank::start(stores, Runner::concurrent())
                .await
                .expect("a start");
            serving.accounts.open("Zoe").await.expect("an account");
            let wait = async {
                while serving
                    .health()
                    .await
                    .expect("an answer")
                    .followers
                    .iter()
                    .any(|one| one.holder.is_none())
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), wait)
                .await
                .expect("it takes the followers over");
            serving
        });
        let here = format!("pid {} on ", std::process::id());
        let followers = bank.json(&["followers"]);
        let followers = followers.as_array().expect("an array");
        assert_eq!(followers.len(), 5);
        for follower in followers {
            assert!(
                follower["holder"]
                    .as_str()
                    .expect("a process")
                    .starts_with(&here),
                "{follower}"
            );
            assert_eq!(
                (&follower["behind_events"], &follower["build"]),
                (&0.into(), &Value::Null)
            );
        }
        let text = bank.text(&["followers"]);
        assert!(
            text.contains("events behind") && text.contains(&here),
            "{text}"
        );
        runtime.block_on(serving.stop()).expect("a graceful end");
        assert_eq!(
            bank.json(&["followers"])[0]["holder"],
            Value::Null,
            "no process runs it under a lease any more"
        );
    }
}

#[test]
fn verify_agrees_with_a_bank_that_is_all_right() {
    for bank in Bank::all() {
        bank.text(&[]);
        let text = bank.text(&["verify"]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(
            lines[3].starts_with("ledger ") && lines[3].contains(" 14 "),
            "{text}"
        );
        assert!(
            lines[1..]
                .iter()
                .all(|line| line.ends_with("each processed once")),
            "{text}"
        );
        let verification = bank.json(&["verify"]);
        assert_eq!(
            (&verification["agrees"], &verification["contents"]),
            (&true.into(), &Value::Null)
        );
        let followers = verification["followers"].as_array().expect("an array");
        let events: Vec<_> = followers
            .iter()
            .map(|follower| follower["events"].as_u64().expect("a number"))
            .collect();
        assert!(
            events[..2].iter().all(|events| *events > 0) && events[2..] == [14, 14, 14],
            "{verification}"
        );
        assert!(
            followers
                .iter()
                .all(|follower| follower["differences"] == serde_json::json!([])),
            "{verification}"
        );
        assert!(
            bank.text(&["verify", "--contents"])
                .contains("each processed once; 14 rows equal to a rebuild")
        );
        let contents = bank.json(&["verify", "--contents"])["contents"].clone();
        assert_eq!(
            (&contents[0]["name"], &contents[0]["rows"]),
            (&"activity".into(), &14.into())
        );
        assert_eq!(
            (&contents[1]["name"], &contents[1]["rows"]),
            (&"summaries".into(), &2.into())
        );
    }
}

fn named_follower<'a>(followers: &'a Value, name: &str) -> &'a Value {
    let mut followers = followers.as_array().expect("an array").iter();
    followers
        .find(|follower| follower["name"] == name)
        .expect("a follower of this name")
}

/// Returns the output as text and as JSON, and the one line on standard error.
fn verify_fails(bank: &Bank, arguments: &[&str]) -> (String, Value, String) {
    let text = bank.run(arguments);
    let json = bank.run(&[&["--json"], arguments].concat());
    let line = String::from_utf8(text.stderr).expect("UTF-8");
    assert_eq!(
        (text.status.code(), json.status.code()),
        (Some(1), Some(1)),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    let json: Value = serde_json::from_slice(&json.stdout).expect("one JSON document");
    assert_eq!(json["agrees"], false);
    (String::from_utf8(text.stdout).expect("UTF-8"), json, line)
}

#[test]
fn verify_names_the_event_that_the_ledger_lost() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    bank.text(&["credit", &alice, "20"]);
    let file = rusqlite::Connection::open(bank.path().join("bank.db")).expect("the database");
    let which = "WHERE follower = 'ledger' AND key LIKE 'figures/%'";
    let select = format!("SELECT value FROM eventsourcing_notes {which}");
    let noted: String = file
        .query_row(&select, [], |row| row.get(0))
        .expect("a note");
    let mut checksums: LogChecksum = serde_json::from_str(&noted).expect("figures");
    let lost = StreamId::new("Account", alice.parse().expect("an id"));
    checksums = LogChecksum {
        count: checksums.count - 1,
        digest: checksums.digest ^ EventHash::of(&lost, Version::new(2)),
    };
    let forged = serde_json::to_string(&checksums).expect("figures");
    let update = format!("UPDATE eventsourcing_notes SET value = ?1 {which}");
    assert_eq!(file.execute(&update, [forged]).expect("an update"), 1);
    drop(file);

    let (text, json, line) = verify_fails(&bank, &["verify"]);
    let named = format!(
        "ledger, positions 1–10000: Credited of Account {alice}, version 2, at position 2 is missing"
    );
    assert!(text.contains(&named), "{text}");
    assert!(
        line.starts_with("error: 1 of the checks did not agree"),
        "{line}"
    );
    let difference = &named_follower(&json["followers"], "ledger")["differences"][0];
    assert_eq!(
        (&difference["finding"], &difference["events"][0]["version"]),
        (&"missing".into(), &2.into())
    );
    assert_eq!(difference["text"], named);
}

#[test]
fn verify_names_the_rows_that_are_not_what_comes_of_the_log() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    bank.text(&["credit", &alice, "20"]);
    let file = rusqlite::Connection::open(bank.path().join("bank.db")).expect("the database");
    let forged = "UPDATE account_summaries_1 SET balance = 1234567";
    assert_eq!(file.execute(forged, []).expect("an update"), 1);
    drop(file);

    bank.text(&["verify"]);
    let (text, json, _) = verify_fails(&bank, &["verify", "--contents"]);
    assert!(
        text.contains("summaries, table account_summaries, 2 rows:"),
        "{text}"
    );
    let should_not_be_there = text
        .lines()
        .find(|line| line.contains("balance=1234567"))
        .expect("the row");
    assert!(
        should_not_be_there.ends_with(": should not be there"),
        "{text}"
    );
    assert_eq!(json["contents"][0]["agrees"], true);
    assert_eq!(
        (
            &json["contents"][1]["agrees"],
            &json["contents"][1]["tables"][0]["rows"]
        ),
        (&false.into(), &2.into())
    );

    assert!(bank.run(&["rebuild", "summaries"]).status.success());
    bank.text(&["verify", "--contents"]);
    assert_eq!(bank.json(&["accounts"])[0]["balance"], "20.00");
}

#[test]
fn a_read_model_is_rebuilt_and_everything_else_is_refused() {
    for bank in Bank::all() {
        bank.text(&[]);
        let rebuilt = bank.run(&["rebuild", "activity"]);
        let text = String::from_utf8_lossy(&rebuilt.stdout);
        let beside = String::from_utf8_lossy(&rebuilt.stderr);

        assert!(
            rebuilt.status.success() && text.starts_with("activity is rebuilt, up to position "),
            "{beside}"
        );
        assert!(
            beside.starts_with("rebuilding activity; Ctrl-C interrupts it")
                && beside.lines().count() == 1
        );
        let json: Value =
            serde_json::from_slice(&bank.run(&["--json", "rebuild", "activity"]).stdout)
                .expect("JSON");
        assert_eq!(json["name"], "activity");
        assert!(
            bank.fails(2, &["rebuild", "nothing"])
                .contains("it has accounts, transfers, ledger, activity, summaries")
        );
        assert!(
            bank.fails(2, &["rebuild", "ledger"])
                .contains("a policy: the events that it has recorded stay")
        );
        bank.text(&["verify", "--contents"]);
    }
}

#[test]
fn a_build_that_is_interrupted_is_shown_and_goes_on() {
    let bank = Bank::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stores = bank_example::stores::open(&bank.url())
            .await
            .expect("a store");
        let app = Application::new("accounts", stores.store());
        for _ in 0..20 {
            let mut account = Root::<Account>::create(AccountEvent::Opened {
                owner: "Alice".into(),
            });
            (1..1_000).for_each(|_| {
                account.record(AccountEvent::Credited {
                    amount: support::money("0.01"),
                });
            });
            app.save(&mut account).await.expect("a save");
        }
        let serving = EventSourcedBank::start(stores, Runner::concurrent())
            .await
            .expect("a start");
        serving.wait_until_caught_up().await.expect("it catches up");
        serving.stop().await.expect("a graceful end");
    });
    let mut rebuild = bank.command(&["rebuild", "activity"]);
    let mut rebuild = rebuild
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bank runs");
    let mut lines = BufReader::new(rebuild.stderr.take().expect("a pipe"))
        .lines()
        .map(|line| line.expect("UTF-8"));
    assert!(
        lines
            .next()
            .expect("a line")
            .contains("Ctrl-C interrupts it")
    );
    let interrupt = Command::new("kill")
        .args(["-INT", &rebuild.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(interrupt.success());
    let line = lines.next().expect("a line");
    assert!(
        line.starts_with("error: interrupted by SIGINT: at position")
            && line.contains("the next command continues to rebuild"),
        "{line}"
    );
    assert_eq!(rebuild.wait().expect("it ends").code(), Some(130));

    let followers = bank.json(&["followers"]);
    let follower = named_follower(&followers, "activity");
    let build = &follower["build"];
    assert!(
        build.is_null() || build["position"].as_u64() <= build["head"].as_u64(),
        "{follower}"
    );
    assert!(bank.run(&["rebuild", "activity"]).status.success());
    assert_eq!(
        named_follower(&bank.json(&["followers"]), "activity")["build"],
        Value::Null
    );
    assert_eq!(
        bank.json(&["activity"]).as_array().expect("an array").len(),
        20_000
    );
}

#[test]
fn text_is_aligned_for_any_alphabet() {
    let bank = Bank::new();
    for owner in ["Al", "Æthelstan the Magnificent", "长长长", "🦀"] {
        bank.open(owner);
    }
    let text = bank.text(&["accounts"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines
            .iter()
            .all(|line| !line.ends_with(' ') && !line.starts_with(' ')),
        "{text}"
    );
    let width = |line: &str| {
        line.chars()
            .map(|c| {
                if ('\u{1100}'..'\u{FFFF}').contains(&c) || c > '\u{1F000}' {
                    2
                } else {
                    1
                }
            })
            .sum::<usize>()
    };
    // The last column is empty: nothing has moved.
    let end_of_movements = width(lines[0].trim_end_matches("  last movement"));
    assert!(
        lines[1..]
            .iter()
            .all(|line| width(line) == end_of_movements),
        "{text}"
    );
    assert_eq!(bank.open("Zoë").len(), 36);
    assert_eq!(
        bank.text(&["open", "Zed"]).trim_end().len(),
        36,
        "open prints the id alone"
    );
}

#[test]
fn the_declared_system_is_described_without_a_store() {
    let bank = Bank::new();
    let text = bank.text(&["describe"]);
    assert!(
        text.contains("policy       ledger     follows Account of accounts"),
        "{text}"
    );
    assert!(
        bank.text(&["describe", "--mermaid"])
            .starts_with("flowchart LR\n")
    );
    assert_eq!(bank.path().read_dir().expect("the folder").count(), 0);
}

#[test]
fn help_teaches() {
    let help = Bank::new().text(&["--help"]);
    for part in [
        "--store",
        "--json",
        "transfer",
        "verify",
        "rebuild",
        "sqlite:PATH",
        "Exit codes",
        "first session",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn the_bank_refuses_with_1() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let bob = bank.open("Bob");

        let missing = "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f";
        assert!(
            bank.fails(1, &["debit", &alice, "1"])
                .contains("insufficient funds: the balance is 0.00, 1.00")
        );
        assert!(
            bank.fails(1, &["transfer", &alice, &bob, "5"])
                .contains("insufficient funds")
        );
        assert!(
            bank.fails(1, &["transfer", &alice, &alice, "5"])
                .contains("two different accounts")
        );
        for amount in ["0", "-1", "1.234", "-0.01", "1000000000000"] {
            assert!(
                bank.fails(1, &["credit", &alice, amount])
                    .contains("is not an amount"),
                "{amount}"
            );
            bank.fails(1, &["debit", &alice, amount]);
            bank.fails(1, &["transfer", &alice, &bob, amount]);
        }
        for command in [
            &["credit", missing, "1"][..],
            &["account", missing],
            &["history", missing],
        ] {
            assert!(
                bank.fails(1, command)
                    .contains(&format!("Account {missing} does not exist"))
            );
        }
        assert!(
            bank.fails(1, &["account", &alice, "--at", "7"])
                .contains("has no version 7; its latest is 1")
        );
        for owner in [
            "",
            &"x".repeat(10_240),
            &"长🦀\u{202e}".repeat(3_000),
            "two\nlines",
        ] {
            assert!(
                bank.fails(1, &["open", owner])
                    .contains("the owner's name must have")
            );
        }
    }
}

#[test]
fn wrong_usage_is_2() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    for amount in [
        "abc",
        "1e400",
        "",
        "1234567890123456789012345678901234567890",
        "NaN",
        "1,5",
        "١٢",
        "--",
    ] {
        bank.fails(2, &["credit", &alice, amount]);
    }
    for id in [
        "",
        "alice",
        "0190e2f1",
        "zzzze2f1-8c4b-7a53-9d21-5f3b6c7d8e9f",
        &"9".repeat(5_000),
    ] {
        assert!(bank.fails(2, &["account", id]).contains("is not an id"));
        bank.fails(2, &["credit", id, "1"]);
        bank.fails(2, &["transfer", id, &alice, "1"]);
    }
    for command in [
        &["frobnicate"][..],
        &["credit"],
        &["credit", &alice],
        &["account", &alice, "--at", "x"],
        &["--what"],
    ] {
        assert!(bank.fails(2, command).contains("--help"), "{command:?}");
    }
    for store in [
        "",
        "bank.db",
        "sqlite:",
        "oracle:x",
        "memory:x",
        "postgres:bank",
        "postgress://me:secret@host/bank",
    ] {
        let line = bank.fails(2, &["--store", store, "accounts"]);
        assert!(
            line.contains("sqlite:PATH") && !line.contains("secret"),
            "{store}: {line}"
        );
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_3() {
    let bank = Bank::new();
    let nowhere = bank.path().join("no/such/folder/bank.db");
    let line = bank.fails(
        3,
        &["--store", &format!("sqlite:{}", nowhere.display()), "demo"],
    );
    assert!(line.contains("no/such/folder"), "{line}");

    let text = bank.path().join("notes.txt");
    std::fs::write(&text, "not a database ".repeat(500)).expect("a file");
    let before = std::fs::read(&text).expect("the file");
    let line = bank.fails(3, &["--store", "sqlite:notes.txt", "open", "Alice"]);
    assert!(
        line.contains("notes.txt") && line.contains("not a"),
        "{line}"
    );
    assert_eq!(
        before,
        std::fs::read(&text).expect("the file"),
        "the file is left alone"
    );

    bank.open("Alice");
    let copy = bank.path().join("newer.db");
    rusqlite::Connection::open(bank.path().join("bank.db"))
        .and_then(|file| file.execute("VACUUM INTO ?1", [copy.to_str().expect("UTF-8")]))
        .expect("a copy");
    let newer = rusqlite::Connection::open(&copy).expect("the copy");
    newer
        .execute(
            "UPDATE eventsourcing_meta SET value = '99' WHERE key = 'schema_version'",
            [],
        )
        .expect("a newer schema");
    drop(newer);
    let line = bank.fails(3, &["--store", "sqlite:newer.db", "open", "Alice"]);
    assert!(line.contains("newer") || line.contains("later"), "{line}");
}

#[test]
fn a_server_that_cannot_be_reached_is_3_and_the_password_stays_secret() {
    let bank = Bank::new();
    let url_without_server = "postgres://me:secret@127.0.0.1:1/bank?connect_timeout=5";
    let here = Place::postgres().url().replace("/bank_", "/no_such_bank_");
    for store in [
        url_without_server,
        &here,
        "postgres://me:secret@no-such-host.invalid/bank",
    ] {
        let line = bank.fails(3, &["--store", store, "accounts"]);
        assert!(!line.contains("secret"), "{line}");
    }
    assert!(
        !bank
            .text(&["--store", url_without_server, "describe"])
            .contains("secret")
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let bank = Bank::new();
    bank.text(&[]);
    let binary = env!("CARGO_BIN_EXE_bank-example");
    let script = format!("'{binary}' log | head -n 1; exit ${{PIPESTATUS[0]}}");
    let output = Command::new("bash")
        .current_dir(bank.path())
        .args(["-c", &script])
        .output()
        .expect("bash runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
