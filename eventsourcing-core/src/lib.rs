//! Event-sourced applications.
mod clock;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, IdSource, RandomIds, SystemClock};
