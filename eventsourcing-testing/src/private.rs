//! The names that macro expansions use. No promises.

pub use eventsourcing_derive::laws;
