//! The work that every contestant does, and its measurement. This crate knows neither the framework nor its peers.
//!
//! A [`Contestant`] is a library in front of a database, made to do what the bank does. A [`Workload`] is what it is made to
//! do and for how long. Contestants live in programs of their own, [workers](worker), which the referee tells what to do, so
//! that none disturbs another and several processes can write side by side.

mod bank;
mod contestant;
mod measured;
pub mod worker;
mod workload;

pub use bank::{REFERENCE, account, amount};
pub use contestant::{Contestant, Outcome};
pub use measured::Measured;
pub use workload::Workload;
