//! `docs/store-contract.md` and the conformance suite name the same promises, functions and limits.

use std::collections::BTreeSet;

use eventsourcing_core::store::{
    EVENTS_PER_APPEND_MAX, METADATA_BYTES_MAX, MemoryStore, NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX,
    Name, PAYLOAD_BYTES_MAX, StoreError,
};
use eventsourcing_testing::conformance::{
    DurableFixture, Fixture, Promise, RevertingFixture, database_promises, durable_promises,
    event_promises, event_store_promises, promises, reverting_promises,
};

const PAGE: &str = include_str!("../../../docs/store-contract.md");

#[test]
fn page_names_every_function_with_its_promise_and_no_other() {
    let marked = |promises: Vec<Promise<Listed>>, mark| {
        promises
            .into_iter()
            .map(move |promise| (promise.number, promise.name, mark))
            .collect::<Vec<_>>()
    };
    let events: Vec<_> = event_promises::<Listed>()
        .iter()
        .map(|promise| promise.name)
        .collect();
    let of_followers = promises()
        .into_iter()
        .filter(|promise| !events.contains(&promise.name))
        .collect();
    let lists = [
        marked(event_promises(), ""),
        marked(of_followers, "followers"),
        marked(event_store_promises(), "events alone"),
        marked(durable_promises(), "durable"),
        marked(database_promises(), "database"),
        marked(reverting_promises(), "reverting"),
    ];
    assert_eq!(
        functions_of_the_page(),
        lists.into_iter().flatten().collect::<BTreeSet<_>>()
    );
}

/// Returns the number of the promise, the name of the function, and the mark of functions for some stores only.
fn functions_of_the_page() -> BTreeSet<(u8, &'static str, &'static str)> {
    let mut number = 0;
    let mut functions = BTreeSet::new();
    for line in PAGE.lines() {
        if let Some(promise) = line.strip_prefix("**P") {
            let digits = promise
                .split("**")
                .next()
                .expect("a split has a first part");
            number = digits.parse().expect("a promise begins with its number");
        }
        if let Some(function) = line.strip_prefix("- `").filter(|rest| !rest.contains('/')) {
            let (name, rest) = function.split_once('`').expect("the name ends");
            let mark = rest
                .strip_prefix(" (*")
                .and_then(|mark| mark.strip_suffix("*)"))
                .unwrap_or(rest);
            functions.insert((number, name, mark));
        }
    }
    functions
}

#[test]
fn page_has_every_promise_once() {
    let mut numbers: Vec<u8> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("**P")?.split("**").next()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=41).collect::<Vec<_>>());
}

#[test]
fn page_states_the_limits_of_the_code() {
    let mebibytes = |bytes: usize| format!("{} MiB", bytes / (1024 * 1024));
    assert_eq!(EVENTS_PER_APPEND_MAX, 10_000);
    for limit in [
        mebibytes(PAYLOAD_BYTES_MAX),
        mebibytes(METADATA_BYTES_MAX),
        mebibytes(NOTE_BYTES_MAX),
        format!("{} bytes", Name::BYTES_MAX),
        format!("{NOTE_KEY_BYTES_MAX} bytes"),
        "10,000".into(),
    ] {
        assert!(
            PAGE.contains(&limit),
            "the page must state the limit of {limit}"
        );
    }
}

/// A fixture that only gives the list its type; no function is run.
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

impl RevertingFixture for Listed {
    type Moment = ();

    async fn keep(&self) {}

    async fn go_back(&self, (): &()) {}
}

impl DurableFixture for Listed {
    async fn try_open(&self) -> Result<MemoryStore, StoreError> {
        Ok(self.open().await)
    }

    async fn try_open_existing(&self) -> Result<MemoryStore, StoreError> {
        Ok(self.open().await)
    }

    async fn crash(&self, _: MemoryStore) {}

    async fn make_newer(&self) {}

    async fn put_foreign_table(&self) {}

    async fn foreign_table(&self) -> String {
        String::new()
    }
}
