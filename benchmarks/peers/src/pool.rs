//! The pool of connections that the peers on sqlx share the settings of.
//!
//! Statements are prepared once for each connection, as sqlx does unless told otherwise. A connection is not asked
//! whether it still lives each time it is taken, which sqlx does unless told otherwise and which costs a round trip. It
//! is asked each time it is given back; nothing turns that off.

use std::str::FromStr;

use contest::Outcome;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};

/// The number of connections of a peer.
pub(crate) const CONNECTIONS: u32 = 16;

/// The connection string of a peer for the database at `place`.
pub(crate) fn connection(place: &str) -> Outcome<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(place)?.disable_statement_logging())
}

/// The settings of a peer's pool.
pub(crate) fn settings() -> PgPoolOptions {
    PgPoolOptions::new()
        .min_connections(CONNECTIONS)
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// A pool for the database at `place`.
pub(crate) async fn open(place: &str) -> Outcome<PgPool> {
    Ok(settings().connect_with(connection(place)?).await?)
}

/// A pool for the database at `place`, where `tables` are made unless `table`, one of them, is there.
pub(crate) async fn open_with_tables(place: &str, table: &str, tables: &str) -> Outcome<PgPool> {
    let pool = open(place).await?;
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(&pool)
        .await?;
    if !there {
        pool.execute(tables).await?;
    }
    Ok(pool)
}
