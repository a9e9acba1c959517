//! The number of events and their combined hash, computed by the server: no event is transferred.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{EventHash, LogChecksum, LogChecksumsQuery, LogSlice};
use tokio_postgres::{Error, Row};

use crate::read::list;
use crate::rows::{self, stored};

const CHECKSUMS: &str = include_str!("queries/checksums.sql");

/// Returns the checksums of the visible events in a part of the log. They cover all events only up to a ceiling that a
/// reader has been shown; beyond it an event may still appear below a visible one: see `fences.rs`.
pub(crate) async fn count(
    client: &ClientWrapper,
    query: &LogChecksumsQuery,
) -> Result<BTreeMap<LogSlice, LogChecksum>, Error> {
    let after = stored(query.after.as_u64());
    let to = stored(query.to.as_u64());

    let categories = list(&query.filter.categories);
    let names = list(&query.filter.names);

    let statement = client.prepare_cached(CHECKSUMS).await?;
    let rows = client
        .query(
            &statement,
            &[
                &after,
                &to,
                &categories,
                &names,
                &query.filter.first_of_stream,
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((LogSlice::new(rows::number(row, 0)?), checksums(row)?)))
        .collect()
}

fn checksums(row: &Row) -> Result<LogChecksum, Error> {
    let high: i64 = row.try_get(2)?;
    let low: i64 = row.try_get(3)?;

    let bits = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
    Ok(LogChecksum {
        count: rows::number(row, 1)?,
        digest: EventHash::from_bits(bits),
    })
}
