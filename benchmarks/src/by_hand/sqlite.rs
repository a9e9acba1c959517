//! SQLite by hand: rusqlite, WAL, `synchronous = FULL`, one connection.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use contest::{Contestant, Outcome, account};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{Effort, METADATA, Row, decode};

const TABLE: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS events (
        position    INTEGER PRIMARY KEY,
        stream_id   BLOB NOT NULL,
        version     INTEGER NOT NULL,
        recorded_at INTEGER NOT NULL,
        name        TEXT NOT NULL,
        metadata    BLOB NOT NULL,
        payload     BLOB NOT NULL,
        UNIQUE (stream_id, version)
    ) STRICT;";
const INSERT: &str = "INSERT INTO events (stream_id, version, recorded_at, name, metadata, payload)
    VALUES (?1, ?2, unixepoch('subsec') * 1000, ?3, ?4, ?5)";
const STREAM: &str =
    "SELECT version, name, payload FROM events WHERE stream_id = ?1 ORDER BY version";
const LOG: &str = "SELECT position, name, payload, stream_id, version, recorded_at, metadata
    FROM events WHERE position > ?1 ORDER BY position LIMIT 1000";

const ROWS_PER_FILLING: u64 = 5_000;

/// SQLite by hand.
pub struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    effort: Effort,
}

impl Sqlite {
    pub fn open(path: &str, effort: Effort) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(TABLE)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            effort,
        })
    }

    /// Runs `task` on a thread whose waits for the disk block no other task.
    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Connection) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let connection = Arc::clone(&self.connection);
        let run = move || task(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await?
    }
}

#[async_trait]
impl Contestant for Sqlite {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        self.run(move |connection| {
            let (version, _) = load(connection, account)?;
            let row = if version == 0 {
                Row::opened()
            } else {
                Row::credited(version + 1, amount)
            };
            insert(connection, account, &row?)
        })
        .await
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        self.run(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            insert_all(&transaction, account, events)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        let found = self
            .run(move |connection| load(connection, account))
            .await?;
        match found {
            (0, _) => Err("there is no such account".into()),
            (_, balance) => Ok(balance),
        }
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let effort = self.effort;
        self.run(move |connection| read_log(connection, effort))
            .await
            .map(Some)
    }

    async fn fill(&self, accounts: u64, events: u64) -> Outcome<bool> {
        let per_account = events / accounts;
        let accounts_per_filling = (ROWS_PER_FILLING / per_account).max(1);
        self.run(move |connection| {
            for first in (0..accounts).step_by(accounts_per_filling as usize) {
                let transaction = connection.transaction()?;
                for number in first..accounts.min(first + accounts_per_filling) {
                    insert_all(&transaction, account("filling", number), per_account)?;
                }
                transaction.commit()?;
            }
            Ok(true)
        })
        .await
    }
}

/// Returns the version and the balance of an account; 0 if it does not exist.
fn load(connection: &Connection, account: Uuid) -> Outcome<(i64, u64)> {
    let mut statement = connection.prepare_cached(STREAM)?;
    let mut rows = statement.query([account])?;
    let mut version = 0;
    let mut balance = 0;

    while let Some(row) = rows.next()? {
        version = row.get(0)?;
        balance += decode(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_blob()?)?;
    }
    Ok((version, balance))
}

fn insert(connection: &Connection, account: Uuid, row: &Row) -> Outcome<()> {
    let mut statement = connection.prepare_cached(INSERT)?;
    statement.execute(params![
        account,
        row.version,
        row.name,
        METADATA,
        row.payload
    ])?;
    Ok(())
}

fn insert_all(transaction: &Transaction<'_>, account: Uuid, events: u64) -> Outcome<()> {
    Row::written(events)?
        .iter()
        .try_for_each(|row| insert(transaction, account, row))
}

fn read_log(connection: &Connection, effort: Effort) -> Outcome<u64> {
    let mut after = 0_i64;
    let mut events = 0;

    let mut statement = connection.prepare_cached(LOG)?;
    loop {
        let mut rows = statement.query([after])?;
        let before = events;

        while let Some(row) = rows.next()? {
            after = row.get(0)?;
            events += 1;
            let name = row.get_ref(1)?.as_str()?;
            let payload = row.get_ref(2)?.as_blob()?;

            if effort == Effort::Raw {
                decode(name, payload)?;
            }
        }
        if events == before {
            return Ok(events);
        }
    }
}
