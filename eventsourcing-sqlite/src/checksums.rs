//! The number of events and their combined hash, computed over a range of the log.

use std::collections::BTreeMap;

use eventsourcing_core::store::{Filter, LogChecksum, LogChecksumsQuery, LogSlice};
use rusqlite::{Connection, Result, params};

use crate::read::list;
use crate::rows::{self, Rows, stored};

pub(crate) const CHECKSUMS: &str = include_str!("queries/checksums.sql");
pub(crate) const CHECKSUMS_FIRST_OF_STREAM: &str =
    include_str!("queries/checksums_first_of_stream.sql");

/// Returns the checksums of a part of the log. Only the columns that identify an event are read.
pub(crate) fn count(
    connection: &Connection,
    query: &LogChecksumsQuery,
) -> Result<BTreeMap<LogSlice, LogChecksum>> {
    let LogChecksumsQuery {
        after,
        to,
        filter:
            Filter {
                categories,
                names,
                first_of_stream,
            },
    } = query;
    let mut statement = connection.prepare_cached(if *first_of_stream {
        CHECKSUMS_FIRST_OF_STREAM
    } else {
        CHECKSUMS
    })?;
    let after = stored(after.as_u64());
    let to = stored(to.as_u64());

    let wanted = params![
        after,
        to,
        categories.is_empty(),
        list(categories),
        names.is_empty(),
        list(names)
    ];
    let mut slices = BTreeMap::new();
    let mut identities = Rows::default();
    let mut found = statement.query(wanted)?;

    while let Some(row) = found.next()? {
        let (stream, version) = identities.identity(row)?;
        let checksums: &mut LogChecksum = slices
            .entry(LogSlice::of(rows::position(row, 0)?))
            .or_default();
        checksums.add(&stream, version);
    }
    Ok(slices)
}
