//! The contract of stores, and [`open`], which opens one by its URL.
//!
//! All other items come from the core. Its stores are three small object-safe traits over names, numbers and bytes:
//! applications need an [`EventStore`], systems a [`FollowerStore`], `verify` and archives an [`AuditStore`]. The promises of a store are numbered in `docs/store-contract.md`.

mod open;
mod url;

pub use eventsourcing_core::store::*;

pub use open::{OpenError, OpenOptions, open, open_existing};
pub use url::{InvalidStoreUrl, StoreUrl};
