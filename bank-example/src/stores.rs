//! A store by its URL: swapping the store is one line.

use std::sync::Arc;

use eventsourcing_core::store::{EventStore, MemoryStore, StoreError};
use eventsourcing_sqlite::SqliteStore;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{url:?} is not a store; use sqlite:PATH or memory:")]
    Unknown { url: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store that `url` names: `sqlite:PATH` or `memory:`.
pub async fn open(url: &str) -> Result<Arc<dyn EventStore>, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Arc::new(SqliteStore::open(path).await?)),
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        _ => Err(OpenError::Unknown { url: url.into() }),
    }
}
