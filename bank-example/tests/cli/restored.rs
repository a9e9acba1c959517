//! `accept-restored`: followers go on in a log that was put back to an earlier moment without them, as when the tables of events
//! alone are restored.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::Bank;
use super::support::by_hand::Session;
use super::support::serving::Server;

/// Takes everything after `position` out of the log; followers and their tables stay as they are.
fn forget_after(bank: &Bank, position: u64) {
    match &bank.place {
        Some(place) => {
            let mut psql = Session::new(place);
            psql.run(&format!(
                "DELETE FROM events WHERE position > {position}; DELETE FROM snapshots"
            ));
        }
        None => {
            let file = Connection::open(bank.path().join("bank.db")).expect("the file opens");
            let delete = format!(
                "DELETE FROM eventsourcing_events WHERE position > {position}; DELETE FROM eventsourcing_snapshots"
            );
            file.execute_batch(&delete).expect("it is forgotten");
        }
    }
}

/// Returns the output of a command that is carried out while other followers still have stopped, of which it warns.
fn done(bank: &Bank, arguments: &[&str]) -> String {
    let output = bank.run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The followers that have stopped, and why.
fn stopped(bank: &Bank) -> Vec<(String, String)> {
    let output = bank.run(&["--json", "followers"]);
    let followers: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    let followers = followers
        .as_array()
        .expect("an array")
        .iter()
        .filter(|follower| follower["state"] == "stopped");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    followers
        .map(|follower| (text(&follower["name"]), text(&follower["failure"])))
        .collect()
}

/// Asks until `number` followers are shown as stopped, or for the last time after many attempts. A program that runs the
/// followers for a moment ends as soon as one of them has stopped, and the others may need a moment longer.
fn all_stopped(bank: &Bank, number: usize) -> Vec<(String, String)> {
    for _ in 0..20 {
        let stopped = stopped(bank);
        if stopped.len() == number {
            return stopped;
        }
    }
    stopped(bank)
}

/// A program whose followers have all stopped continues by itself.
fn assert_goes_on(serving: &Server) {
    let begun = Instant::now();
    loop {
        let followers = serving
            .client()
            .get("/api/followers")
            .expect("an answer")
            .text;
        if followers.contains("\"ledger\"") && !followers.contains("went back") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{followers}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn followers_go_on_in_a_log_that_was_restored_without_them() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let bob = bank.open("Bob");

        bank.text(&["credit", &alice, "20"]);
        let kept = bank
            .json(&["log"])
            .as_array()
            .map(Vec::len)
            .expect("events");
        bank.text(&["credit", &alice, "5"]);
        bank.text(&["transfer", &alice, &bob, "3", "--in-steps"]);
        forget_after(&bank, kept as u64);

        let gone_back = all_stopped(&bank, 5);
        let names: Vec<_> = gone_back.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["accounts", "ledger", "transfers", "activity", "summaries"] {
            assert!(
                names.contains(&name),
                "{name} has seen lost events: {gone_back:?}"
            );
        }
        assert!(
            gone_back.iter().all(|(_, why)| why.contains("went back")),
            "{gone_back:?}"
        );
        assert!(
            done(&bank, &["credit", &bob, "7"]).contains("credited 7.00"),
            "the ledger has to wait for it"
        );

        // The followers of this program stop, too.
        let serving = Server::start(&bank.url());
        let position = kept.to_string();
        let refused = bank.run(&["accept-restored", "activity", "--kept", &position]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(2) && said.contains("rebuild it"),
            "{said}"
        );
        let refused = bank.run(&["accept-restored", "ledger", "--kept", "1000"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(2) && said.contains("the log ends at position"),
            "{said}"
        );
        for policy in ["accounts", "ledger", "transfers"] {
            let accepted = done(&bank, &["accept-restored", policy, "--kept", &position]);
            assert!(
                accepted.contains(&format!(
                    "{policy} goes on after position {kept}; it was at 1"
                )),
                "{accepted}"
            );
            let again = done(&bank, &["accept-restored", policy, "--kept", &position]);
            assert!(
                again.contains("has processed no event that its log has lost"),
                "{again}"
            );
        }
        for read_model in ["activity", "summaries"] {
            done(&bank, &["rebuild", read_model]);
        }
        assert_eq!(stopped(&bank), []);
        assert_goes_on(&serving);
        serving.stop();
        bank.text(&["verify", "--contents"]);
        let ledger = bank.json(&["ledger"]);
        assert_eq!(
            (&ledger["balance"], &ledger["transactions"]),
            (&"27.00".into(), &2.into()),
            "each movement once"
        );
        bank.text(&["transfer", &alice, &bob, "1", "--in-steps"]);
        assert_eq!(bank.json(&["account", &bob])["balance"], "8.00");
        bank.text(&["verify", "--contents"]);
    }
}
