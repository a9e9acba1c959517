//! The files that commands leave behind, and the behaviour of a served bank whose file is removed.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Bank;
use super::support::serving::Server;

fn assert_tidy(bank: &Bank, arguments: &[&str]) {
    for name in ["bank.db-wal", "bank.db-shm", "bank.db-journal"] {
        assert!(
            !bank.path().join(name).exists(),
            "{arguments:?} has left {name}"
        );
    }
}

#[test]
fn finished_command_leaves_one_file() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    let bob = bank.open("Bob");
    let wrong = "00000000-0000-4000-8000-000000000000";
    let commands: [&[&str]; 30] = [
        &["demo"],
        &["credit", &alice, "20.00"],
        &["debit", &alice, "5.00"],
        &["debit", &alice, "5000000.00"],
        &["credit", wrong, "1.00"],
        &["credit", &alice, "nonsense"],
        &["transfer", &alice, &bob, "1.00"],
        &["transfer", &alice, &bob, "1.00", "--in-steps"],
        &["transfer", &alice, wrong, "1.00"],
        &["transfers"],
        &["accounts"],
        &["account", &alice],
        &["account", &alice, "--at", "1"],
        &["account", wrong],
        &["history", &alice],
        &["ledger"],
        &["describe"],
        &["followers"],
        &["parked"],
        &["parked", "retry", "ledger", wrong],
        &["verify"],
        &["verify", "--contents"],
        &["rebuild", "activity"],
        &["rebuild", "nonsense"],
        &["log"],
        &["activity"],
        &["backup", "copy.db"],
        &["backup", "copy.db"],
        &["export", "bank.jsonl"],
        &["export", "missing/bank.jsonl"],
    ];
    for arguments in commands {
        bank.run(arguments);
        assert_tidy(&bank, arguments);
    }
    let archive = bank.path().join("bank.jsonl");
    let other = Bank::new();
    for _ in 0..2 {
        other.run(&["import", archive.to_str().expect("UTF-8")]);
        assert_tidy(&other, &["import"]);
    }
}

/// A copy made by `cp` after each command is complete.
#[test]
fn copy_after_each_command_is_complete() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    for number in 1..=30 {
        bank.text(&["credit", &alice, "1.00"]);
        let copy = Bank::new();
        fs::copy(bank.path().join("bank.db"), copy.path().join("bank.db")).expect("a copy");
        assert_eq!(
            copy.json(&["account", &alice])["balance"],
            format!("{number}.00")
        );
        copy.text(&["verify"]);
    }
}

#[test]
fn served_bank_leaves_one_file_when_it_is_told_to_stop() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    let server = Server::start(&bank.url());
    let credited = server.client().post(
        &format!("/api/accounts/{alice}/credit"),
        "1",
        &json!({ "amount": "1.00" }),
    );
    assert_eq!(credited.expect("an answer").status, 200);
    server.stop();
    assert_tidy(&bank, &["serve"]);
}

#[test]
fn served_bank_whose_file_was_removed_acknowledges_nothing_and_is_not_healthy() {
    let bank = Bank::new();
    let alice = bank.open("Alice");
    let server = Server::start(&bank.url());
    let mut client = server.client();
    let path = format!("/api/accounts/{alice}/credit");
    let body = json!({ "amount": "1.00" });
    assert_eq!(
        client
            .post(&path, "first", &body)
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(client.get("/healthz").expect("an answer").status, 200);
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(bank.path().join(format!("bank.db{ending}"))).expect("it is removed");
    }
    for key in ["second", "third"] {
        let refused = client.post(&path, key, &body).expect("an answer");
        assert_eq!(refused.status, 503, "{refused:?}");
    }
    let healthy = client.get("/healthz").expect("an answer");
    assert!(
        healthy.status == 503
            && healthy
                .text
                .contains("removed or renamed while this store had it open"),
        "{healthy:?}"
    );
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(client.get("/readyz").expect("an answer").status, 503);
    assert_eq!(client.get("/api/followers").expect("an answer").status, 503);
    assert!(
        !bank.path().join("bank.db").exists(),
        "no file was made anew"
    );
}

/// Without an end it would wait forever for a file that cannot be put back while it runs.
#[test]
fn watching_ends_when_the_file_was_removed() {
    let bank = Bank::new();
    bank.open("Alice");
    let mut watch = bank.command(&["watch", "--after", "0"]);
    let mut watch = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the bank runs");
    let mut first = [0];
    watch
        .stdout
        .as_mut()
        .expect("a pipe")
        .read_exact(&mut first)
        .expect("the first event is shown");
    fs::remove_file(bank.path().join("bank.db")).expect("it is removed");
    let since = Instant::now();
    while watch.try_wait().expect("a status").is_none() && since.elapsed() < Duration::from_secs(15)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ended = watch.kill();
    let output = watch.wait_with_output().expect("its output");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("removed or renamed while this store had it open"),
        "{errors}"
    );
}
