//! [`AuditStore`]: what `verify` and archives need of a store besides its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{CommandId, EventStore, LogChecksum, LogChecksumsQuery, LogSlice, Receipt, StoreError};

/// A store whose log and receipts can be compared with those of others as a whole.
#[async_trait]
pub trait AuditStore: EventStore {
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

    /// Returns the number and the hash of the events in a part of the log, for each slice that has
    /// any. Promise P31.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError>;
}

#[async_trait]
impl<S: AuditStore + ?Sized> AuditStore for Arc<S> {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        (**self).receipts(after, limit).await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        (**self).checksums(query).await
    }
}
