//! An event-sourced bank: accounts, a ledger that every movement reaches, and an activity feed.
//!
//! Read it in this order: [`domain`] says what may happen, [`application`] says what may be asked, [`system`] ties the
//! parts together. The rest is the command line, and [`web`] for browsers.

pub mod application;
pub mod domain;
mod stored;
pub mod stores;
pub mod system;
pub mod web;

use stored::amount;

/// The examples of the project's README and of this crate's compile and run.
#[cfg(doctest)]
mod readme {
    #[doc = include_str!("../../README.md")]
    mod project {}
    #[doc = include_str!("../README.md")]
    mod bank {}
}

impl system::EventSourcedBank {
    /// The lock on its stored events. Each program compares what it writes with it at its start.
    pub const LOCK: &str = include_str!("../events.lock.json");
}
