//! Closed pipes and full disks: every command ends with a documented exit code, and with a message if standard error is
//! open.

use std::fs::OpenOptions;
use std::process::{Output, Stdio};

use crate::Bank;

/// The codes that `--help` lists.
const CODES: [i32; 7] = [0, 1, 2, 3, 4, 130, 143];
const DONE_BUT: &str = "error: done, but the answer could not be written: ";

/// An output that accepts no bytes, like a full disk.
fn full() -> Stdio {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("the system has /dev/full")
        .into()
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A bank with two accounts, and every command with its arguments. The first ones change something.
struct Commands {
    bank: Bank,
    changing: Vec<Vec<String>>,
    reading: Vec<Vec<String>>,
}

impl Commands {
    fn new() -> Self {
        let bank = Bank::new();
        let alice = bank.open("Alice");
        let bob = bank.open("Bob");

        bank.text(&["credit", &alice, "1000"]);
        let lock = bank.path().join("events.lock.json");
        std::fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/events.lock.json"),
            lock,
        )
        .expect("a copy of the lock");
        let owned = |commands: &[&[&str]]| -> Vec<Vec<String>> {
            commands
                .iter()
                .map(|command| command.iter().map(|&word| word.to_owned()).collect())
                .collect()
        };
        let changing = owned(&[
            &["demo"],
            &["open", "Carol"],
            &["credit", &alice, "5"],
            &["debit", &alice, "5"],
            &["transfer", &alice, &bob, "5"],
            &["transfer", &alice, &bob, "5", "--in-steps"],
            &["rebuild", "activity"],
            &["schema", "update", "--lock", "events.lock.json"],
        ]);
        let reading = owned(&[
            &["--help"],
            &["credit", "--help"],
            &["--version"],
            &["describe"],
            &["schema", "check"],
            &["schema", "print"],
            &["transfers"],
            &["accounts"],
            &["account", &alice],
            &["history", &alice],
            &["ledger"],
            &["followers"],
            &["parked"],
            &["parked", "record"],
            &["verify", "--contents"],
            &["log"],
            &["activity"],
            &["watch", "--after", "0"],
        ]);
        Self {
            bank,
            changing,
            reading,
        }
    }

    /// Runs a command as text and as JSON.
    fn run(&self, words: &[String], out: fn() -> Stdio, err: fn() -> Stdio) -> [Output; 2] {
        [false, true].map(|json| {
            let mut words: Vec<_> = words.iter().map(String::as_str).collect();
            if json {
                words.insert(0, "--json");
            }
            let mut command = self.bank.command(&words);
            command
                .stdout(out())
                .stderr(err())
                .output()
                .expect("the bank runs")
        })
    }

    fn events(&self) -> usize {
        self.bank.json(&["log"]).as_array().map_or(0, Vec::len)
    }
}

/// Returns the last line on standard error; earlier lines may report progress.
fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_full_disk_is_4_and_what_was_asked_for_is_done() {
    let commands = Commands::new();
    for words in &commands.changing {
        let before = commands.events();
        for output in commands.run(words, full, Stdio::piped) {
            let line = last_line(&output);
            assert_eq!(output.status.code(), Some(4), "{words:?}: {line}");
            assert!(
                line.starts_with(DONE_BUT) && line.contains("No space left"),
                "{words:?}: {line}"
            );
        }
        let is_recorded = !["rebuild", "schema"].contains(&words[0].as_str());
        assert_eq!(
            commands.events() > before,
            is_recorded,
            "{words:?} was carried out"
        );
    }
    for words in &commands.reading {
        for output in commands.run(words, full, Stdio::piped) {
            let line = last_line(&output);
            assert_eq!(output.status.code(), Some(4), "{words:?}: {line}");
            assert!(
                line.starts_with("error: the answer could not be written: "),
                "{words:?}: {line}"
            );
        }
    }
    commands.bank.text(&["verify"]);
}

#[test]
fn a_closed_pipe_loses_the_answer_of_a_change_and_ends_a_look() {
    let commands = Commands::new();
    for words in &commands.changing {
        for output in commands.run(words, closed, Stdio::piped) {
            let line = last_line(&output);
            assert_eq!(output.status.code(), Some(4), "{words:?}: {line}");
            assert!(line.starts_with(DONE_BUT), "{words:?}: {line}");
        }
    }
    for words in &commands.reading {
        for output in commands.run(words, closed, Stdio::piped) {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                (output.status.code(), &*said),
                (Some(0), ""),
                "{words:?}: the reader has seen enough"
            );
        }
    }
}

