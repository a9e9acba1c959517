//! The contract of stores, and [`open`], which opens one by its URL.
//!
//! All other items come from the core. Its store is one small object-safe trait over names, numbers and bytes: [`EventStore`].
//! The promises of a store are numbered in `docs/store-contract.md`.

mod open;
mod url;

pub use eventsourcing_core::store::*;

pub use open::{OpenError, OpenOptions, open, open_existing};
pub use url::{InvalidStoreUrl, StoreUrl};
