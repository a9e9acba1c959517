//! How connections are made: certificates, poolers, and servers that let nobody in.

mod certificates;
mod poolers;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
