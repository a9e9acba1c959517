//! What tests of event-sourced programs need: given/when/then, laws made from the types, a clock set by hand, ids from a
//! seed, a store that fails on demand, and for those who write a store the suite that proves its promises.
//!
//! Nothing in here is used by programs that run in earnest: the feature `testing` belongs in `dev-dependencies`.
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
