//! The transactions that hold back the log, with the reasons, for people. Readers rely on `fences.rs` only.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{LogHolder, StoreError};
use tokio::time::sleep;
use tokio_postgres::{Error, Row};

use crate::readers::Readers;

const LOG_HOLDERS: &str = include_str!("queries/log_holders.sql");

/// Appends that have lasted less than this are not reported.
const HELD_MIN: Duration = Duration::from_secs(1);
/// The pause before the second look, which tells how long a transaction has lasted if the server does not.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// A transaction that holds the appender lock.
struct Found {
    transaction: String,
    holder: LogHolder,
}

/// Returns the transactions that have held back the log for long, oldest first.
pub(crate) async fn find(readers: &Readers) -> Result<Vec<LogHolder>, StoreError> {
    let found = readers
        .run(&(), |client, ()| Box::pin(look(client)))
        .await?;
    let is_unknown = |found: &Found| found.holder.held_for.is_none();
    let again = match found.iter().any(is_unknown) {
        true => {
            sleep(SECOND_LOOK).await;
            readers
                .run(&(), |client, ()| Box::pin(look(client)))
                .await?
        }
        false => Vec::new(),
    };
    let has_stayed = |found: &Found| {
        again
            .iter()
            .any(|later| later.transaction == found.transaction)
    };
    let long = found
        .into_iter()
        .filter(|found| match found.holder.held_for {
            Some(held_for) => held_for >= HELD_MIN,
            None => has_stayed(found),
        });
    Ok(long.map(|found| found.holder).collect())
}

async fn look(client: &ClientWrapper) -> Result<Vec<Found>, Error> {
    let statement = client.prepare_cached(LOG_HOLDERS).await?;
    client
        .query(&statement, &[])
        .await?
        .iter()
        .map(found)
        .collect()
}

fn found(row: &Row) -> Result<Found, Error> {
    let milliseconds: Option<i64> = row.try_get(2)?;
    let held_for =
        milliseconds.map(|milliseconds| Duration::from_millis(milliseconds.max(0).unsigned_abs()));
    Ok(Found {
        transaction: row.try_get(1)?,
        holder: LogHolder::new(row.try_get(0)?, held_for, doing(row)?),
    })
}

fn doing(row: &Row) -> Result<String, Error> {
    if let Some(name) = row.try_get::<_, Option<&str>>(9)? {
        return Ok(format!(
            "it is called {name:?} and waits for COMMIT PREPARED or ROLLBACK PREPARED"
        ));
    }
    let state: Option<&str> = row.try_get(3)?;
    let waits_for: (Option<&str>, Option<&str>) = (row.try_get(4)?, row.try_get(5)?);
    let mut doing = match (state, waits_for) {
        (None, _) => "the server does not tell this role what it does (pg_read_all_stats lets it)".to_owned(),
        (_, (_, Some("SyncRep"))) => {
            "committed here, waits for a synchronous standby (synchronous_standby_names); no timeout ends that"
                .to_owned()
        }
        (Some("idle in transaction"), _) => "idle in a transaction that was left open".to_owned(),
        (Some(state), (Some(kind), Some(event))) => format!("{state}, waits for {kind} {event}"),
        (Some(state), _) => state.to_owned(),
    };
    for (what, column) in [("application", 6), ("from", 7), ("role", 8)] {
        if let Some(text) = row
            .try_get::<_, Option<&str>>(column)?
            .filter(|text| !text.is_empty())
        {
            doing.push_str(&format!("; {what} {text}"));
        }
    }
    Ok(doing)
}
