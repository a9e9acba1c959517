//! Event-sourced applications that never lose or repeat a fact.
//!
//! An [aggregate](Aggregate) is state folded from the [events](Event) of one stream; it decides on
//! commands and records its decisions. An [`Application`] loads and saves aggregates in a
//! [store](store::EventStore). A [`Policy`] reacts to the events of one application by recording
//! events in another, a [`Projection`] builds a read model of them, and a [`System`] declares the
//! followers of each application and keeps them running.
//!
//! Programs depend on the package `eventsourcing-kit`, which exports all of this together with the
//! stores. A store depends on this crate alone.
//!
//! ```
//! use eventsourcing_core::{Aggregate, Application, MemoryStore, Root, event};
//! use serde::{Deserialize, Serialize};
//!
//! /// State is what its events have made of it.
//! #[derive(Aggregate, Serialize, Deserialize)]
//! #[aggregate(snapshot = every(100))]
//! struct Counter { count: u32 }
//!
//! /// One method is one event: its name in the past tense, its parameters the payload, its body the change.
//! #[event]
//! impl Counter {
//!     fn started() -> Self { Self { count: 0 } }
//!     fn counted(&mut self, by: u32) { self.count += by; }
//! }
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("{0} at once is too fast")]
//! struct TooFast(u32);
//!
//! /// A command looks, decides, and returns what happens or refuses.
//! impl Counter {
//!     fn count(&self, by: u32) -> Result<CounterEvent, TooFast> {
//!         if by > 10 { Err(TooFast(by)) } else { Ok(CounterEvent::Counted { by }) }
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let app = Application::new("counters", MemoryStore::new());
//! let mut counter = Root::<Counter>::create(CounterEvent::Started);
//! app.save(&mut counter).await?;
//! app.update(counter.id(), |counter| counter.count(3)).await?;
//! assert_eq!(app.load(counter.id()).await?.count, 3);
//! assert!(app.update(counter.id(), |counter| counter.count(11)).await.is_err());
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Where to read on
//!
//! - [`#[event]`](macro@event), [`#[derive(Aggregate)]`](macro@Aggregate),
//!   [`#[derive(System)]`](macro@System): the code that the macros write.
//! - [`store`]: the trait that stores implement, and its promises.
//! - The crate `eventsourcing-testing`: given/when/then, the laws that every aggregate and policy
//!   keeps, a store that fails on demand, the suite that proves a store.
//!
//! # Features
//!
//! `derive` (on by default): the macros. `message-pack`: the codec `Codec::MessagePack`. `zstd`:
//! `Compression` of large payloads. `schema`: `#[event(schema)]` and
//! `#[system(schema)]`, the description of stored events.
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod aggregate;
mod event;

mod application;
mod error;
mod retry;

mod log;
mod panics;
mod policy;
mod projection;
pub mod system;

mod clock;
mod codec;
pub mod sql;
pub mod store;

pub mod schema;

#[doc(hidden)]
pub mod private;

pub use aggregate::decision::{Decision, DecisionError, Verdict};
pub use aggregate::id::{Id, ParseIdError};
pub use aggregate::root::{Root, StreamGuard};
pub use aggregate::{Aggregate, EventOf, Fold, UnexpectedEvent, snapshot};
pub use application::{Application, Created, IdPage, RootIds, Saveable};
pub use clock::{Clock, IdSource, RandomIds, SystemClock};
#[cfg(feature = "zstd")]
pub use codec::Compression;
pub use codec::{Codec, CodecError, VALUE_DEPTH_MAX};
pub use error::{ApplicationError, AttemptError, CommandError};
pub use event::legacy::{DecodedEvents, LegacyEvent};
pub use event::metadata::{EventRef, Metadata};
pub use event::recorded::RecordedEvent;
pub use event::{Event, EventType};
pub use log::pages::LogPages;
pub use log::subscription::{Subscription, SubscriptionHandle};
pub use policy::timers::{Due, TIMER_KEY_BYTES_MAX, Timers};
pub use policy::{Policy, UnitOfWork};
pub use projection::{Projection, ReadModel, SqlProjection, SqlReadModel, Table, Tx};
pub use retry::RetryPolicy;
pub use store::{MemoryStore, Receipt, ReceiptKind};
pub use system::{
    ApplicationName, Applications, DEFAULT_TIMEOUT, Definition, Follower, FollowerName, OnFailure,
    PolicyName, ProjectionName, Runner, RunningSystem, Stores, System, SystemBuilder, SystemError,
};

#[cfg(feature = "derive")]
pub use eventsourcing_derive::{Aggregate, System, event};

/// The examples of the README compile and run.
#[cfg(all(doctest, feature = "message-pack", feature = "zstd"))]
#[doc = include_str!("../README.md")]
mod readme {}
