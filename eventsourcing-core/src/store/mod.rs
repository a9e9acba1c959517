//! The store: three small object-safe traits over names, numbers and bytes. Applications need an
//! [`EventStore`], systems a [`FollowerStore`], `verify` and archives an [`AuditStore`].
//!
//! Everything typed lives above it. The promises of a store are numbered in
//! `docs/store-contract.md`, and `eventsourcing_testing::conformance` proves them for each store.

mod acknowledged;
mod append;
mod audit_store;
mod checksum;
mod commands;
mod durability;
mod epoch;
mod error;
mod event_store;
mod expected;
mod follower_store;
mod identity;
mod ids;
mod known_place;
mod lease;
mod limits;
mod log_holder;
mod memory;
mod name;
mod place;
mod query;
mod receipt;
mod rejection;
mod stored_event;
mod tracking;

pub use acknowledged::Acknowledged;
pub use append::{Append, StreamAppend};
pub use audit_store::AuditStore;
pub use checksum::{EventHash, LogChecksum, LogChecksumsQuery, LogSlice};
pub use commands::{Commands, SharedAnswer, SharedCommand};
pub use durability::Durability;
pub use epoch::VisibleLog;
pub(crate) use error::BoxError;
pub use error::{StoreError, Written};
pub use event_store::EventStore;
pub use expected::Expected;
pub use follower_store::{FollowerStore, audit_of};
pub use identity::{EventIdentity, EventRef};
pub use ids::{CommandId, HolderId, LeaseToken, LogId};
pub(crate) use known_place::KnownPlace;
pub use lease::{Lease, LeaseHolder, LeaseRequest};
pub use log_holder::LogHolder;
pub use memory::{MemoryBackup, MemoryStore};
pub use name::{Name, StreamId};
pub use place::{Epoch, Position, Version};
pub use query::{Direction, Filter, Load, Loaded, LogPage, LogQuery, StreamQuery};
pub use receipt::{Appended, Receipt, ReceiptKind};
pub(crate) use rejection::behind_rejections;
pub use rejection::noted_rejection;
#[cfg(test)]
pub(crate) use rejection::rejections_follower;
pub(crate) use stored_event::EncodedEvent;
pub use stored_event::{
    CodecId, Fingerprint, LoadedEvent, NewEvent, NewSnapshot, StoredEvent, StoredSnapshot,
};
pub use tracking::{
    Cut, FollowerNotes, FollowerPosition, FollowersQuery, NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX,
    NotesQuery, Revision, Tracking,
};

/// The largest payload of an event or snapshot, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest metadata of an event, in bytes.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;
/// The largest number of events in one append.
pub const EVENTS_PER_APPEND_MAX: usize = 10_000;
/// The most commands that share one append.
pub const COMMANDS_PER_APPEND_MAX: usize = 10_000;
