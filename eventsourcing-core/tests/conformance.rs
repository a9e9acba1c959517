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
