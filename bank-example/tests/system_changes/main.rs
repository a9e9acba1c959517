//! Releases of a system that differ in their followers: other names, other events, other tables, another number of
//! partitions. On every store: each effect once, or a refusal that says what to do and changes nothing.

#[path = "../../../eventsourcing-core/tests/domain/mod.rs"]
mod domain;
mod events;
#[path = "../../../eventsourcing-core/tests/lying_store/mod.rs"]
mod lying_store;
mod names;
mod partitions;
#[path = "../support/mod.rs"]
mod support;
mod systems;
