//! The statements that read, each as of one moment.
//!
//! `log.rs` draws the conclusions about positions; this module only reads.

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{
    CommandId, Direction, Filter, Load, Loaded, LogId, LogQuery, Name, Position, Receipt,
    StoredEvent, StreamId, StreamQuery,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};
use uuid::Uuid;

use crate::fences::Holder;
use crate::rows::{self, Rows, stored};

const STREAM_FORWARDS: &str = include_str!("queries/stream_forwards.sql");
const STREAM_BACKWARDS: &str = include_str!("queries/stream_backwards.sql");
const LOAD: &str = include_str!("queries/load.sql");
const LOAD_WITH_SNAPSHOT: &str = include_str!("queries/load_with_snapshot.sql");
const LOG: &str = include_str!("queries/log.sql");
const LOG_FILTERED: &str = include_str!("queries/log_filtered.sql");
const LOG_FIRST_OF_STREAM: &str = include_str!("queries/log_first_of_stream.sql");
const SEEN: &str = include_str!("queries/seen.sql");
const HOLDERS: &str = include_str!("queries/holders.sql");
const NEWEST: &str = include_str!("queries/newest.sql");
const RECEIPT: &str = include_str!("queries/receipt.sql");
const RECEIPTS: &str = include_str!("queries/receipts.sql");
const TRACKING: &str = include_str!("queries/tracking.sql");

/// The number of events that are searched for a hole. Beyond it the holders of the appender lock are listed even if
/// there is no hole.
const RUN_EVENTS_MAX: i64 = 1_000;

/// The visible events after a decided position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The position up to which there is no hole.
    pub(crate) run_end: Position,
    /// The highest visible position.
    pub(crate) highest: Position,
}

pub(crate) async fn stream(
    client: &ClientWrapper,
    query: &StreamQuery,
) -> Result<Vec<StoredEvent>, Error> {
    let sql = match query.direction {
        Direction::Forwards => STREAM_FORWARDS,
        Direction::Backwards => STREAM_BACKWARDS,
    };
    let StreamId { category, id } = &query.stream;
    let from = stored(query.from.as_u64());
    let to = stored(query.to.as_u64());

    let statement = client.prepare_cached(sql).await?;
    let category = category.as_str();
    let limit = rows::at_most(query.limit);

    let params: [&(dyn ToSql + Sync); 5] = [id, &category, &from, &to, &limit];
    Rows::events(client.query_raw(&statement, params).await?).await
}

/// Reads a snapshot and the events after it in one statement, so that both are of one moment.
pub(crate) async fn load(client: &ClientWrapper, load: &Load) -> Result<Loaded, Error> {
    let StreamId { category, id } = &load.stream;
    let after = stored(load.after.as_u64());
    let to = stored(load.to.as_u64());

    let category = category.as_str();
    let limit = rows::at_most(load.limit);

    let fingerprint = load
        .fingerprint
        .map(|fingerprint| fingerprint.0.cast_signed());
    let params: [&(dyn ToSql + Sync); 6] = [id, &category, &after, &to, &limit, &fingerprint];
    let (sql, count) = if fingerprint.is_some() {
        (LOAD_WITH_SNAPSHOT, 6)
    } else {
        (LOAD, 5)
    };
    let statement = client.prepare_cached(sql).await?;
    Rows::loaded(
        client
            .query_raw(&statement, params.into_iter().take(count))
            .await?,
    )
    .await
}

/// Reads the wanted events up to `ceiling` that are visible.
pub(crate) async fn log(
    client: &ClientWrapper,
    query: &LogQuery,
    ceiling: Position,
) -> Result<Vec<StoredEvent>, Error> {
    let statement = log_statement(client, &query.filter).await?;
    log_events(client, &statement, query, ceiling).await
}

/// Reads how far the log is visible after `decided`.
pub(crate) async fn seen(client: &ClientWrapper, decided: Position) -> Result<Seen, Error> {
    let statement = client.prepare_cached(SEEN).await?;
    seen_after(client, &statement, decided).await
}

/// Reads how far the log is visible after `decided`, and *then* the wanted events; one round trip.
pub(crate) async fn seen_then_log(
    client: &ClientWrapper,
    decided: Position,
    query: &LogQuery,
) -> Result<(Seen, Vec<StoredEvent>), Error> {
    let seen = client.prepare_cached(SEEN).await?;
    let log = log_statement(client, &query.filter).await?;
    tokio::try_join! {
        biased;
        seen_after(client, &seen, decided),
        log_events(client, &log, query, Position::MAX),
    }
}

/// Reads the event at `position`, if there is one, and *then* the highest position; one round trip.
pub(crate) async fn event_then_end(
    client: &ClientWrapper,
    position: Position,
) -> Result<(Option<StoredEvent>, Position), Error> {
    let log = client.prepare_cached(LOG).await?;
    let seen = client.prepare_cached(SEEN).await?;
    let query = LogQuery::after(Position::new(position.as_u64().saturating_sub(1))).limit(1);
    let (events, seen) = tokio::try_join! {
        biased;
        log_events(client, &log, &query, position),
        seen_after(client, &seen, Position::MAX),
    }?;
    Ok((events.into_iter().next(), seen.highest))
}

