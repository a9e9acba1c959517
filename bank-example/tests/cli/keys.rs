//! Commands with a key: repeated, they get the first answer and change nothing.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::serving::Server;
use crate::{Bank, beside};

fn output_of(output: &Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        beside(output),
    )
}

/// Runs the command, lets other things happen, and runs it again, as text and as JSON.
#[track_caller]
fn is_answered_alike(
    bank: &Bank,
    command: &[&str],
    meanwhile: impl Fn(),
) -> (Option<i32>, String, String) {
    let first = output_of(&bank.run(command));
    meanwhile();
    let events = bank.json(&["log"]).as_array().map(Vec::len);
    let as_json = [&["--json"], command].concat();
    let first_as_json = output_of(&bank.run(&as_json));
    for _ in 0..2 {
        assert_eq!(output_of(&bank.run(command)), first, "{command:?}");
        assert_eq!(output_of(&bank.run(&as_json)), first_as_json, "{command:?}");
    }
    assert_eq!(
        bank.json(&["log"]).as_array().map(Vec::len),
        events,
        "{command:?} was carried out once"
    );
    first
}

#[test]
fn a_repeated_key_gets_the_first_answer() {
    for bank in Bank::all() {
        let (_, alice, _) = is_answered_alike(&bank, &["open", "Alice", "--key", "open 1"], || {});
        let alice = alice.trim().to_owned();
        let bob = bank.open("Bob");

        let moves = || drop(bank.text(&["credit", &alice, "3"]));
        let credit =
            is_answered_alike(&bank, &["credit", &alice, "20", "--key", "credit 1"], moves);
        assert!(
            credit.0 == Some(0)
                && credit.1.contains("credited 20.00")
                && credit.1.contains(" 20.00 "),
            "{credit:?}"
        );
        let debit = is_answered_alike(&bank, &["debit", &alice, "1.5", "--key", "debit 1"], moves);
        assert!(debit.0 == Some(0) && debit.1.contains("21.50"), "{debit:?}");
        let transfer = is_answered_alike(
            &bank,
            &["transfer", &alice, &bob, "4", "--key", "transfer 1"],
            moves,
        );
        assert!(
            transfer.0 == Some(0)
                && transfer.1.contains(" 20.50 ")
                && transfer.1.contains(" 4.00 "),
            "{transfer:?}"
        );
        let in_steps = [
            "transfer",
            &alice,
            &bob,
            "5",
            "--in-steps",
            "--key",
            "steps 1",
        ];
        let in_steps = is_answered_alike(&bank, &in_steps, moves);
        assert!(
            in_steps.0 == Some(0) && in_steps.1.contains("completed"),
            "{in_steps:?}"
        );
        assert_eq!(bank.json(&["account", &bob])["balance"], "9.00");
        bank.text(&["verify"]);
    }
}

#[test]
fn a_refusal_is_the_first_answer_too() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let missing = "0190e2f1-8c4b-7a53-9d21-5f3b6c7d8e9f";

        let rich = || drop(bank.text(&["credit", &alice, "50"]));
        for (command, part) in [
            (
                &["debit", &alice, "30", "--key", "d"][..],
                "insufficient funds: the balance is 0.00, 30.00",
            ),
            (
                &["transfer", &alice, missing, "3", "--key", "t"],
                "does not exist",
            ),
            (&["credit", missing, "3", "--key", "c"], "does not exist"),
            (&["credit", &alice, "-3", "--key", "n"], "is not an amount"),
            (&["open", "", "--key", "o"], "the owner's name must have"),
        ] {
            let (code, out, line) = is_answered_alike(&bank, command, rich);
            assert!(
                code == Some(1) && out.is_empty() && line.contains(part),
                "{command:?}: {code:?} {line}"
            );
        }
        bank.text(&["debit", &alice, "30", "--key", "another"]);
    }
}

#[test]
fn a_key_is_for_one_command_and_the_same_over_http() {
    for bank in Bank::all() {
        let alice = bank.open("Alice");
        let bob = bank.open("Bob");

        bank.text(&["credit", &alice, "20", "--key", "pay-1"]);
        for other in [
            &["credit", &alice, "21", "--key", "pay-1"][..],
            &["credit", &bob, "20", "--key", "pay-1"],
            &["debit", &alice, "20", "--key", "pay-1"],
            &["open", "Carol", "--key", "pay-1"],
        ] {
            let line = bank.fails(1, other);
            assert!(
                line.contains("the key belongs to another command"),
                "{other:?}: {line}"
            );
        }
        for key in ["", "two\nlines", &"k".repeat(256)] {
            assert!(
                bank.fails(2, &["credit", &alice, "20", "--key", key])
                    .contains("a key has 1 to 255 bytes")
            );
        }
        let serving = Server::start(&bank.url());
        let path = format!("/api/accounts/{alice}/credit");
        let again = serving
            .client()
            .post(&path, "pay-1", &json!({ "amount": "20.00" }))
            .expect("an answer");
        assert_eq!(
            (again.status, &again.json()["account"]["version"]),
            (200, &Value::from(2))
        );
        let over_http = serving
            .client()
            .post(&path, "pay-ü", &json!({ "amount": "1.00" }))
            .expect("an answer");
        assert_eq!(over_http.status, 200, "{over_http:?}");
        serving.stop();
        assert!(
            bank.text(&["credit", &alice, "1", "--key", "pay-ü"])
                .contains("21.00")
        );
        assert_eq!(bank.json(&["account", &alice])["balance"], "21.00");
        let log = bank.json(&["log"]);
        assert!(log.as_array().is_some_and(|log| !log.is_empty()), "{log}");
    }
}
