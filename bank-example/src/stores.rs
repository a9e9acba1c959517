//! A store by its URL: swapping the store is one line.

use std::sync::Arc;

use eventsourcing_core::store::{EventStore, MemoryStore, StoreError};
use eventsourcing_postgres::PostgresStore;
use eventsourcing_sqlite::SqliteStore;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Only the scheme is shown: what follows it may contain a password.
    #[error("{scheme:?} is no kind of store; use sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or memory:")]
    Unknown { scheme: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store that `url` names: `sqlite:PATH`, `postgres://…` or `memory:`.
pub async fn open(url: &str) -> Result<Arc<dyn EventStore>, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Arc::new(SqliteStore::open(path).await?)),
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
            Ok(Arc::new(PostgresStore::connect(url).await?))
        }
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        Some((scheme, _)) => Err(OpenError::Unknown { scheme: format!("{scheme}:") }),
        None => Err(OpenError::Unknown { scheme: url.into() }),
    }
}
