//! Read models in a SQL database: their generations, building a new one beside the live one, and
//! writing events into one.
//!
//! Queries of users go through `ReadModel`, which is in `projection/`.

mod generation_index;
mod generations;
mod rebuild;
mod sink;

pub(crate) use generation_index::{Generation, GenerationIndex};
pub(crate) use generations::{Generations, make};
pub use rebuild::Rebuild;
pub(in crate::system) use rebuild::RebuildTask;
pub(crate) use sink::{SqlSink, project};