#[test]
fn nothing_to_write_to_is_no_panic() {
    let commands = Commands::new();
    let wrong = [
        &["frobnicate"][..],
        &["account", "nobody"],
        &["--store", "oracle:x", "ledger"],
    ];
    let wrong = wrong.map(|words| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    });
    for err in [full, closed] {
        for words in commands
            .changing
            .iter()
            .chain(&commands.reading)
            .chain(&wrong)
        {
            for output in commands.run(words, closed, err) {
                let code = output.status.code().unwrap_or_default();
                assert!(
                    CODES.contains(&code) && output.status.code().is_some(),
                    "{words:?}: {:?}",
                    output.status
                );
            }
        }
    }
    // The log has no output either.
    let mut logging = commands
        .bank
        .command(&["credit", commands.changing[2][1].as_str(), "5"]);
    let logging = logging
        .env("RUST_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(closed())
        .output()
        .expect("it runs");
    assert!(logging.status.success(), "{:?}", logging.status);
    commands.bank.text(&["verify"]);
}

#[test]
fn an_archive_that_is_cut_off_is_an_error() {
    let bank = Bank::new();
    bank.text(&[]);
    for (out, why) in [
        (full as fn() -> Stdio, "No space left"),
        (closed, "Broken pipe"),
    ] {
        let output = bank
            .command(&["export", "-"])
            .stdout(out())
            .stderr(Stdio::piped())
            .output()
            .expect("it runs");
        let line = last_line(&output);
        assert_eq!(output.status.code(), Some(4), "{line}");
        assert!(
            line.starts_with("error: the answer could not be written: ") && line.contains(why),
            "{line}"
        );
    }
    // The file is whole; only the answer is lost.
    let output = bank
        .command(&["export", "bank.jsonl"])
        .stdout(full())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(4));
    let import = ["--store", "sqlite:other.db", "import", "bank.jsonl"];
    let output = bank
        .command(&import)
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(4));
    assert!(
        last_line(&output).starts_with(DONE_BUT),
        "{}",
        last_line(&output)
    );
    assert_eq!(
        bank.json(&["--store", "sqlite:other.db", "ledger"])["transactions"],
        12
    );
    // A difference that cannot be shown is still a difference.
    let file = rusqlite::Connection::open(bank.path().join("bank.db")).expect("the database");
    file.execute("UPDATE account_summaries_1 SET balance = 7", [])
        .expect("an update");
    drop(file);
    let output = bank
        .command(&["verify", "--contents"])
        .stdout(full())
        .output()
        .expect("it runs");
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn exit_codes_are_documented() {
    let help = Bank::new().text(&["--help"]);
    let (_, codes) = help.split_once("Exit codes:").expect("the codes");
    for code in CODES {
        let is_listed = codes
            .split(|c: char| !c.is_ascii_digit())
            .any(|word| word == code.to_string());
        assert!(is_listed, "{code} in {codes}");
    }
}

/// A bank with an event that cannot be decoded: the next command logs that it is parked.
fn with_trouble() -> Bank {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    bank.text(&["credit", &alice, "20"]);
    crate::with_garbage(&bank);
    bank
}

#[test]
fn warnings_are_logged_without_being_asked_for_and_without_colours() {
    for (filter, is_logged) in [
        (None, true),
        (Some(""), true),
        (Some("info"), true),
        (Some("off"), false),
    ] {
        let bank = with_trouble();
        let mut command = bank.command(&["ledger"]);
        if let Some(filter) = filter {
            command.env("RUST_LOG", filter);
        }
        let output = command.output().expect("the bank runs");
        let log = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(
            log.contains("ERROR"),
            is_logged,
            "RUST_LOG={filter:?}: {log}"
        );
        assert!(!log.contains('\u{1b}'), "no colours in a file: {log:?}");
    }
    let odd = with_trouble()
        .command(&["ledger"])
        .env("RUST_LOG", "bank=loud=very")
        .output()
        .expect("the bank runs");
    let said = String::from_utf8_lossy(&odd.stderr).into_owned();
    assert!(
        odd.status.success() && said.contains("warning: RUST_LOG is not a valid filter"),
        "{said}"
    );
    assert!(said.contains("ERROR"), "{said}");
}

/// A terminal shows colours, unless the user has turned them off.
#[test]
fn colours_are_for_terminals() {
    let program = env!("CARGO_BIN_EXE_bank-example");
    for (variable, value, is_coloured) in [
        ("TERM", "xterm", true),
        ("NO_COLOR", "1", false),
        ("TERM", "dumb", false),
    ] {
        let bank = with_trouble();
        let mut terminal = std::process::Command::new("script");
        terminal
            .args(["-qec", &format!("'{program}' ledger"), "/dev/null"])
            .current_dir(bank.path());
        terminal
            .env_remove("RUST_LOG")
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env(variable, value);
        let shown = terminal
            .stdin(Stdio::null())
            .output()
            .expect("script runs (Debian: bsdutils)")
            .stdout;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains("ERROR"), "{shown}");
        assert_eq!(
            shown.contains('\u{1b}'),
            is_coloured,
            "{variable}={value}: {shown:?}"
        );
    }
}
