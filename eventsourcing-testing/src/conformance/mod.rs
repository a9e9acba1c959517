//! The conformance suite: every promise of `docs/store-contract.md` as functions that test any store.
//!
//! A store joins with a [`Fixture`] and one line, in a test file of its crate. The crate needs `tokio` with the
//! features `macros` and `rt-multi-thread` among its `dev-dependencies`.
//!
//! ```
//! use eventsourcing_core::store::MemoryStore;
//! use eventsourcing_testing::conformance::Fixture;
//!
//! struct InMemory(MemoryStore);
//!
//! impl Fixture for InMemory {
//!     type Store = MemoryStore;
//!
//!     async fn new() -> Self {
//!         Self(MemoryStore::new())
//!     }
//!
//!     async fn open(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! eventsourcing_testing::conformance!(InMemory);
//! ```
//!
//! Each function makes its own streams in a new place and panics when the promise is broken. The suite runs in the process of
//! the store, so it cannot show that a killed process loses nothing: see [`crash`](crate::crash).

mod appending;
mod assertions;
mod builders;
mod catalogue;
mod checksums;
mod commands;
mod concurrency;
mod durability;
mod epochs;
mod fixture;
mod leases;
mod limits;
mod log;
mod notes;
mod receipts;
mod refusals;
mod shared_commands;
mod snapshots;
mod statements;
mod steps;
mod streams;
mod tracking;
mod transactions;
mod waiting;
mod writer;

pub(crate) use assertions::log_of;

pub use appending::*;
pub use catalogue::{
    Promise, database_promises, durable_promises, event_promises, event_store_promises, promises,
    reverting_promises,
};
pub use checksums::*;
pub use commands::*;
pub use durability::*;
pub use epochs::*;
pub use fixture::{DurableFixture, Fixture, FollowerFixture, RevertingFixture};
pub use leases::*;
pub use limits::*;
pub use log::*;
pub use notes::*;
pub use receipts::*;
pub use refusals::*;
pub use shared_commands::*;
pub use snapshots::*;
pub use statements::*;
pub use steps::*;
pub use streams::*;
pub use tracking::*;
pub use transactions::*;
pub use waiting::*;
