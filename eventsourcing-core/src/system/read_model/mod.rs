//! Read models in a SQL database: their generations, and building a new one beside the one that readers see.

mod generations;
mod rebuild;
mod sink;

pub(crate) use generations::{Generation, Generations, Register, make};
pub use rebuild::Build;
pub(in crate::system) use rebuild::Builder;
pub(crate) use sink::{SqlSink, project};
