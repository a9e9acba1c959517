//! `backup`, and the page about backups and restores, whose commands are run as they stand there.

use std::path::PathBuf;
use std::process::Command;

use super::Bank;
use super::support::{Place, program};

const PAGE: &str = include_str!("../../../docs/backups.md");

/// The commands of the page for one kind of store, block by block.
fn blocks(kind: &str) -> Vec<&'static str> {
    let begin = format!("```sh {kind}\n");
    PAGE.split(begin.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a split has a first part"))
        .collect()
}

/// Runs commands in the folder of `bank`, where the programs of the bank and of PostgreSQL are found.
fn run(bank: &Bank, commands: &str, variables: &[(&str, &str)]) -> String {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_bank-example"));
    let servers = PathBuf::from(program("pg_dump").get_program());
    let folders = [own, servers].map(|file| file.parent().expect("a folder").display().to_string());
    let path = format!(
        "{}:{}",
        folders.join(":"),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", commands])
        .current_dir(bank.path())
        .env("PATH", path)
        .env_remove("RUST_LOG");
    let output = shell
        .envs(variables.iter().copied())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{commands}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn commands_of_the_page_about_sqlite_make_and_restore_a_backup() {
    let bank = Bank::new();
    bank.text(&["demo"]);
    let before = bank.json(&["log"]);
    let [backup, check, restore] = blocks("sqlite")[..] else {
        panic!("three blocks")
    };
    assert!(run(&bank, backup, &[]).starts_with("copied "));
    bank.text(&["demo"]);
    assert_ne!(bank.json(&["log"]), before);
    assert!(run(&bank, check, &[]).contains("each processed once"));
    run(&bank, restore, &[]);
    assert_eq!(bank.json(&["log"]), before, "the bank is as it was");
    bank.text(&["demo"]);
    bank.text(&["verify"]);
}

#[test]
fn commands_of_the_page_about_postgresql_make_and_restore_a_backup() {
    let [bank] = [Bank {
        place: Some(Place::postgres()),
        ..Bank::new()
    }];
    bank.text(&["demo"]);
    let before = bank.json(&["log"]);
    let [backup, restore] = blocks("postgres")[..] else {
        panic!("two blocks")
    };
    let url = bank.url();
    let restored_name = format!("restored_{}", std::process::id());
    let (server, parameters) = url.split_once('?').unwrap_or((&url, ""));
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    let restored = format!("{server}/{restored_name}?{parameters}");
    let server = format!("{server}/postgres?{parameters}");
    let variables = [
        ("BANK", url.as_str()),
        ("SERVER", &server),
        ("RESTORED", &restored),
    ];
    run(&bank, backup, &variables);
    bank.text(&["demo"]);
    run(
        &bank,
        &restore.replace(" restored\n", &format!(" {restored_name}\n")),
        &variables,
    );
    let restored = Bank {
        place: Some(Place::at(restored)),
        ..Bank::new()
    };
    assert_eq!(restored.json(&["log"]), before, "the bank is as it was");
    restored.text(&["demo"]);
    restored.text(&["verify"]);
}

#[test]
fn backup_refuses_what_exists_and_what_it_cannot_copy() {
    let bank = Bank::new();
    let missing = bank.fails(3, &["backup", "copy.db"]);
    assert!(missing.contains("bank"), "{missing}");
    assert!(!bank.path().join("bank.db").exists(), "no bank was made");
    bank.open("Alice");
    std::fs::write(bank.path().join("copy.db"), "mine").expect("a file");
    assert!(
        bank.fails(2, &["backup", "copy.db"])
            .contains("a backup overwrites nothing; choose another name")
    );
    assert!(
        bank.fails(2, &["backup", "bank.db"])
            .contains("overwrites nothing")
    );
    for store in ["memory:", "postgres://localhost/bank"] {
        let refused = bank.run(&["--store", store, "backup", "other.db"]);
        let line = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(2) && line.contains("docs/backups.md"),
            "{line}"
        );
    }
    let json = bank.json(&["backup", "other.db"]);
    assert_eq!(
        (&json["file"], &json["head"]),
        (&"other.db".into(), &1.into())
    );
    let names = std::fs::read_dir(bank.path()).expect("a folder").count();
    assert_eq!(names, 3, "bank.db, copy.db and other.db");
}
