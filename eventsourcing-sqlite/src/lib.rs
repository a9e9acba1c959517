//! The embedded store of `eventsourcing-core`: one SQLite file, no server.
//!
//! [`SqliteStore`] keeps every promise of `docs/store-contract.md`. One writer thread commits the appends of all tasks:
//! everything that queued up during one commit shares the next, and each append has its own outcome. Readers have
//! connections of their own and never wait for the writer. Any number of processes on one machine may share the file;
//! SQLite's write-ahead log does not work over a network file system.
//!
//! The store refuses to write once its path names another file or none, and it opens no file beside the write-ahead log
//! of another: see [`SqliteStore::open`]. [`SqliteStore::backup`] copies the store while it is in use.
//!
//! Read models are tables beside the store's own, in the same file:
//! [`FollowerStore::database`](eventsourcing_core::store::FollowerStore::database). Appends to the file wait while a
//! transaction of a read model is open. A statement is planned once, for all values: `LIKE $1` uses no index, a range
//! does.
//!
//! ```
//! use eventsourcing_core::store::{Append, CodecId, EventStore, Expected, LogQuery, NewEvent, Position, StreamId};
//! use eventsourcing_sqlite::SqliteStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = SqliteStore::open(folder.path().join("bank.db")).await?;
//! let account = StreamId::new("account", uuid::Uuid::now_v7());
//! let opened = NewEvent {
//!     name: "opened".into(),
//!     schema_version: 1,
//!     codec: CodecId(0),
//!     payload: b"{}".to_vec(),
//!     metadata: Vec::new(),
//! };
//! let append = Append::new(jiff::Timestamp::now()).with_events(account, Expected::NoStream, vec![opened]);
//! store.append(append).await?;
//!
//! let page = store.read_log(LogQuery::after(Position::ZERO)).await?;
//! assert_eq!(page.events[0].name.as_str(), "opened");
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod append;
mod backup;
mod checkpoint;
mod checksums;
mod commit;
mod config;
mod content_token;
mod database;
mod error;
mod file_identity;
mod file_watch;
mod lease;
mod notify;
mod open;
mod read;
mod readers;
mod rows;
mod schema;
mod statement;
mod store;
mod temporary;
mod tracking;
mod transaction;

pub use backup::{BackedUp, BackupProgress};
pub use config::SqliteOptions;
pub use eventsourcing_core::store::Durability;
pub use store::SqliteStore;

/// The examples of the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
