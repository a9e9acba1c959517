//! The description of stored events: the traits that `#[event(schema)]` and `#[system(schema)]`
//! implement, and the data they return.
//!
//! The lock on these descriptions, and the documents made of them, are in `eventsourcing-schema`,
//! which programs use as `eventsourcing::schema`.

#[cfg(feature = "schema")]
mod description;
mod sample;

#[cfg(feature = "schema")]
pub use description::{AggregateSchema, DescribedEvent, DescribedSystem, FormerName};
pub use sample::Sample;
#[cfg(feature = "schema")]
pub use schemars::{Schema, SchemaGenerator};
