//! Event-sourced applications.
mod clock;
pub mod store;

pub use clock::{Clock, IdSource, RandomIds, SystemClock};
