//! Read models in a SQL database: their generations, building a new one beside the live one, and writing events into one.
//!
//! Queries of users go through `ReadModel`, which is in `projection/`.

mod generations;
mod rebuild;
mod sink;

pub(crate) use generations::{Generation, Generations, Register, make};
pub use rebuild::Build;
pub(in crate::system) use rebuild::Builder;
pub(crate) use sink::{SqlSink, project};
