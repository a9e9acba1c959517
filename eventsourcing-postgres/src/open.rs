//! From a connection string to connections. Every fault is found before the store is used.

use std::future::Future;

use eventsourcing_core::store::{LogId, StoreError};
use tokio::time::timeout;

use crate::config::PostgresOptions;
use crate::error::unavailable;
use crate::schema;
use crate::session::{Connection, Sessions};

/// The first connection of a store, and what was found with it.
pub(crate) struct Opened {
    pub(crate) sessions: Sessions,
    pub(crate) log_id: LogId,
    pub(crate) client: Connection,
}

/// Connects to the database at `url` and migrates its schema.
///
/// A pooler that shares connections is refused before the schema is touched: the settings of this session, on which the
/// migration relies, could already be those of another connection.
pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Opened, StoreError> {
    let sessions = Sessions::new(url, options)?;
    let mut client = sessions.open(|_| {}).await?;
    sessions.refuse_shared_connections(&client).await?;
    let migrated = schema::migrate(&mut client, &sessions.endpoint, options.if_absent);
    let log_id = in_time(&sessions, migrated).await?;
    in_time(&sessions, schema::check_sequence(&client, &sessions)).await?;
    tracing::debug!(endpoint = %sessions.endpoint, %log_id, "postgres store opened");
    Ok(Opened {
        sessions,
        log_id,
        client,
    })
}

async fn in_time<T>(
    sessions: &Sessions,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(sessions.answer_timeout, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(unavailable(
            &sessions.endpoint,
            "the server has not answered in time",
        )),
    }
}
