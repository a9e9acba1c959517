//! SIGTERM and SIGINT end every command, also as process 1 of a container, where a program that does not listen ignores them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Bank;
use crate::support::Place;

/// The longest that a command may take to end: 8 seconds, and what a busy machine adds.
const ENDING_TIME_MAX: Duration = Duration::from_secs(15);

pub(crate) fn is_superuser() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// Runs the bank as process 1 of a process namespace of its own, as in a container.
fn as_process_1(bank: &Bank, arguments: &[&str]) -> Child {
    let plain = bank.command(arguments);
    let mut command = Command::new("unshare");
    // Without superuser rights, a user namespace provides them.
    if !is_superuser() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg(plain.get_program())
        .args(plain.get_args());
    command
        .current_dir(bank.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("unshare runs (Debian: util-linux)")
}

/// Returns the process in the namespace by its id outside of it.
fn inner(outer: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", outer.id());
    let begin = Instant::now();
    loop {
        let children = std::fs::read_to_string(&children).expect("the kernel lists children");
        let child = children
            .split_whitespace()
            .next()
            .and_then(|child| child.parse().ok());
        // Before that it is a copy of unshare.
        if let Some(child) = child
            && std::fs::read_to_string(format!("/proc/{child}/comm"))
                .is_ok_and(|name| name.starts_with("bank"))
        {
            return child;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "the bank does not begin"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn listens_for_signals(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap_or_default();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or_default();
    [2, 15]
        .iter()
        .all(|signal| caught & (1 << (signal - 1)) != 0)
}

/// Sends the signal once the program listens, and returns its exit code and what it has said.
fn ends(bank: &Bank, arguments: &[&str], signal: &str) -> (Option<i32>, String) {
    let mut outer = as_process_1(bank, arguments);
    let inner = inner(&outer);
    let begin = Instant::now();
    while !listens_for_signals(inner) {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{arguments:?} does not listen for signals"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // The signal comes in the middle of the work, also on a busy machine.
    std::thread::sleep(Duration::from_secs(1));
    let sent = Instant::now();
    let kill = Command::new("kill")
        .args([&format!("-{signal}"), &inner.to_string()])
        .status()
        .expect("kill runs");
    assert!(kill.success(), "{arguments:?} has ended by itself");
    while outer.try_wait().expect("it is waited for").is_none() {
        assert!(
            sent.elapsed() < ENDING_TIME_MAX,
            "{arguments:?} ignores SIG{signal}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = outer.wait_with_output().expect("it has ended");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn serve_and_watch_end_successfully_on_a_signal() {
    let bank = Bank::new();
    bank.open("Alice");
    for arguments in [&["watch"][..], &["serve", "--addr", "127.0.0.1:0"]] {
        for signal in ["TERM", "INT"] {
            let (code, said) = ends(&bank, arguments, signal);
            assert_eq!(
                (code, said.as_str()),
                (Some(0), ""),
                "{arguments:?}, SIG{signal}"
            );
        }
    }
    bank.text(&["verify"]);
}

/// A server that accepts connections and never answers blocks every command at its beginning.
#[test]
fn every_command_can_be_interrupted_while_it_waits_for_the_store() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "postgres://bank@{}/bank",
        silent.local_addr().expect("an address")
    );
    let bank = Bank::new();
    std::fs::write(bank.path().join("bank.jsonl"), "").expect("a file");
    let id = "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f";
    let endings = [
        &["demo"][..],
        &["open", "Alice"],
        &["credit", id, "1"],
        &["debit", id, "1"],
        &["transfer", id, "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9e", "1"],
        &["transfers"],
        &["accounts"],
        &["account", id],
        &["history", id],
        &["ledger"],
        &["followers"],
        &["parked"],
        &["verify"],
        &["rebuild", "activity"],
        &["log"],
        &["activity"],
        &["serve", "--addr", "127.0.0.1:0"],
        &["watch"],
        &["export", "out.jsonl"],
        &["import", "bank.jsonl"],
    ]
    .map(|arguments| [&["--store", &url], arguments].concat());
    // Most of the time is waiting; a few at once, so that a small machine is not busy with them.
    for some in endings.chunks(2) {
        std::thread::scope(|scope| {
            for arguments in some {
                for (signal, code) in [("TERM", 143), ("INT", 130)] {
                    let bank = &bank;
                    scope.spawn(move || ends_at_the_beginning(bank, arguments, signal, code));
                }
            }
        });
    }
}

fn ends_at_the_beginning(bank: &Bank, arguments: &[&str], signal: &str, code: i32) {
    let (ended, said) = ends(bank, arguments, signal);
    assert_eq!(ended, Some(code), "{arguments:?}: {said}");
    let line = said.lines().last().unwrap_or_default();
    assert!(
        line.starts_with(&format!("error: interrupted by SIG{signal}")),
        "{arguments:?}: {said}"
    );
}

/// Begins an append by hand and leaves it open: no follower gets past it, and commands that wait for one are blocked.
fn hold_back_the_log(url: &str) -> Child {
    const OPEN: &str = "BEGIN; CREATE TEMP TABLE held AS SELECT * FROM eventsourcing.events LIMIT 1;
        UPDATE held SET position = nextval('eventsourcing.events_position'), stream_id = gen_random_uuid();
        INSERT INTO eventsourcing.events OVERRIDING SYSTEM VALUE SELECT * FROM held;
        SELECT 'held';\n";
    let mut psql = Command::new(crate::support::psql());
    psql.args([url, "-qAt", "-v", "ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut psql = psql.spawn().expect("psql runs");
    psql.stdin
        .as_mut()
        .expect("a pipe")
        .write_all(OPEN.as_bytes())
        .expect("it reads");
    let mut line = String::new();
    BufReader::new(psql.stdout.as_mut().expect("a pipe"))
        .read_line(&mut line)
        .expect("it answers");
    assert_eq!(line.trim(), "held");
    psql
}

/// A command that has recorded something says so, even if it is interrupted while it waits for the followers.
#[test]
fn an_interrupted_command_reports_that_it_was_recorded() {
    let bank = Bank {
        place: Some(Place::postgres()),
        ..Bank::new()
    };
    let alice = bank.open("Alice");
    let bob = bank.open("Bob");

    bank.text(&["credit", &alice, "100"]);
    let mut held = hold_back_the_log(&bank.url());
    let (code, said) = ends(&bank, &["credit", &alice, "20"], "TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("warning: interrupted before the ledger had processed it"),
        "{said}"
    );
    let (code, said) = ends(
        &bank,
        &["transfer", &alice, &bob, "20", "--in-steps"],
        "INT",
    );
    assert_eq!(code, Some(130), "{said}");
    assert!(
        said.contains("interrupted by SIGINT: done, but the end of transfer"),
        "{said}"
    );
    held.kill().and_then(|()| held.wait()).expect("it is ended");
    bank.text(&["ledger"]);
    assert_eq!(bank.json(&["transfers"])[0]["state"], "completed");
    assert_eq!(bank.json(&["account", &alice])["balance"], "100.00");
    bank.text(&["verify"]);
}

/// A program whose reader has stopped, as a pager does, is blocked in a write, and ends on a signal nevertheless.
#[test]
fn output_that_is_not_read_can_be_interrupted() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stores = bank_example::stores::open(&bank.url())
            .await
            .expect("a store");
        let app = eventsourcing::Application::new("accounts", stores.store());
        let credit = bank_example::domain::account::AccountEvent::Credited {
            amount: crate::support::money("0.01"),
        };
        let mut account = app
            .load::<bank_example::domain::account::Account>(alice.parse().expect("an id"))
            .await
            .expect("it");
        (0..2_000).for_each(|_| account.record(credit.clone()));
        app.save(&mut account).await.expect("a save");
    });
    bank.text(&["ledger"]);
    for (arguments, code) in [
        (&["log"][..], 143),
        (&["history", &alice], 143),
        (&["--json", "activity"], 143),
        (&["export", "-"], 143),
        (&["watch", "--after", "0"], 0),
    ] {
        let mut child = bank
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = child.stdout.take().expect("a pipe");
        std::thread::sleep(Duration::from_millis(2_500));
        let sent = Instant::now();
        let kill = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(kill.success());
        while child.try_wait().expect("it is waited for").is_none() {
            assert!(
                sent.elapsed() < ENDING_TIME_MAX,
                "{arguments:?} ignores SIGTERM"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().expect("it has ended");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!(
            code == 143,
            said.contains("interrupted by SIGTERM"),
            "{arguments:?}: {said}"
        );
        drop(out);
    }
}
