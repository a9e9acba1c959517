//! Exports the whole log of a store to a file, and imports it into any other store.
//!
//! An archive is text, one JSON object a line: a [header](self#the-file), the events in the order
//! of the log, the position and notes of each policy, and an end with a checksum. Events keep
//! everything but their positions. Policies keep their place among the events, so that no event is
//! processed a second time, and a command that was answered gets the same answer when a client
//! repeats it, also if it was rejected or had nothing to record. Read models are rebuilt from the
//! log, and new snapshots are kept when they are due.
//!
//! [`export`] takes a consistent part of the log also while the system runs. [`import`] fills an
//! empty store and continues after an interruption; no system starts on the store before the import
//! is finished.
//!
//! # Not in an archive
//!
//! - Snapshots, read models, leases. All of them come back by themselves.
//! - The contents of other stores: a system whose applications are on several stores has to be
//!   moved as a whole by other means.
//!
//! # The file
//!
//! ```text
//! {"archive":"eventsourcing","format":2,"log":"0197…","head":3,"events":3,"followers":["ledger"]}
//! {"position":1,"category":"Account","id":"0197…","version":1,"name":"Opened","schema_version":1,"recorded_at":"…","codec":1,"payload":{"owner":"Alice"},"metadata":{…},"command":"0197…"}
//! …
//! {"answer":"0197…","kind":"rejected","position":3,"note":"{\"left\":2}"}
//! {"follower":"ledger","takes":["Account"],"after":{"category":"Account","id":"0197…","version":1}}
//! {"of":"ledger","key":"timers","note":"0"}
//! {"end":true,"events":3,"sha256":"8b1a…"}
//! ```
//!
//! `command` is the id of the command whose last event this is. An `answer` belongs to a command
//! that recorded no event, and follows the events: its `kind` is `rejected` or `nothing_recorded`,
//! its `position` the one at which it was decided, its `note` the rejection as JSON. In the other
//! store its receipt stands for the whole archive. Archives of format 1, which have no answers, can
//! be imported too. A payload is written as it is if it is JSON (codec 1), otherwise as
//! `payload_base64`. Either way it comes back byte for byte. The checksum covers all lines before
//! the last one.
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod consistent_cut;
mod error;
mod export;
mod follower_import;
mod import;
mod line;
mod validate;
mod writer;

pub use error::ArchiveError;
pub use export::{Exported, export};
pub use import::{Imported, import};

/// The progress of an export or import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The present stage.
    pub stage: Stage,
    /// The number of events that are done.
    pub events: u64,
    /// The number of all events.
    pub of: u64,
}

/// A stage of an export or import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Events are written into the file.
    Exporting,
    /// The file is read and checked, before anything is written.
    Reading,
    /// Events are written into the store.
    Importing,
    /// The contents of the store are compared with the file.
    Comparing,
}

/// The number of events that are read from a store at once.
const EVENTS_PER_PAGE: usize = 1_000;

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
