//! An event-sourced bank: accounts, a ledger that records every movement, and an activity feed.
//!
//! Reading order: [`domain`] holds the rules, [`application`] the services around them, [`system`] declares how the
//! services follow each other. The rest is the command line, and [`web`] for browsers and programs.

pub mod application;
pub mod domain;
mod stored;
pub mod stores;
pub mod system;
pub mod web;

use stored::amount;

/// The examples of the project's README and of this crate's, compiled and run as tests.
#[cfg(doctest)]
mod readme {
    #[doc = include_str!("../../README.md")]
    mod project {}
    #[doc = include_str!("../README.md")]
    mod bank {}
}

impl system::EventSourcedBank {
    /// The schema lock: the shape of every stored event. Each program compares the events it writes with the lock when
    /// it starts.
    pub const LOCK: &str = include_str!("../events.lock.json");
}
