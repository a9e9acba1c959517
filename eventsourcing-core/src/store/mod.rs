//! The store: one small object-safe trait over names, numbers and bytes.
//!
//! Everything typed lives above it. The promises of a store are numbered in
//! `docs/store-contract.md`, and `eventsourcing_testing::conformance` proves them for each store.

mod acknowledged;
mod append;
mod checksum;
mod commands;
mod durability;
mod epoch;
mod error;
mod expected;
mod identity;
mod ids;
mod lease;
mod limits;
mod log_holder;
mod memory;
mod name;
mod place;
mod query;
mod receipt;
mod stored_event;
mod tracking;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use acknowledged::Acknowledged;
pub use append::{Append, StreamAppend};
pub use checksum::{EventHash, LogChecksum, LogChecksumsQuery, LogSlice};
pub use commands::{Commands, SharedAnswer, SharedCommand};
pub use durability::Durability;
pub(crate) use epoch::KnownPlace;
pub use epoch::VisibleLog;
pub(crate) use error::BoxError;
pub use error::{StoreError, Written};
pub use expected::Expected;
pub use identity::{EventIdentity, EventRef};
pub use ids::{CommandId, HolderId, LeaseToken, LogId};
pub use lease::{Lease, LeaseHolder, LeaseRequest};
pub use log_holder::LogHolder;
pub use memory::{MemoryBackup, MemoryStore};
pub use name::{Name, StreamId};
pub use place::{Epoch, Position, Version};
pub use query::{Direction, Filter, Load, Loaded, LogPage, LogQuery, StreamQuery};
pub use receipt::{Appended, Receipt, ReceiptKind};
pub(crate) use stored_event::EncodedEvent;
pub use stored_event::{
    CodecId, Fingerprint, LoadedEvent, NewEvent, NewSnapshot, StoredEvent, StoredSnapshot,
};
pub use tracking::{
    Cut, FollowerNotes, FollowerPosition, FollowersQuery, NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX,
    NotesQuery, Revision, Tracking,
};

use crate::sql::Database;

/// The largest payload of an event or snapshot, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest metadata of an event, in bytes.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;
/// The largest number of events in one append.
pub const EVENTS_PER_APPEND_MAX: usize = 10_000;
/// The most commands that share one append.
pub const COMMANDS_PER_APPEND_MAX: usize = 10_000;

