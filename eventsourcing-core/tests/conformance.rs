//! The store in memory keeps every promise.
#![cfg(feature = "testing")]

use eventsourcing_core::store::MemoryStore;
use eventsourcing_core::testing::conformance::Fixture;

struct InMemory(MemoryStore);

impl Fixture for InMemory {
    type Store = MemoryStore;

    async fn new() -> Self {
        Self(MemoryStore::new())
    }

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

eventsourcing_core::conformance!(InMemory);

#[test]
fn store_in_memory_and_the_model_agree() {
    eventsourcing_core::testing::model::check_against_model::<InMemory>(1_000);
}
