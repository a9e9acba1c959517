//! The tables of a store, and the scripts that create and migrate them.
//!
//! A store has a schema of its own, so its tables have plain names, and other tables of the database are left alone. No
//! statement names the schema; `search_path` selects it. Categories and names are stored as text in each row, so that
//! psql shows them and no process has to keep a copy of a table of names up to date.

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{LogId, StoreError};
use tokio_postgres::{Error, GenericClient};
use uuid::Uuid;

use crate::address::Endpoint;
use crate::config::IfAbsent;
use crate::error::translate;
use crate::session::Sessions;

const META_EXISTS: &str = include_str!("queries/meta_exists.sql");
const META: &str = include_str!("queries/meta.sql");
const SEQUENCE: &str = include_str!("queries/sequence.sql");
const LOCK: &str = include_str!("queries/lock_schema.sql");
const SCHEMA: &str = include_str!("schema/0.sql");

/// Script n brings a database from schema n to schema n + 1, `schema_version` included. Schema 0 is no tables at all.
const MIGRATIONS: [&str; 3] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];

/// The schema of a database without the store's tables.
const NONE: usize = 0;

/// The schema that this release writes.
const SUPPORTED: usize = MIGRATIONS.len();

/// Creates the missing tables in one transaction, and returns the identity of the log. If none is missing nothing is
/// written, and a role without the right to create tables suffices.
///
/// Any number of processes may do so at the same time: an advisory lock lets them look one after the other.
///
/// # Errors
/// [`StoreError::Invalid`]: a later release has written the schema, or the database is not encoded in UTF-8.
/// [`StoreError::Corrupt`]: there are tables of these names with another structure. [`StoreError::NoStore`]: there are
/// no tables, and none may be created.
pub(crate) async fn migrate(
    client: &mut ClientWrapper,
    endpoint: &Endpoint,
    if_absent: IfAbsent,
) -> Result<LogId, StoreError> {
    let found_first = found(&**client, endpoint).await?;
    if found_first == NONE && if_absent == IfAbsent::Refuse {
        return Err(StoreError::NoStore {
            reason: format!("{endpoint}: there is no store of events in this schema"),
        });
    }
    if found_first < SUPPORTED {
        let transaction = client
            .build_transaction()
            .start()
            .await
            .map_err(|error| translate(endpoint, error))?;
        transaction
            .batch_execute(LOCK)
            .await
            .map_err(|error| translate(endpoint, error))?;
        // Another process may have migrated the schema while this one waited for the lock.
        let found = found(&*transaction, endpoint).await?;
        run_from(found, &transaction)
            .await
            .map_err(|error| translate(endpoint, error))?;
        transaction
            .commit()
            .await
            .map_err(|error| translate(endpoint, error))?;
    }
    log_id(client, endpoint).await
}

async fn run_from(
    found: usize,
    transaction: &tokio_postgres::Transaction<'_>,
) -> Result<(), Error> {
    if found == NONE {
        transaction.batch_execute(SCHEMA).await?;
    }
    for script in &MIGRATIONS[found..] {
        transaction.batch_execute(script).await?;
    }
    Ok(())
}

/// Returns the schema of the database. Reads only.
async fn found(client: &impl GenericClient, endpoint: &Endpoint) -> Result<usize, StoreError> {
    let row = client
        .query_one(META_EXISTS, &[])
        .await
        .map_err(|error| translate(endpoint, error))?;
    let exists: bool = row.get(0);
    let is_usable: bool = row.get(1);
    let encoding: &str = row.get(2);
    if encoding != "UTF8" {
        let reason = format!(
            "{endpoint}: the database is encoded in {encoding}; create one with ENCODING 'UTF8'"
        );
        return Err(StoreError::Invalid { reason });
    }
    if !exists {
        return Ok(NONE);
    }
    if !is_usable {
        let reason = format!(
            "{endpoint}: permission denied; grant the role what roles.sql of this store lists"
        );
        return Err(StoreError::Invalid { reason });
    }
    let text = meta(client, endpoint, "schema_version").await?;
    let found = text.parse().map_err(|error| {
        StoreError::corrupt(format!("{endpoint}: schema version {text:?}"), error)
    })?;
    if found <= SUPPORTED {
        return Ok(found);
    }
    let reason = format!(
        "{endpoint}: schema version {found} is newer than {SUPPORTED}, the latest this program knows; upgrade the program"
    );
    Err(StoreError::Invalid { reason })
}

/// Checks that the next position is after the last event. A copy made by logical replication, or of the rows alone,
/// leaves the sequence behind: new events would stand before events that were read, and readers would miss them.
///
/// # Errors
/// [`StoreError::Corrupt`]: the sequence is behind the log.
pub(crate) async fn check_sequence(
    client: &ClientWrapper,
    sessions: &Sessions,
) -> Result<(), StoreError> {
    let Sessions {
        endpoint, schema, ..
    } = sessions;
    let row = client
        .query_one(SEQUENCE, &[])
        .await
        .map_err(|error| translate(endpoint, error))?;
    let given_out: i64 = row.get(0);
    let end: i64 = row.get(1);

    if given_out >= end {
        return Ok(());
    }
    let reason = format!(
        "{endpoint}: the sequence of positions stands at {given_out}, and the log ends at {end}; events would be written before \
         others that were read, and readers would pass them over. While no program writes let the owner of the tables run \
         SELECT setval('\"{schema}\".events_position', (SELECT max(position) FROM \"{schema}\".events))"
    );
    Err(StoreError::Corrupt {
        reason,
        source: None,
    })
}

async fn log_id(client: &ClientWrapper, endpoint: &Endpoint) -> Result<LogId, StoreError> {
    let text = meta(&**client, endpoint, "log_id").await?;
    let id = Uuid::parse_str(&text);
    id.map(LogId::from_uuid)
        .map_err(|error| StoreError::corrupt(format!("{endpoint}: log id {text:?}"), error))
}

async fn meta(
    client: &impl GenericClient,
    endpoint: &Endpoint,
    key: &str,
) -> Result<String, StoreError> {
    let row = client
        .query_opt(META, &[&key])
        .await
        .map_err(|error| translate(endpoint, error))?;
    let value = row
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(|error| translate(endpoint, error))?;
    value.ok_or_else(|| StoreError::Corrupt {
        reason: format!("{endpoint}: the table meta has no {key}"),
        source: None,
    })
}
