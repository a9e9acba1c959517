//! How connections are made: certificates, poolers, and servers that let nobody in.

mod certificates;
#[path = "../support/mod.rs"]
mod support;
