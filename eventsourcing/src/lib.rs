//! Event-sourced applications that never lose or repeat a fact.
//!
//! An [aggregate](Aggregate) is state folded from the [events](Event) of one stream; it decides on commands and records
//! what it decided. An [`Application`] loads and saves aggregates in a [store](store::EventStore). A [`Policy`] reacts to
//! the events of one application by recording events in another, a [`Projection`] builds a read model of them, and a
//! [`System`] declares the applications and their followers, and keeps the followers running.
//!
//! ```
//! use eventsourcing::prelude::*;
//!
//! #[derive(Aggregate, Serialize, Deserialize)]
//! #[aggregate(snapshot = every(50))]
//! struct Account { balance: u64 }
//!
//! #[event] // One method is one event: its parameters the payload, its body what the event changes.
//! impl Account {
//!     fn opened() -> Self { Self { balance: 0 } }
//!     fn credited(&mut self, amount: u64) { self.balance += amount; }
//!     fn debited(&mut self, amount: u64) { self.balance -= amount; }
//! }
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("the balance is only {0}")]
//! struct InsufficientFunds(u64);
//!
//! impl Account { // A command takes `&self`: it decides, and only the event it returns changes anything.
//!     fn debit(&self, amount: u64) -> Result<AccountEvent, InsufficientFunds> {
//!         if amount > self.balance { return Err(InsufficientFunds(self.balance)); }
//!         Ok(AccountEvent::Debited { amount })
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = eventsourcing::store::open("memory:").await?.store(); // or "sqlite:bank.db", "postgres://…"
//!     let app = Application::new("accounts", store);
//!     let events = [AccountEvent::Opened, AccountEvent::Credited { amount: 5 }];
//!     let Created { id, .. } = app.create(|| events).await?;
//!     app.update(id, |account| account.debit(3)).await?; // Loads, decides, appends; again after a conflict.
//!     assert!(app.update(id, |account| account.debit(3)).await.is_err()); // "the balance is only 2"
//!     assert_eq!(app.load(id).await?.balance, 2);
//!     Ok(())
//! }
//! ```
//!
//! The package is named `eventsourcing-kit`, the library `eventsourcing`. Serde's derives name the crate `serde`, so a program
//! depends on that as well.
//!
//! # Further reading
//!
//! - [`prelude`]: the names that most applications import.
//! - [`#[event]`](macro@event), [`#[derive(Aggregate)]`](macro@Aggregate), [`#[derive(System)]`](macro@System): the macros, with
//!   their options.
//! - [`store::open`]: stores by their URL. [`store::EventStore`]: the trait that stores implement, and their promises.
//! - [`sql`]: read models in SQL tables. [`snapshot`]: when snapshots are kept. [`system`]: the state of followers.
//! - `testing` (feature `testing`): given/when/then, the laws that every aggregate and policy keeps, a store that fails on demand,
//!   the suite that proves a store.
//! - `schema` (feature `schema`): a lock on the schema of stored events.
//! - `archive` (feature `archive`): the log of a store as a file, and back.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `derive` (default) | the macros |
//! | `sqlite` (default) | the module `sqlite`: the store in a file, and read models beside a store in memory |
//! | `postgres` | the module `postgres`: the store on a server |
//! | `testing` | the module `testing`, for `dev-dependencies` |
//! | `schema` | the module `schema`, `#[event(schema)]`, `#[system(schema)]` |
//! | `archive` | the module `archive` |
//! | `message-pack` | the codec `Codec::MessagePack` |
//! | `zstd` | `Compression` of large payloads |
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod prelude;

pub use eventsourcing_core::{Aggregate, EventOf, Fold, UnexpectedEvent};
pub use eventsourcing_core::{Decision, DecisionError, Verdict};
pub use eventsourcing_core::{Event, EventRef, EventType, Metadata, RecordedEvent};
pub use eventsourcing_core::{Id, ParseIdError, Root, StreamGuard};

#[cfg(feature = "derive")]
pub use eventsourcing_core::event;

pub use eventsourcing_core::{
    Application, ApplicationError, AttemptError, CommandError, Created, IdPage, RetryPolicy,
    RootIds, Saveable,
};
pub use eventsourcing_core::{Clock, IdSource, RandomIds, SystemClock};
pub use eventsourcing_core::{DecodedEvents, LegacyEvent};

#[cfg(feature = "zstd")]
pub use eventsourcing_core::Compression;
pub use eventsourcing_core::{Codec, CodecError, VALUE_DEPTH_MAX};

pub use eventsourcing_core::{Due, Policy, TIMER_KEY_BYTES_MAX, Timers, UnitOfWork};
pub use eventsourcing_core::{LogPages, Subscription, SubscriptionHandle};
pub use eventsourcing_core::{
    Projection, ReadModel, SqlProjection, SqlReadModel, Table, Tx, values,
};

pub use eventsourcing_core::{ApplicationName, FollowerName, PolicyName, ProjectionName};
pub use eventsourcing_core::{Applications, Definition, Follower, System, SystemError};
pub use eventsourcing_core::{
    DEFAULT_TIMEOUT, OnFailure, Runner, RunningSystem, Stores, SystemBuilder,
};

pub mod store;

#[cfg(feature = "postgres")]
pub use eventsourcing_postgres as postgres;
#[cfg(feature = "sqlite")]
pub use eventsourcing_sqlite as sqlite;
pub use store::{MemoryStore, Receipt, ReceiptKind};

#[cfg(feature = "archive")]
pub use eventsourcing_archive as archive;
pub use eventsourcing_core::{snapshot, sql, system};
#[cfg(feature = "schema")]
pub use eventsourcing_schema as schema;
#[cfg(feature = "testing")]
pub use eventsourcing_testing as testing;

/// Names that macro expansions use. No promises.
#[doc(hidden)]
pub use eventsourcing_core::private;

/// The examples of the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