/// A store of events, snapshots and tracking: one log.
///
/// Any number of applications and processes may share a store. Its promises are listed in
/// `docs/store-contract.md`.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Writes all of `append` or nothing.
    ///
    /// An acknowledged append survives a crash of the process. If this future is dropped the append
    /// may still happen, wholly or not at all; a retry with the same command id tells which.
    ///
    /// # Errors
    /// - [`StoreError::Conflict`], [`StoreError::TrackingConflict`]: a stream or the follower is
    ///   elsewhere; nothing was written.
    /// - [`StoreError::LeaseLost`]: the step was made with an outdated token; nothing was written.
    /// - [`StoreError::CutChanged`]: the follower is cut into another number of partitions; nothing
    ///   was written.
    /// - [`StoreError::OutdatedEpoch`]: events may have been lost since the append was decided;
    ///   nothing was written.
    /// - [`StoreError::Repeated`]: of several commands some were answered before; nothing was
    ///   written.
    /// - [`StoreError::Invalid`]: a limit is exceeded or the append makes no sense; nothing was
    ///   written.
    /// - [`StoreError::Unavailable`]: [`Written`] tells if this attempt is known to have written
    ///   nothing. If it is not known, retry with the same command id.
    ///
    /// Promises P1–P11, P19–P21, P23, P38 and P39.
    async fn append(&self, append: Append) -> Result<Appended, StoreError>;

    /// Reads a range of one stream. A stream that was never written to is empty. Promises P12 and
    /// P14.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError>;

    /// Reads the newest usable snapshot and exactly the events after it, from one consistent view.
    /// Promises P13, P24, P25.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    async fn load(&self, load: Load) -> Result<Loaded, StoreError>;

    /// Reads a page of the log. Following each page's ceiling visits every event once. Promises
    /// P15–P17 and P33.
    ///
    /// # Errors
    /// [`StoreError::OutdatedEpoch`]: events may have been lost since the position was read, so
    /// compare it with the log again. [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError>;

    /// Returns the ceiling of the readable log: the position of the last readable event, or zero.
    /// Promise P18.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn head(&self) -> Result<Position, StoreError>;

    /// Returns the event at `position` and the end of the visible log, decided or not, from one
    /// consistent view. A caller proves with it that a log still has the events that were read from
    /// it. Promise P35.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError>;

    /// Returns the highest position of any visible event, decided or not: at or beyond
    /// [`head`](Self::head), and beyond it while an append with a smaller position may still be
    /// running. Zero in an empty log. Promise P37.
    ///
    /// Every event that was acknowledged before the call lies at or before this position. A reader
    /// of the log may have to wait until it can read that far.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn newest_position(&self) -> Result<Position, StoreError>;

    /// Returns the receipt of a command that has been answered, or `None`. Promise P6.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError>;

    /// Returns at most `limit` receipts of commands that have been answered, after one of them, in
    /// the byte order of their ids. Promise P6.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError>;

    /// Returns the position of `follower` in the log `upstream`; zero if the follower was never
    /// seen. Promise P22.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError>;

    /// Lists the followers that have made a step, with their positions. Promise P40.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError>;

    /// Returns the position and the notes of a follower, from one consistent view. Promise P30.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError>;

    /// Returns the number and the hash of the events in a part of the log, for each slice that has
    /// any. Promise P31.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError>;

    /// Takes the lease on a follower, or renews it. Promise P23.
    ///
    /// The lease is granted if it is free, if it has expired on the store's clock, or to its
    /// holder, who keeps the token. Each new holder gets a larger token than all before. If this
    /// future is dropped the lease may have been taken; asking again renews it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], [`StoreError::Unavailable`].
    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError>;

    /// Returns the holder of the lease on a follower, or `None` if the lease is free. Promise P23.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError>;

    /// Releases the lease on a follower, so that another process need not wait until it expires.
    /// Nothing happens if `token` is outdated. Promise P23.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError>;

    /// Waits until an event after `position` is readable, by any writer, and returns the head.
    ///
    /// A lost notification delays the answer by at most the store's poll interval. Dropping the
    /// future is harmless. `epoch` is the one in which `position` was read; `None` stands for the
    /// present one. Promises P26 and P36.
    ///
    /// # Errors
    /// [`StoreError::OutdatedEpoch`]: another epoch has begun. [`StoreError::Unavailable`].
    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError>;

    /// Returns the current epoch, as far as this handle knows. Promise P33.
    fn epoch(&self) -> Epoch;

    /// Returns the appends that have held back the log for long, the oldest first: readers wait for
    /// them, and for no others. Most stores have none, because their readers never wait. The list
    /// is for people, who may end such an append; nothing is promised.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn log_holders(&self) -> Result<Vec<LogHolder>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns the accidents that an append acknowledged by this handle survives, as the store is
    /// configured at this moment. The answer is for people; a store that does not override this
    /// method claims nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        Ok(Acknowledged::Unknown)
    }

    /// Returns the id of this log.
    fn log_id(&self) -> LogId;

    /// Returns the reason why this store can never be used again and has to be opened anew, or
    /// `None`. An outage that may pass is not a reason. For liveness checks: restarting the program
    /// helps if there is a reason.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Returns the SQL database in which read models live beside the log, if the store has one.
    /// Promise P32.
    fn database(&self) -> Option<Arc<dyn Database>> {
        None
    }
}

#[async_trait]
impl<S: EventStore + ?Sized> EventStore for Arc<S> {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        (**self).append(append).await
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        (**self).read_stream(query).await
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        (**self).load(load).await
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        (**self).read_log(query).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        (**self).head().await
    }

    async fn newest_position(&self) -> Result<Position, StoreError> {
        (**self).newest_position().await
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        (**self).receipt(command_id).await
    }

    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        (**self).receipts(after, limit).await
    }

    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        (**self).tracking(follower, upstream).await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        (**self).followers(query).await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        (**self).notes(query).await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        (**self).checksums(query).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        (**self).lease(request).await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        (**self).lease_holder(follower, upstream).await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        (**self).release(follower, upstream, token).await
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        (**self).visible(position).await
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        (**self).wait_beyond(position, epoch).await
    }

    fn epoch(&self) -> Epoch {
        (**self).epoch()
    }

    async fn log_holders(&self) -> Result<Vec<LogHolder>, StoreError> {
        (**self).log_holders().await
    }

    async fn acknowledged(&self) -> Result<Acknowledged, StoreError> {
        (**self).acknowledged().await
    }

    fn log_id(&self) -> LogId {
        (**self).log_id()
    }

    fn fault(&self) -> Option<String> {
        (**self).fault()
    }

    fn database(&self) -> Option<Arc<dyn Database>> {
        (**self).database()
    }
}
