//! The addresses of stores that are accepted, the commands that create a store, and the parts of an address that are
//! never shown.

use std::path::Path;
use std::process::{Command, Output};

use crate::Bank;
use crate::support::Place;

const ID: &str = "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f";

/// Every command that takes a store and must not make one.
fn taking() -> Vec<Vec<&'static str>> {
    vec![
        vec!["credit", ID, "1"],
        vec!["debit", ID, "1"],
        vec!["transfer", ID, "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9e", "1"],
        vec![
            "transfer",
            ID,
            "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9e",
            "1",
            "--in-steps",
        ],
        vec!["transfers"],
        vec!["transfers", ID],
        vec!["accounts"],
        vec!["account", ID],
        vec!["history", ID],
        vec!["ledger"],
        vec!["followers"],
        vec!["parked"],
        vec!["parked", "list"],
        vec!["parked", "record"],
        vec!["parked", "retry", "ledger", "all"],
        vec!["parked", "drop", "ledger", ID, "--reason", "a test"],
        vec!["verify"],
        vec!["verify", "--contents"],
        vec!["rebuild", "activity"],
        vec!["log"],
        vec!["activity"],
        vec!["watch"],
        vec!["export", "out.jsonl"],
        vec!["export", "-"],
    ]
}

fn files(folder: &Path) -> Vec<String> {
    let names = folder
        .read_dir()
        .expect("the folder")
        .map(|file| file.expect("a file").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn refused(bank: &Bank, code: i32, store: &str, command: &[&str]) -> String {
    let output = bank.run(&[&["--store", store], command].concat());
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(
        (output.status.code(), line.lines().count()),
        (Some(code), 1),
        "{command:?} {store}: {line}"
    );
    assert!(output.stdout.is_empty(), "{command:?} {store}");
    line
}

#[test]
fn commands_that_take_a_store_make_none() {
    let bank = Bank::new();
    let unmade = Place::postgres();
    std::fs::write(bank.path().join("empty.db"), "").expect("an empty file");
    let others = rusqlite::Connection::open(bank.path().join("others.db")).expect("a database");
    others
        .execute_batch("CREATE TABLE notes (text TEXT)")
        .expect("a table of something else");
    drop(others);
    let before = files(bank.path());
    for command in taking() {
        for store in [
            "sqlite:typo.db",
            "sqlite:empty.db",
            "sqlite:others.db",
            unmade.url(),
        ] {
            let line = refused(&bank, 3, store, &command);
            let says = line.contains("no such file") || line.contains("no store of events");
            assert!(
                says && line.contains("open, the demo, import and serve create one"),
                "{line}"
            );
        }
    }
    assert_eq!(files(bank.path()), before, "no file was made");
    assert_eq!(
        std::fs::metadata(bank.path().join("empty.db"))
            .expect("the file")
            .len(),
        0,
        "it is still empty"
    );
    let schemas = Command::new(crate::support::psql())
        .args([
            unmade.url(),
            "-Atc",
            "SELECT count(*) FROM pg_namespace WHERE nspname = 'eventsourcing'",
        ])
        .output()
        .expect("psql runs");
    assert_eq!(
        String::from_utf8_lossy(&schemas.stdout).trim(),
        "0",
        "no schema was made"
    );
}

#[test]
fn a_name_that_is_refused_makes_no_store() {
    let bank = Bank::new();
    for owner in ["", "two\nlines"] {
        assert!(
            bank.fails(1, &["open", owner])
                .contains("the owner's name must have")
        );
    }
    assert_eq!(files(bank.path()), [""; 0]);
}

#[test]
fn commands_that_begin_a_bank_make_its_store() {
    for command in [&["open", "Alice"][..], &["demo"]] {
        for place in [None, Some(Place::postgres())] {
            let bank = Bank {
                place,
                ..Bank::new()
            };
            bank.text(command);
            bank.text(&["accounts"]);
        }
    }
    let bank = Bank::new();
    bank.text(&["demo"]);
    bank.text(&["export", "bank.jsonl"]);
    bank.text(&["--store", "sqlite:other.db", "import", "bank.jsonl"]);
    bank.text(&["--store", "sqlite:other.db", "accounts"]);
}

#[test]
fn addresses_that_cannot_be_meant_are_refused_and_make_nothing() {
    let bank = Bank::new();
    std::fs::create_dir(bank.path().join("data")).expect("a folder");
    let before = files(bank.path());
    for store in [
        "sqlite://x.db",
        "sqlite:///x.db",
        "sqlite:",
        "sqlite:x.db?mode=ro",
        "sqlite:file:x.db",
        "sqlite::memory:",
        "sqlite:data/",
        "sqlite:x.db-wal",
        "sqlite: x.db",
        "SQLITE:x.db",
        "x.db",
        "",
        "memory",
        "memory:x",
        "postgres:bank",
        "postgres://",
        "mysql://me:s3cr3t@host/bank",
    ] {
        for command in [&["open", "Alice"][..], &["accounts"]] {
            let line = refused(&bank, 2, store, command);
            assert!(
                line.contains("sqlite:PATH") && !line.contains("s3cr3t"),
                "{store}: {line}"
            );
        }
    }
    for command in [&["open", "Alice"][..], &["accounts"]] {
        assert!(refused(&bank, 3, "sqlite:data", command).contains("folder"));
    }
    assert_eq!(files(bank.path()), before, "nothing was made");
}

/// Returns everything that a program has printed, on both outputs.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

#[test]
fn no_piece_of_a_password_is_ever_shown() {
    let bank = Bank::new();
    let typed = [
        "postgres://bank:p@s3cr3t@127.0.0.1:1/b",
        "postgres://bank:1/s3cr3t@127.0.0.1:1/b",
        "postgres://bank:1?s3cr3t@127.0.0.1:1/b",
        "postgres://bank:1#s3cr3t@127.0.0.1:1/b",
        "postgres://bank:s3cr3t@127.0.0.1:1/b",
        "postgres://bank:s3cr3t@127.0.0.1:port/b",
        "postgres://bank:s3cr3t @127.0.0.1:1/b",
        "postgres://bank:%zzs3cr3t@127.0.0.1:1/b",
        "postgres://bank:s3cr3t@no-such-host.invalid/b",
        "postgres://bank@127.0.0.1:1/b?password=s3cr3t&connect_timeout=x",
        "postgress://bank:s3cr3t@127.0.0.1:1/b",
        "bank:s3cr3t@127.0.0.1:1/b",
        "host=127.0.0.1 port=1 password=s3cr3t",
        "s3cr3t",
    ];
    for store in typed {
        let as_argument = bank
            .command(&["--store", store, "accounts"])
            .env("RUST_LOG", "trace")
            .output();
        let as_subcommand = bank.run(&[store, "accounts"]);
        let mistyped = bank.run(&[&format!("--stor={store}"), "accounts"]);
        let in_variable = bank
            .command(&["accounts"])
            .env("BANK_STORE", store)
            .env("RUST_LOG", "trace")
            .output();
        let file = bank.path().join("store");
        std::fs::write(&file, format!("{store}\n")).expect("a file");
        let in_file = bank
            .command(&["--store-file", "store", "accounts"])
            .env("RUST_LOG", "trace")
            .output();
        let outputs =
            [as_argument, in_variable, in_file].map(|output| output.expect("the bank runs"));
        for output in outputs.iter().chain([&mistyped]) {
            assert!(
                matches!(output.status.code(), Some(2 | 3)),
                "{store}: {}",
                said(output)
            );
            assert!(
                !said(output).contains("s3cr3t"),
                "{store}: {}",
                said(output)
            );
        }
        if store.contains("://") {
            assert!(
                !said(&as_subcommand).contains("s3cr3t"),
                "{store}: {}",
                said(&as_subcommand)
            );
        }
    }
}

#[test]
fn the_store_comes_from_the_environment_or_a_file_and_is_not_in_the_list_of_processes() {
    let place = Place::postgres();
    let bank = Bank::new();
    let file = bank.path().join("store");
    std::fs::write(&file, format!("{}\r\n", place.url())).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let of = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = bank
            .command(arguments)
            .envs(variables.iter().copied())
            .output()
            .expect("the bank runs");
        (output.status.code(), said(&output))
    };
    let opened = of(&["open", "Alice"], &[("BANK_STORE", place.url())]);
    assert_eq!(opened.0, Some(0), "{}", opened.1);
    for (arguments, variables) in [
        (&["accounts"][..], &[("BANK_STORE", place.url())][..]),
        (&["accounts"], &[("BANK_STORE_FILE", file)]),
        (
            &["accounts", "--store-file", file],
            &[("BANK_STORE", "sqlite:typo.db")],
        ),
        (&["--store-file", file, "accounts"], &[]),
        (
            &["accounts", "--store", place.url()],
            &[("BANK_STORE", "nonsense"), ("BANK_STORE_FILE", "/none")],
        ),
    ] {
        let (code, text) = of(arguments, variables);
        assert!(
            code == Some(0) && text.contains("Alice"),
            "{arguments:?} {variables:?}: {text}"
        );
    }
    for (arguments, variables, why) in [
        (
            &["accounts"][..],
            &[("BANK_STORE", "")][..],
            "BANK_STORE is empty",
        ),
        (
            &["accounts"],
            &[("BANK_STORE", "memory:"), ("BANK_STORE_FILE", file)],
            "both given",
        ),
        (
            &["--store", "memory:", "accounts", "--store-file", file],
            &[],
            "both given",
        ),
        (
            &["accounts"],
            &[("BANK_STORE_FILE", "/no/such/file")],
            "/no/such/file: No such file",
        ),
        (
            &["accounts", "--store-file", "/dev/null"],
            &[],
            "it is empty",
        ),
    ] {
        let (code, text) = of(arguments, variables);
        assert!(
            code == Some(2) && text.contains(why),
            "{arguments:?} {variables:?}: {text}"
        );
    }
    assert!(!bank.path().join("bank.db").exists() && !bank.path().join("typo.db").exists());

    let mut watch = bank.command(&["watch"]);
    let mut watch = watch
        .env("BANK_STORE", place.url())
        .spawn()
        .expect("the bank runs");
    let arguments =
        std::fs::read(format!("/proc/{}/cmdline", watch.id())).expect("the list of processes");
    assert!(
        !String::from_utf8_lossy(&arguments).contains("postgres"),
        "{arguments:?}"
    );
    watch
        .kill()
        .and_then(|()| watch.wait())
        .expect("it is ended");
}
