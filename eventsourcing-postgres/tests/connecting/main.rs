//! Connections: certificates, poolers, and servers that refuse.

mod certificates;
mod poolers;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
