//! Tools for tests of event-sourced programs: given/when/then, laws made from the types, a manual clock, ids from a seed, a
//! store that fails on demand, and the conformance suite for authors of stores.
//!
//! No program needs these in production: the crate belongs in `dev-dependencies`. Applications use it as `eventsourcing::testing`,
//! with the feature `testing` of `eventsourcing-kit`.
//!
//! # Where to read on
//!
//! - [`Scenario`] and [`PolicyScenario`]: given, when, then.
//! - [`laws!`]: one line tests an aggregate or a policy against the laws of event sourcing. [`laws`](mod@laws): the same by hand.
//! - [`FaultyStore`]: a store that fails on demand. [`ManualClock`], [`SeededIds`], [`Seed`]: tests that can be repeated.
//! - [`conformance!`] and [`conformance`](mod@conformance): the proof that a store keeps its promises.
//!   [`model`]: a store compared with lists and linear scans. [`crash`]: the proof that a killed process loses nothing.
//!   [`fixtures`]: small values for tests of a store.
//!
//! # Features
//!
//! `derive` (on by default): [`laws!`].
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
pub mod conformance;
pub mod crash;
mod faulty_store;
pub mod fixtures;
pub mod laws;
pub mod model;
mod scenario;
mod seed;

#[cfg(feature = "derive")]
#[doc(hidden)]
pub mod private;

pub use clock::{ManualClock, SeededIds};
pub use faulty_store::{Fault, FaultRates, FaultyStore, Operation};
pub use scenario::{Decided, Given, GivenNothing, PolicyScenario, Scenario, Then};
pub use seed::Seed;

/// The examples of the README compile and run.
#[cfg(all(doctest, feature = "derive"))]
#[doc = include_str!("../README.md")]
mod readme {}
