//! The page of the promises and the conformance suite name the same functions.
#![cfg(feature = "testing")]

use std::collections::BTreeSet;

use eventsourcing_core::store::{
    EVENTS_PER_APPEND_MAX, METADATA_BYTES_MAX, MemoryStore, Name, PAYLOAD_BYTES_MAX, StoreError,
};
use eventsourcing_core::testing::conformance::{DurableFixture, Fixture, durable_promises, promises};

const PAGE: &str = include_str!("../../docs/store-contract.md");

#[test]
fn page_names_every_function_with_its_promise_and_no_other() {
    let list = promises::<Listed>().into_iter().map(|promise| (promise.number, promise.name, false));
    let durable = durable_promises::<Listed>().into_iter().map(|promise| (promise.number, promise.name, true));
    assert_eq!(functions_of_the_page(), list.chain(durable).collect::<BTreeSet<_>>());
}

/// The number of the promise, the name of the function, and whether it is for durable stores only.
fn functions_of_the_page() -> BTreeSet<(u8, &'static str, bool)> {
    let mut number = 0;
    let mut functions = BTreeSet::new();
    for line in PAGE.lines() {
        if let Some(promise) = line.strip_prefix("**P") {
            let digits = promise.split("**").next().expect("a split has a first part");
            number = digits.parse().expect("a promise begins with its number");
        }
        if let Some(function) = line.strip_prefix("- `").filter(|rest| !rest.contains('/')) {
            let (name, rest) = function.split_once('`').expect("the name ends");
            functions.insert((number, name, rest == " (*durable*)"));
        }
    }
    functions
}

#[test]
fn page_has_all_promises_in_order() {
    let numbers: Vec<u8> =
        PAGE.lines().filter_map(|line| line.strip_prefix("**P")?.split("**").next()?.parse().ok()).collect();
    assert_eq!(numbers, (1..=29).collect::<Vec<_>>());
}

#[test]
fn page_states_the_limits_of_the_code() {
    let mebibytes = |bytes: usize| format!("{} MiB", bytes / (1024 * 1024));
    assert_eq!(EVENTS_PER_APPEND_MAX, 10_000);
    for limit in [
        mebibytes(PAYLOAD_BYTES_MAX),
        mebibytes(METADATA_BYTES_MAX),
        format!("{} bytes", Name::BYTES_MAX),
        "10,000".into(),
    ] {
        assert!(PAGE.contains(&limit), "the page must state the limit of {limit}");
    }
}

/// Gives the list its type; nothing is run.
struct Listed(MemoryStore);

impl Fixture for Listed {
    type Store = MemoryStore;

    async fn new() -> Self {
        Self(MemoryStore::new())
    }

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

impl DurableFixture for Listed {
    async fn try_open(&self) -> Result<MemoryStore, StoreError> {
        Ok(self.open().await)
    }

    async fn crash(&self, _: MemoryStore) {}

    async fn make_newer(&self) {}

    async fn put_foreign_table(&self) {}

    async fn foreign_table(&self) -> String {
        String::new()
    }
}
