//! The shapes of stored events, and a lock file that protects them: events live forever, the code
//! that reads them does not.
//!
//! A file, `events.lock.json`, contains the shape of every released version of every event, and
//! samples of it. The file is committed. A test compares it with the types, and decodes the samples
//! through the upcasters: a change that would make stored events unreadable, or change their
//! meaning, fails with a remedy.
//!
//! ```
//! use eventsourcing_core::{Aggregate, event};
//! use eventsourcing_schema::{SchemaLock, SystemSchema};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Aggregate, Serialize, Deserialize)]
//! struct Account { cents: i64 }
//!
//! #[event(schema)]
//! impl Account {
//!     fn opened() -> Self { Self { cents: 0 } }
//!     fn credited(&mut self, cents: i64, note: Option<String>) { self.cents += cents; }
//! }
//!
//! let bank = SystemSchema::new("Bank").with::<Account>();
//! let lock = bank.update(&SchemaLock::default())?;
//! assert!(bank.compare(&lock)?.is_locked());
//!
//! let credited = lock.events().find(|event| event.event == "Credited").expect("it is locked");
//! assert_eq!(credited.samples[0], serde_json::json!({ "cents": 1, "note": "text" }));
//! # Ok::<(), eventsourcing_schema::LockError>(())
//! ```
//!
//! A system names all its aggregates, so that none is forgotten: with `#[system(schema)]` one line
//! is the test.
//!
//! ```text
//! #[test]
//! fn stored_events_stay_readable() {
//!     SystemSchema::of::<Bank>().assert_locked("events.lock.json");
//! }
//! ```
//!
//! `EVENTS_LOCK=update cargo test` records additions. The chapter on evolution,
//! `docs/evolution.md`, lists for each change what it needs.

#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod asyncapi;
mod breakage;
mod check;
mod compare;
mod generated;
mod lock;
mod shape;
mod start;
mod stored_form;
mod stub;
mod system;

pub use breakage::{Breakage, Comparison};
pub use lock::{LockError, LockedEvent, SchemaLock};
pub use start::WithLock;
pub use system::SystemSchema;

pub use eventsourcing_core::schema::{
    AggregateSchema, DescribedEvent, DescribedSystem, FormerName, Sample, Schema, SchemaGenerator,
};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
