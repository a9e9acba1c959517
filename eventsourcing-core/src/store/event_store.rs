//! [`EventStore`]: what applications, pages of the log and subscriptions need of a store.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Acknowledged, Append, Appended, CommandId, Epoch, Load, Loaded, LogHolder, LogId, LogPage,
    LogQuery, Position, Receipt, StoreError, StoredEvent, StreamQuery, VisibleLog,
};

/// A store of events and snapshots: one log.
///
/// Any number of applications and processes may share a store. Its promises are listed in
/// `docs/store-contract.md`. An [`Application`](crate::Application), [`LogPages`](crate::LogPages)
/// and a [`Subscription`](crate::Subscription) need nothing else. A system runs on a
/// [`FollowerStore`](super::FollowerStore), and `verify` and archives read an
/// [`AuditStore`](super::AuditStore).
///
/// A method has a default where a store that does not override it claims nothing, and has none where
/// a default would switch a check off.
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
    /// - [`StoreError::Unavailable`]: [`Written`](super::Written) tells if this attempt is known to have written
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

    /// Returns the rejection that was kept for a command, as it was
    /// [given](Append::with_rejection), or `None` if none was. Promise P6.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError>;

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

    /// Returns the id of this log.
    fn log_id(&self) -> LogId;

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

    /// Returns the reason why this store can never be used again and has to be opened anew, or
    /// `None`. An outage that may pass is not a reason. For liveness checks: restarting the program
    /// helps if there is a reason.
    fn fault(&self) -> Option<String> {
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

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        (**self).rejection(command_id).await
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
}
