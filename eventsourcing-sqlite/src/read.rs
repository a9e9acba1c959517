//! Reads, each as of one moment: one statement, or one read transaction.
//!
//! SQLite has one writer at a time, and a position is assigned by the writer that is about to commit. So events become
//! readable in the order of their positions, and no event can appear below the head of a snapshot.

use std::rc::Rc;

use eventsourcing_core::store::{
    CommandId, Direction, Epoch, Filter, Load, Loaded, LogId, LogPage, LogQuery, Name, Position,
    Receipt, StoredEvent, StoredSnapshot, StreamId, StreamQuery, Version, VisibleLog,
};
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Result, params};

use crate::rows::{self, Rows, stored};

const STREAM_FORWARDS: &str = include_str!("queries/stream_forwards.sql");
const STREAM_BACKWARDS: &str = include_str!("queries/stream_backwards.sql");
const LOAD: &str = include_str!("queries/load.sql");
const LOG: &str = include_str!("queries/log.sql");
const LOG_FILTERED: &str = include_str!("queries/log_filtered.sql");
const LOG_FIRST_OF_STREAM: &str = include_str!("queries/log_first_of_stream.sql");
const HEAD: &str = include_str!("queries/head.sql");
const STREAM_VERSION: &str = include_str!("queries/stream_version.sql");
const SNAPSHOT: &str = include_str!("queries/snapshot.sql");
const RECEIPT: &str = include_str!("queries/receipt.sql");
const RECEIPTS: &str = include_str!("queries/receipts.sql");

pub(crate) fn stream(connection: &Connection, query: &StreamQuery) -> Result<Vec<StoredEvent>> {
    let sql = match query.direction {
        Direction::Forwards => STREAM_FORWARDS,
        Direction::Backwards => STREAM_BACKWARDS,
    };
    let StreamId { category, id } = &query.stream;
    let from = stored(query.from.as_u64());
    let to = stored(query.to.as_u64());

    let statement = connection.prepare_cached(sql)?;
    events(
        statement,
        params![
            id.as_bytes(),
            category.as_str(),
            from,
            to,
            rows_at_most(query.limit)
        ],
    )
}

pub(crate) fn load(connection: &Connection, load: Load) -> Result<Loaded> {
    let moment = connection.unchecked_transaction()?;
    let snapshot = snapshot(&moment, &load)?;
    let after = snapshot
        .as_ref()
        .map_or(load.after, |snapshot| snapshot.version);
    let StreamId { category, id } = &load.stream;
    let from = stored(after.next().as_u64());
    let to = stored(load.to.as_u64());

    let key = params![
        id.as_bytes(),
        category.as_str(),
        from,
        to,
        rows_at_most(load.limit)
    ];
    let mut rows = Rows::default();
    let events = moment
        .prepare_cached(LOAD)?
        .query_map(key, |row| rows.loaded(row))?
        .collect::<Result<_>>()?;
    moment.commit()?;
    Ok(Loaded { snapshot, events })
}

pub(crate) fn log(connection: &Connection, query: &LogQuery) -> Result<LogPage> {
    let limit = query.limit.max(1);
    let moment = connection.unchecked_transaction()?;
    let events = log_events(&moment, query, limit)?;
    let ceiling = match events.last() {
        Some(last) if events.len() == limit => last.position,
        _ => head(&moment)?.max(query.after).max(query.decided),
    };
    moment.commit()?;
    Ok(LogPage {
        events,
        ceiling,
        epoch: Epoch::FIRST,
    })
}

/// Returns the end of the log, and the event at `position`.
pub(crate) fn visible(connection: &Connection, position: Position) -> Result<VisibleLog> {
    let moment = connection.unchecked_transaction()?;
    let before = stored(position.as_u64()) - 1;
    let found = events(moment.prepare_cached(LOG)?, params![before, 1])?.pop();
    let event = found.filter(|event| event.position == position);
    let end = head(&moment)?;
    moment.commit()?;
    Ok(VisibleLog {
        epoch: Epoch::FIRST,
        end,
        event,
    })
}

