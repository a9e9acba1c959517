//! The bank's stores by their URL: swapping them is one line.

use std::sync::Arc;

use eventsourcing::postgres::PostgresOptions;
use eventsourcing::sqlite::{SqliteOptions, SqliteStore};
use eventsourcing::store::{Durability, EventStore, OpenOptions, StoreUrl};

pub use eventsourcing::store::{OpenError, open, open_existing};

/// Opens the SQLite store that `url` names, if it names one and there is one; `None` if it names a store of another kind.
pub async fn open_sqlite(url: &str) -> Result<Option<SqliteStore>, OpenError> {
    match url.parse::<StoreUrl>()?.sqlite_file() {
        Some(file) => Ok(Some(SqliteStore::open_existing(file).await?)),
        None => Ok(None),
    }
}

/// Opens the store that `url` names to be filled by an import. A crash of the machine may take the last moments of it, and
/// then it goes on from before them: not to wait for the disk at each event makes it many times as fast.
pub async fn open_to_fill(url: &str) -> Result<Arc<dyn EventStore>, OpenError> {
    let options = OpenOptions::new()
        .with_sqlite(SqliteOptions::new().with_durability(Durability::Normal))
        .with_postgres(PostgresOptions::new().with_durability(Durability::Normal));
    Ok(options.open(url).await?.store())
}

/// Returns the address of a store as it can be shown: without user, password and parameters.
pub fn address_without_secrets(url: &str) -> Result<String, OpenError> {
    Ok(url.parse::<StoreUrl>()?.to_string())
}
