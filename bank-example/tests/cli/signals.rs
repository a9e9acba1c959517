//! SIGTERM and SIGINT end every command, also as process 1 of a container, where a program that does not listen ignores them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Bank;

/// The longest that a command may take to end.
const ENDING_TIME_MAX: Duration = Duration::from_secs(8);

pub(crate) fn is_superuser() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// Runs the bank as process 1 of a process namespace of its own, as in a container.
fn as_process_1(bank: &Bank, arguments: &[&str]) -> Child {
    let plain = bank.command(arguments);
    let mut command = Command::new("unshare");
    // Without the rights of the superuser, a user namespace lends them.
    if !is_superuser() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child"]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(bank.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("unshare runs (Debian: util-linux)")
}

/// The process in the namespace, as it is called outside of it.
fn inner(outer: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", outer.id());
    let begin = Instant::now();
    loop {
        let children = std::fs::read_to_string(&children).expect("the kernel lists children");
        let child = children.split_whitespace().next().and_then(|child| child.parse().ok());
        // Before that it is a copy of unshare.
        if let Some(child) = child
            && std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.starts_with("bank"))
        {
            return child;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the bank does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn listens_for_signals(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or_default();
    [2, 15].iter().all(|signal| caught & (1 << (signal - 1)) != 0)
}

/// Sends the signal once the program listens, and returns its exit code and what it has said.
fn ends(bank: &Bank, arguments: &[&str], signal: &str) -> (Option<i32>, String) {
    let mut outer = as_process_1(bank, arguments);
    let inner = inner(&outer);
    let begin = Instant::now();
    while !listens_for_signals(inner) {
        assert!(begin.elapsed() < Duration::from_secs(20), "{arguments:?} does not listen for signals");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Into the middle of its work.
    std::thread::sleep(Duration::from_millis(300));
    let sent = Instant::now();
    let kill = Command::new("kill").args([&format!("-{signal}"), &inner.to_string()]).status().expect("kill runs");
    assert!(kill.success(), "{arguments:?} has ended by itself");
    while outer.try_wait().expect("it is waited for").is_none() {
        assert!(sent.elapsed() < ENDING_TIME_MAX, "{arguments:?} ignores SIG{signal}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = outer.wait_with_output().expect("it has ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_runs_until_it_is_interrupted_ends_well() {
    let bank = Bank::new();
    bank.open("Alice");
    for arguments in [&["watch"][..], &["serve", "--addr", "127.0.0.1:0"]] {
        for signal in ["TERM", "INT"] {
            let (code, said) = ends(&bank, arguments, signal);
            assert_eq!((code, said.as_str()), (Some(0), ""), "{arguments:?}, SIG{signal}");
        }
    }
    bank.text(&["verify"]);
}

/// A server that takes connections and never answers keeps every command at its beginning.
#[test]
fn every_command_can_be_interrupted_while_it_waits_for_the_store() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://bank@{}/bank", silent.local_addr().expect("an address"));
    let bank = Bank::new();
    std::fs::write(bank.path().join("bank.jsonl"), "").expect("a file");
    let id = "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f";
    for arguments in [
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
    ] {
        let arguments = [&["--store", &url], arguments].concat();
        for (signal, code) in [("TERM", 143), ("INT", 130)] {
            let (ended, said) = ends(&bank, &arguments, signal);
            assert_eq!(ended, Some(code), "{arguments:?}: {said}");
            let line = said.lines().last().unwrap_or_default();
            assert!(line.starts_with(&format!("error: interrupted by SIG{signal}")), "{arguments:?}: {said}");
        }
    }
}

/// A command that has recorded something does not claim otherwise because it is interrupted afterwards.
#[test]
fn what_is_recorded_is_said_to_be_done() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    // The ledger waits for a lock that is never given back, so the command waits for the ledger.
    let serving = crate::support::serving::Server::start(&bank.url());
    let blocked = Command::new("kill").args(["-STOP", &serving.id().to_string()]).status().expect("kill runs");
    assert!(blocked.success());
    let (code, said) = ends(&bank, &["credit", &alice, "20"], "TERM");
    let freed = Command::new("kill").args(["-CONT", &serving.id().to_string()]).status().expect("kill runs");
    assert!(freed.success());
    assert!(matches!(code, Some(0 | 143)), "{code:?}: {said}");
    let balance = bank.json(&["account", &alice])["balance"].clone();
    if code == Some(0) {
        assert_eq!(balance, "20.00", "{said}");
    } else {
        assert!(said.contains("it is not known whether the command was carried out"), "{said}");
    }
}