pub(crate) fn head(connection: &Connection) -> Result<Position> {
    connection
        .prepare_cached(HEAD)?
        .query_row([], |row| rows::position(row, 0))
}

pub(crate) fn stream_version(connection: &Connection, stream: &StreamId) -> Result<Version> {
    let key = params![stream.id.as_bytes(), stream.category.as_str()];
    let version = connection
        .prepare_cached(STREAM_VERSION)?
        .query_row(key, |row| rows::version(row, 0));
    Ok(version.optional()?.unwrap_or_default())
}

pub(crate) fn receipt(
    connection: &Connection,
    log: LogId,
    command_id: CommandId,
) -> Result<Option<Receipt>> {
    let mut statement = connection.prepare_cached(RECEIPT)?;
    statement
        .query_row([command_id.as_uuid().as_bytes()], |row| {
            rows::receipt(row, log)
        })
        .optional()
}

pub(crate) fn receipts(
    connection: &Connection,
    log: LogId,
    after: Option<CommandId>,
    limit: usize,
) -> Result<Vec<Receipt>> {
    // An empty blob sorts before every id.
    let after = after.map_or(Vec::new(), |id| id.as_uuid().as_bytes().to_vec());
    let mut statement = connection.prepare_cached(RECEIPTS)?;
    let receipts = statement.query_map(params![after, rows_at_most(limit)], |row| {
        rows::receipt(row, log)
    })?;
    receipts.collect()
}

fn snapshot(connection: &Connection, load: &Load) -> Result<Option<StoredSnapshot>> {
    let Some(fingerprint) = load.fingerprint else {
        return Ok(None);
    };
    let StreamId { category, id } = &load.stream;
    let from = stored(load.after.next().as_u64());
    let to = stored(load.to.as_u64());

    let key = params![
        id.as_bytes(),
        category.as_str(),
        fingerprint.0.cast_signed(),
        from,
        to
    ];
    connection
        .prepare_cached(SNAPSHOT)?
        .query_row(key, rows::snapshot)
        .optional()
}

fn log_events(connection: &Connection, query: &LogQuery, limit: usize) -> Result<Vec<StoredEvent>> {
    let Filter {
        categories,
        names,
        first_of_stream,
    } = &query.filter;
    let after = stored(query.after.as_u64());
    let limit = rows_at_most(limit);

    let sql = match first_of_stream {
        true => LOG_FIRST_OF_STREAM,
        false if categories.is_empty() && names.is_empty() => {
            return events(connection.prepare_cached(LOG)?, params![after, limit]);
        }
        false => LOG_FILTERED,
    };
    let wanted = params![
        after,
        limit,
        categories.is_empty(),
        list(categories),
        names.is_empty(),
        list(names)
    ];
    events(connection.prepare_cached(sql)?, wanted)
}

fn events(mut statement: CachedStatement<'_>, params: impl Params) -> Result<Vec<StoredEvent>> {
    let mut rows = Rows::default();
    statement
        .query_map(params, |row| rows.event(row))?
        .collect()
}

pub(crate) fn list(names: &[Name]) -> Rc<Vec<Value>> {
    Rc::new(
        names
            .iter()
            .map(|name| Value::Text(name.as_str().to_owned()))
            .collect(),
    )
}

