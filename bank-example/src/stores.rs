//! The bank's stores by their URL: swapping them is one line.

use std::sync::Arc;

use eventsourcing_core::Stores;
use eventsourcing_core::store::{EventStore, MemoryStore, StoreError};
use eventsourcing_postgres::{PostgresOptions, PostgresStore};
use eventsourcing_sqlite::{SqliteOptions, SqliteStore};

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Only the scheme is shown: what follows it may contain a password.
    #[error("{scheme:?} is no kind of store; use sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or memory:")]
    Unknown { scheme: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store that `url` names: `sqlite:PATH`, `postgres://…` or `memory:`. The read models are in its database;
/// those of a store in memory in a SQLite database in memory.
pub async fn open(url: &str) -> Result<Stores, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(SqliteStore::open(path).await?.into()),
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
            Ok(PostgresStore::connect(url).await?.into())
        }
        Some(("memory", "")) => Ok(Stores::shared(MemoryStore::new()).with_read_models(SqliteStore::in_memory()?)),
        Some((scheme, _)) => Err(OpenError::Unknown { scheme: format!("{scheme}:") }),
        None => Err(OpenError::Unknown { scheme: url.into() }),
    }
}

/// Opens the store that `url` names to be filled by an import. A crash of the machine may take the last moments of it, and
/// then it goes on from before them: not to wait for the disk at each event makes it many times as fast.
pub async fn open_to_fill(url: &str) -> Result<Arc<dyn EventStore>, OpenError> {
    use {eventsourcing_postgres::Durability as OnServer, eventsourcing_sqlite::Durability as InFile};
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => {
            Ok(Arc::new(SqliteOptions::new().with_durability(InFile::Normal).open(path).await?))
        }
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
            Ok(Arc::new(PostgresOptions::new().with_durability(OnServer::Normal).connect(url).await?))
        }
        _ => Ok(open(url).await?.store()),
    }
}
