//! The measure of the framework: how much a user writes for the bank.

use std::fs;
use std::path::Path;

/// Domain, services, policy, system and the wiring of `main`; not the command line.
const WHOLE_BANK: [&str; 7] = [
    "domain/mod.rs",
    "domain/account.rs",
    "domain/ledger.rs",
    "application/accounts.rs",
    "application/ledger.rs",
    "system.rs",
    "main.rs",
];

#[test]
fn the_bank_is_under_150_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines: usize = WHOLE_BANK
        .iter()
        .map(|file| lines_of_code(&folder.join(file)))
        .sum();
    assert!(lines < 150, "the bank has {lines} lines");
}

fn lines_of_code(file: &Path) -> usize {
    let text = fs::read_to_string(file).expect("a source file");
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}
