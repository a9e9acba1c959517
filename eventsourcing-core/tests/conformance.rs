//! [`MemoryStore`] passes the conformance suite.

use eventsourcing_core::store::{MemoryBackup, MemoryStore};
use eventsourcing_testing::conformance::{Fixture, RevertingFixture};

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

impl RevertingFixture for InMemory {
    type Moment = MemoryBackup;

    async fn keep(&self) -> MemoryBackup {
        self.0.backup()
    }

    async fn go_back(&self, moment: &MemoryBackup) {
        self.0.restore(moment);
    }
}

eventsourcing_testing::conformance!(InMemory, reverting);

#[test]
fn store_in_memory_and_the_model_agree() {
    eventsourcing_testing::model::check_against_model::<InMemory>(1_000);
}
