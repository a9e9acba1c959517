//! Opens the bank's store from its URL. Changing the store means changing that URL.

use std::sync::Arc;

use eventsourcing::postgres::PostgresOptions;
use eventsourcing::sqlite::{SqliteOptions, SqliteStore};
use eventsourcing::store::{Durability, FollowerStore, OpenOptions, StoreUrl};

pub use eventsourcing::store::{OpenError, open, open_existing};

/// Opens the existing SQLite store that `url` names. Returns `None` if `url` names a store of another kind.
pub async fn open_sqlite(url: &str) -> Result<Option<SqliteStore>, OpenError> {
    match url.parse::<StoreUrl>()?.sqlite_file() {
        Some(file) => Ok(Some(SqliteStore::open_existing(file).await?)),
        None => Ok(None),
    }
}

/// Opens the store that `url` names for an import.
///
/// Commits do not wait for the disk, which makes an import many times as fast. A crash of the machine can lose the last
/// moments of the import; run again, the import continues from what is left.
pub async fn open_to_fill(url: &str) -> Result<Arc<dyn FollowerStore>, OpenError> {
    let options = OpenOptions::new()
        .with_sqlite(SqliteOptions::new().with_durability(Durability::Normal))
        .with_postgres(PostgresOptions::new().with_durability(Durability::Normal));
    Ok(options.open(url).await?.store())
}

/// Returns the address of a store without user, password and parameters, so that it can be shown.
pub fn address_without_secrets(url: &str) -> Result<String, OpenError> {
    Ok(url.parse::<StoreUrl>()?.to_string())
}