pub(crate) fn rows_at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::checksums::{CHECKSUMS, CHECKSUMS_FIRST_OF_STREAM};
    use crate::config::SqliteOptions;
    use crate::tracking::{FOLLOWERS, NOTES, TRACKING};

    /// Returns the plan of SQLite for `sql`.
    fn plan(sql: &str) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let opened = crate::open::open(&folder.path().join("log.db"), &SqliteOptions::new())
            .expect("a store");
        let mut statement = opened
            .writer
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .expect("a plan");
        let steps = statement
            .raw_query()
            .mapped(|row| row.get::<_, String>(3))
            .collect::<Result<Vec<_>>>();
        steps.expect("steps").join("; ")
    }

    /// Without QPSG, SQLite plans one of these again whenever its values change.
    #[test]
    fn no_read_is_prepared_again_for_other_values() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let opened = crate::open::open(&folder.path().join("log.db"), &SqliteOptions::new())
            .expect("a store");
        for sql in [
            STREAM_FORWARDS,
            STREAM_BACKWARDS,
            LOAD,
            LOG,
            LOG_FILTERED,
            LOG_FIRST_OF_STREAM,
            HEAD,
            STREAM_VERSION,
            SNAPSHOT,
            RECEIPT,
            RECEIPTS,
            TRACKING,
            FOLLOWERS,
            NOTES,
            CHECKSUMS,
            CHECKSUMS_FIRST_OF_STREAM,
        ] {
            let mut statement = opened.writer.prepare(sql).expect("a statement");
            for value in 1..=3 {
                for index in 1..=statement.parameter_count() {
                    statement
                        .raw_bind_parameter(index, value)
                        .expect("a parameter");
                }
                let mut rows = statement.raw_query();
                while rows.next().expect("a step").is_some() {}
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }

    #[test]
    fn streams_are_found_by_their_index_and_not_sorted() {
        for sql in [STREAM_FORWARDS, STREAM_BACKWARDS, STREAM_VERSION, LOAD] {
            let plan = plan(sql);
            assert!(
                plan.contains("INDEX eventsourcing_events_stream (stream_id=? AND category=?"),
                "{plan}"
            );
            assert!(!plan.contains("TEMP B-TREE FOR ORDER"), "{plan}");
        }
    }

    #[test]
    fn newest_usable_snapshot_is_one_step_away() {
        let plan = plan(SNAPSHOT);
        let wanted = "(stream_id=? AND category=? AND fingerprint=? AND version>? AND version<?)";
        assert!(
            plan.contains(wanted) && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }

    #[test]
    fn pages_of_the_log_are_ranges_of_the_log() {
        for sql in [LOG, LOG_FILTERED] {
            let plan = plan(sql);
            assert!(
                plan.contains("USING INTEGER PRIMARY KEY (rowid>?)"),
                "{plan}"
            );
            assert!(!plan.contains("TEMP B-TREE FOR ORDER"), "{plan}");
        }
    }

    #[test]
    fn checksums_are_counted_over_a_range_of_the_log() {
        let all = plan(CHECKSUMS);
        assert!(
            all.contains("USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            "{all}"
        );
        let first = plan(CHECKSUMS_FIRST_OF_STREAM);
        assert!(
            first.contains("INDEX eventsourcing_events_first (position>? AND position<?)"),
            "{first}"
        );
        for plan in [all, first] {
            assert!(!plan.contains("TEMP B-TREE FOR"), "{plan}");
        }
    }

    #[test]
    fn notes_are_found_in_the_order_of_their_keys() {
        let plan = plan(NOTES);
        assert!(
            plan.contains("USING PRIMARY KEY (follower=? AND upstream=? AND key>?)"),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[test]
    fn receipts_are_a_range_of_their_key() {
        let plan = plan(RECEIPTS);
        assert!(
            plan.contains("USING PRIMARY KEY (command_id>?)") && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }

    #[test]
    fn followers_are_a_range_of_their_key() {
        let plan = plan(FOLLOWERS);
        assert!(
            plan.contains("USING PRIMARY KEY ((follower,upstream)>(?,?))"),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[test]
    fn progress_of_a_follower_is_one_step_away() {
        assert!(
            plan(TRACKING).contains("USING PRIMARY KEY (follower=? AND upstream=?)"),
            "{}",
            plan(TRACKING)
        );
    }

    #[test]
    fn first_events_are_found_without_the_others() {
        let plan = plan(LOG_FIRST_OF_STREAM);
        assert!(
            plan.contains("INDEX eventsourcing_events_first (position>?)"),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE FOR ORDER"), "{plan}");
    }
}
