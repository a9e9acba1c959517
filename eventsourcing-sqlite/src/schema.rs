//! Which tables there are, and how they come to be.
//!
//! All names begin with `eventsourcing_`, so that the store can live in a file with tables of something else. For the
//! same reason the schema's version stands in `eventsourcing_meta`: `user_version` may belong to somebody else.
//!
//! Categories and names stand in each row as text. Numbers that refer to a table of names would save some 20 bytes an
//! event, but every process would have to keep its picture of that table right, and a human with the sqlite3 shell
//! would see numbers.

use std::path::Path;

use eventsourcing_core::store::{LogId, StoreError};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::error::translate;

/// Script n brings a file from schema n to schema n + 1, `schema_version` included. Schema 0 is no tables at all.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// The schema of a file without the store's tables.
pub(crate) const NONE: usize = 0;

/// The schema this program writes.
const SUPPORTED: usize = MIGRATIONS.len();

/// Refuses a file that a later program has written, and returns the schema that is there. Reads only.
///
/// # Errors
/// [`StoreError::Invalid`] if so; [`StoreError::Corrupt`] if the version is not a number.
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

/// Creates what is missing, in one transaction, and returns the log's identity.
///
/// Any number of processes may do this at the same time.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<LogId, StoreError> {
    if refuse_newer(connection, path)? < SUPPORTED {
        let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begin.map_err(|error| translate(path, error))?;
        // Somebody else may have migrated while this process waited for its turn.
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
