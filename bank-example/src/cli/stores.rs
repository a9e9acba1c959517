//! A store by its URL.

use std::sync::Arc;

use eventsourcing_core::store::{EventStore, MemoryStore};
use eventsourcing_sqlite::SqliteStore;

use super::failure::Failure;

/// Opens the store that `url` names.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn EventStore>, Failure> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Arc::new(SqliteStore::open(path).await?)),
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        _ => Err(Failure::Usage(format!("{url:?} is not a store; use sqlite:PATH or memory:"))),
    }
}
