//! `describe` and `followers` show the accidents that an acknowledged event survives in the store, and `describe` works
//! without a store.

use std::time::Duration;

use eventsourcing::store::Acknowledged;
use serde_json::{Value, json};

use crate::support::server::{DURABLE, Server, execute};
use crate::support::{Place, psql};
use crate::{Bank, beside};

/// Asks the store itself for its answer.
fn acknowledged(bank: &Bank) -> Acknowledged {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = bank_example::stores::open_existing(&bank.url())
            .await
            .expect("a store")
            .store();
        store.acknowledged().await.expect("an answer")
    })
}

fn files(bank: &Bank) -> Vec<String> {
    let names = bank
        .path()
        .read_dir()
        .expect("the folder")
        .map(|file| file.expect("a file").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn described_and_followed_store_says_what_an_acknowledged_event_survives() {
    for bank in Bank::all() {
        bank.text(&[]);
        let acknowledged = acknowledged(&bank);
        let expected = acknowledged.to_string();
        let followers = bank.text(&["followers"]);
        let line = format!("acknowledged: {expected}");
        assert_eq!(
            followers
                .lines()
                .filter(|followers| *followers == line)
                .count(),
            1,
            "{followers}"
        );
        assert!(
            bank.json(&["followers"]).is_array(),
            "programs find it in the description"
        );

        let description = bank.text(&["describe"]);
        assert!(
            description.contains(&format!("\nacknowledged  {expected}\n")),
            "{description}"
        );
        assert!(
            description.contains("policy       ledger     follows Account of accounts"),
            "{description}"
        );
        let store = &bank.json(&["describe"])["store"];
        let told = json!({
            "meaning": expected,
            "survives_loss_of_machine": acknowledged.survives_loss_of_machine(),
        });
        assert_eq!(store["acknowledged"], told, "{store}");
        let address = store["address"].as_str().expect("an address");
        assert!(
            description.contains(&format!("\nstore         {address}\n")),
            "{description}"
        );
        match &bank.place {
            None => {
                assert_eq!(address, "sqlite:bank.db");
                assert!(
                    expected.starts_with("on the disk of one machine, and lost with that machine"),
                    "{expected}"
                );
                assert_eq!(files(&bank), ["bank.db"], "nothing is left beside it");
            }
            Some(_) => assert!(
                address.starts_with("postgres://") && !address.contains(['@', '?']),
                "{address}"
            ),
        }
        let diagram = Bank::new().text(&["describe", "--mermaid"]);
        assert_eq!(
            bank.text(&["describe", "--mermaid"]),
            diagram,
            "a diagram shows the system alone"
        );
    }
    let in_memory = Bank::new();
    let text = in_memory.text(&["--store", "memory:", "describe"]);
    assert!(
        text.contains("acknowledged  in the memory of one process, and lost when it ends"),
        "{text}"
    );
}

#[test]
fn replicating_server_is_told_from_one_that_is_alone() {
    let primary = Server::start(DURABLE);
    let standby = primary.standby(None);
    let url = primary.url("postgres");
    let bank = Bank {
        place: Some(Place::at(url.clone())),
        ..Bank::new()
    };
    bank.text(&[]);
    let told = |bank: &Bank| bank.json(&["describe"])["store"]["acknowledged"].clone();
    let says = |bank: &Bank, survives: bool, meaning: &str| {
        let acknowledged = told(bank);
        assert_eq!(
            acknowledged["survives_loss_of_machine"], survives,
            "{acknowledged}"
        );
        assert!(
            acknowledged["meaning"]
                .as_str()
                .expect("a text")
                .contains(meaning),
            "{acknowledged}"
        );
        for text in [bank.text(&["describe"]), bank.text(&["followers"])] {
            assert!(text.contains(meaning), "{text}");
        }
    };
    says(
        &bank,
        false,
        "as far as PostgreSQL knows no other machine has it: set synchronous_standby_names",
    );
    execute(
        &url,
        "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby)'",
    );
    primary.reload();
    for _ in 0..500 {
        if told(&bank)["survives_loss_of_machine"] == true {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    says(
        &bank,
        true,
        "of its synchronous standbys (FIRST 1 (standby)): it survives the loss of the machine",
    );
    bank.open("Alice");
    drop(standby);
}

#[test]
fn system_is_described_whatever_becomes_of_its_store_and_none_is_made() {
    let bank = Bank::new();
    let alone = bank.json(&["describe"]);
    assert_eq!(alone["store"], Value::Null);
    let unmade = Place::postgres();
    std::fs::write(bank.path().join("text.db"), "not a database ".repeat(500)).expect("a file");
    std::fs::write(bank.path().join("empty.db"), "").expect("an empty file");
    let before = files(&bank);
    for (store, why) in [
        ("sqlite:typo.db", "no such file"),
        ("sqlite:empty.db", "no store of events"),
        ("sqlite:text.db", "not a"),
        (unmade.url(), "no store of events"),
        (
            "postgres://me:s3cr3t@127.0.0.1:1/bank?connect_timeout=5",
            "127.0.0.1:1",
        ),
        (
            "postgres://me@127.0.0.1:1/bank?password=s3cr3t&connect_timeout=5",
            "127.0.0.1:1",
        ),
    ] {
        let text = bank.text(&["--store", store, "describe"]);
        let line = text
            .lines()
            .find(|line| line.starts_with("store         not available: "))
            .expect("why it is not shown");
        assert!(
            line.contains(why) && !text.contains("s3cr3t") && !text.contains("acknowledged"),
            "{store}: {text}"
        );
        assert!(
            text.starts_with(bank.text(&["describe"]).trim_end()),
            "{text}"
        );
        let mut described = bank.json(&["--store", store, "describe"]);
        let error = described["store"]["error"]
            .as_str()
            .expect("a text")
            .to_owned();
        assert!(error.contains(why) && !error.contains("s3cr3t"), "{error}");
        described["store"] = Value::Null;
        assert_eq!(described, alone);
    }
    for store in ["bank.db", "sqlite:", "postgres://bank:p@s3cr3t@host/b"] {
        let refused = bank.run(&["--store", store, "describe"]);
        let line = beside(&refused);
        assert_eq!(
            (refused.status.code(), refused.stdout.len()),
            (Some(2), 0),
            "{store}: {line}"
        );
        assert!(
            line.contains("sqlite:PATH") && !line.contains("s3cr3t"),
            "{store}: {line}"
        );
    }
    assert_eq!(files(&bank), before, "no file was made");
    let schemas = std::process::Command::new(psql())
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
fn file_in_the_folder_that_is_no_store_is_left_alone_and_not_mentioned() {
    let bank = Bank::new();
    let notes = rusqlite::Connection::open(bank.path().join("bank.db")).expect("a database");
    notes
        .execute_batch("CREATE TABLE notes (text TEXT)")
        .expect("a table of something else");
    drop(notes);
    let before = std::fs::read(bank.path().join("bank.db")).expect("the file");
    assert_eq!(bank.json(&["describe"])["store"], Value::Null);
    assert_eq!(
        std::fs::read(bank.path().join("bank.db")).expect("the file"),
        before
    );
}

#[test]
fn store_of_the_environment_or_a_file_is_described_too() {
    let bank = Bank::new();
    bank.text(&["--store", "sqlite:other.db"]);
    std::fs::write(bank.path().join("store"), "sqlite:other.db\n").expect("a file");
    for (variable, value) in [
        ("BANK_STORE", "sqlite:other.db"),
        ("BANK_STORE_FILE", "store"),
    ] {
        let output = bank
            .command(&["describe"])
            .env(variable, value)
            .output()
            .expect("the bank runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("\nstore         sqlite:other.db\n"),
            "{variable}: {text}"
        );
    }
    let both = bank
        .command(&[
            "describe",
            "--store",
            "sqlite:other.db",
            "--store-file",
            "store",
        ])
        .output();
    assert_eq!(both.expect("the bank runs").status.code(), Some(2));
    let diagram = bank
        .command(&["describe", "--mermaid"])
        .env("BANK_STORE", "nonsense")
        .output()
        .expect("the bank runs");
    assert!(diagram.status.success(), "a diagram asks for no store");
}