/// Lists the holders of the appender lock.
pub(crate) async fn holders(client: &ClientWrapper) -> Result<Vec<Holder>, Error> {
    let statement = client.prepare_cached(HOLDERS).await?;
    lock_holders(client, &statement).await
}

/// Lists the holders of the appender lock, and *then* reads the wanted events; one round trip.
pub(crate) async fn holders_then_log(
    client: &ClientWrapper,
    query: &LogQuery,
) -> Result<(Vec<Holder>, Vec<StoredEvent>), Error> {
    let holders = client.prepare_cached(HOLDERS).await?;
    let log = log_statement(client, &query.filter).await?;
    tokio::try_join! {
        biased;
        lock_holders(client, &holders),
        log_events(client, &log, query, Position::MAX),
    }
}

/// Returns the highest visible position, decided or not.
pub(crate) async fn newest(client: &ClientWrapper) -> Result<Position, Error> {
    let statement = client.prepare_cached(NEWEST).await?;
    rows::position(&client.query_one(&statement, &[]).await?, 0)
}

pub(crate) async fn receipt(
    client: &ClientWrapper,
    log: LogId,
    command_id: CommandId,
) -> Result<Option<Receipt>, Error> {
    let statement = client.prepare_cached(RECEIPT).await?;
    let row = client
        .query_opt(&statement, &[&command_id.as_uuid()])
        .await?;
    row.map(|row| rows::receipt(&row, log)).transpose()
}

pub(crate) async fn receipts(
    client: &ClientWrapper,
    log: LogId,
    after: Option<CommandId>,
    limit: usize,
) -> Result<Vec<Receipt>, Error> {
    let statement = client.prepare_cached(RECEIPTS).await?;
    let from = after.map_or(Uuid::nil(), CommandId::as_uuid);
    let rows = client
        .query(
            &statement,
            &[&from, &rows::at_most(limit.saturating_add(1))],
        )
        .await?;
    let receipts = rows
        .iter()
        .map(|row| rows::receipt(row, log))
        .collect::<Result<Vec<_>, _>>()?;
    let beyond = receipts
        .into_iter()
        .filter(|receipt| after.is_none() || receipt.command_id != after);
    Ok(beyond.take(limit).collect())
}

pub(crate) async fn tracking(
    client: &ClientWrapper,
    follower: &Name,
    upstream: LogId,
) -> Result<Position, Error> {
    let statement = client.prepare_cached(TRACKING).await?;
    let row = client
        .query_opt(&statement, &[&follower.as_str(), &upstream.as_uuid()])
        .await?;
    row.map_or(Ok(Position::ZERO), |row| rows::position(&row, 0))
}

// The following functions send their statement when they are first polled, and therefore in the order in which they are
// joined above: a connection executes one statement after the other, each with a snapshot of its own.

async fn seen_after(
    client: &ClientWrapper,
    statement: &Statement,
    decided: Position,
) -> Result<Seen, Error> {
    let row = client
        .query_one(statement, &[&stored(decided.as_u64()), &RUN_EVENTS_MAX])
        .await?;
    Ok(Seen {
        run_end: rows::position(&row, 0)?,
        highest: rows::position(&row, 1)?,
    })
}

async fn lock_holders(client: &ClientWrapper, statement: &Statement) -> Result<Vec<Holder>, Error> {
    let rows = client.query(statement, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Holder {
                process: row.try_get(0)?,
                transaction: row.try_get(1)?,
            })
        })
        .collect()
}

async fn log_statement(client: &ClientWrapper, filter: &Filter) -> Result<Statement, Error> {
    let sql = match filter.first_of_stream {
        true => LOG_FIRST_OF_STREAM,
        false if is_plain(filter) => LOG,
        false => LOG_FILTERED,
    };
    client.prepare_cached(sql).await
}

async fn log_events(
    client: &ClientWrapper,
    statement: &Statement,
    query: &LogQuery,
    ceiling: Position,
) -> Result<Vec<StoredEvent>, Error> {
    let after = stored(query.after.as_u64());
    let ceiling = stored(ceiling.as_u64());

    let limit = rows::at_most(query.limit.max(1));
    let categories = list(&query.filter.categories);
    let names = list(&query.filter.names);

    let params: [&(dyn ToSql + Sync); 5] = [&after, &ceiling, &limit, &categories, &names];
    let count = if is_plain(&query.filter) { 3 } else { 5 };
    Rows::events(
        client
            .query_raw(statement, params.into_iter().take(count))
            .await?,
    )
    .await
}

fn is_plain(filter: &Filter) -> bool {
    *filter == Filter::all()
}

pub(crate) fn list(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}
