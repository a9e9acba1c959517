//! The tables of a store, and the scripts that create and migrate them.
//!
//! All names begin with `eventsourcing_`, so that the file can hold the tables of other programs too. For the same
//! reason the version of the schema is in `eventsourcing_meta`: `user_version` may belong to another program.
//!
//! Categories and names are stored as text in each row. Numbers that refer to a table of names would save about 20
//! bytes an event, but every process would have to keep a copy of that table up to date, and the sqlite3 shell would
//! show numbers.

use std::path::Path;

use eventsourcing_core::store::{LogId, StoreError};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::error::translate;

/// Script n migrates a file from schema n to schema n + 1, including `schema_version`. Schema 0 has no tables.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// The schema of a file without the store's tables.
pub(crate) const NONE: usize = 0;

/// The schema that this release writes.
const SUPPORTED: usize = MIGRATIONS.len();

/// Returns the schema of the file, and refuses one that a later release has written. Reads only.
///
/// # Errors
/// [`StoreError::Invalid`]: the schema is newer. [`StoreError::Corrupt`]: the version is not a number.
pub(crate) fn refuse_newer(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let found = version(connection).map_err(|error| translate(path, error))?;
    if found <= SUPPORTED {
        return Ok(found);
    }
    let path = path.display();
    let reason = format!(
        "{path}: schema version {found} is newer than {SUPPORTED}, the latest this program knows; upgrade the program"
    );
    Err(StoreError::Invalid { reason })
}

/// Creates the missing tables in one transaction, and returns the identity of the log.
///
/// Any number of processes may do so at the same time.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<LogId, StoreError> {
    if refuse_newer(connection, path)? < SUPPORTED {
        let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begin.map_err(|error| translate(path, error))?;
        // Another process may have migrated the file while this one waited for the lock.
        let found = refuse_newer(&transaction, path)?;
        run_from(found, transaction).map_err(|error| translate(path, error))?;
    }
    log_id(connection).map_err(|error| translate(path, error))
}

fn run_from(found: usize, transaction: Transaction<'_>) -> rusqlite::Result<()> {
    MIGRATIONS[found..]
        .iter()
        .try_for_each(|script| transaction.execute_batch(script))?;
    name_log(&transaction)?;
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'eventsourcing_meta'";
    if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(NONE);
    }
    let version: Option<String> = meta(connection, "schema_version")?;
    version.unwrap_or_default().parse().map_err(unreadable)
}

fn name_log(connection: &Connection) -> rusqlite::Result<()> {
    let insert =
        "INSERT INTO eventsourcing_meta (key, value) VALUES ('log_id', ?1) ON CONFLICT DO NOTHING";
    connection
        .execute(insert, [LogId::new().to_string()])
        .map(drop)
}

fn log_id(connection: &Connection) -> rusqlite::Result<LogId> {
    let id = meta(connection, "log_id")?.unwrap_or_default();
    Uuid::parse_str(&id)
        .map(LogId::from_uuid)
        .map_err(unreadable)
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let select = "SELECT value FROM eventsourcing_meta WHERE key = ?1";
    connection
        .query_row(select, [key], |row| row.get(0))
        .optional()
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}
