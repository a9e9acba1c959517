//! Tools for tests of event-sourced programs: given/when/then, laws made from the types, a manual clock, ids from a seed, a
//! store that fails on demand, and the conformance suite for authors of stores.
//!
//! No program needs these in production: the feature `testing` belongs in `dev-dependencies`.
#![warn(missing_docs)]

mod clock;
pub mod conformance;
mod faulty_store;
pub mod laws;
pub mod model;
mod scenario;
mod seed;

#[cfg(feature = "derive")]
pub use eventsourcing_derive::laws;

pub use clock::{ManualClock, SeededIds};
pub use faulty_store::{Fault, FaultRates, FaultyStore, Operation};
pub use scenario::{Decided, Given, GivenNothing, PolicyScenario, Scenario, Then};
pub use seed::Seed;
