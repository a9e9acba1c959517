//! PostgreSQL by hand: tokio-postgres, prepared statements, one transaction for each insert.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use contest::{Contestant, Outcome, account};
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use super::{Effort, METADATA, Row, decode};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream_id   uuid NOT NULL,
        version     bigint NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        name        text NOT NULL,
        metadata    bytea NOT NULL,
        payload     bytea NOT NULL,
        UNIQUE (stream_id, version)
    )";
const INSERT: &str = "INSERT INTO events (stream_id, version, name, metadata, payload)
    SELECT $1, version, name, $5, payload FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS row (version, name, payload)";
const STREAM: &str =
    "SELECT version, name, payload FROM events WHERE stream_id = $1 ORDER BY version";
const LOG: &str = "SELECT position, name, payload, stream_id, version, recorded_at, metadata
    FROM events WHERE position > $1 ORDER BY position LIMIT 1000";

/// The number of connections, as in a usual pool.
const CONNECTIONS: usize = 16;
/// The number of inserts in flight at once, for the limit.
const PIPELINED_INSERTS: usize = 8;

/// PostgreSQL by hand.
pub struct Postgres {
    sessions: Vec<Arc<Session>>,
    next: AtomicUsize,
    effort: Effort,
    /// The inserts in flight, for the limit.
    sent: Mutex<JoinSet<Outcome<()>>>,
    room: Arc<Semaphore>,
}

/// A connection and its statements.
struct Session {
    client: Client,
    insert: Statement,
    stream: Statement,
    log: Statement,
}

impl Postgres {
    pub async fn connect(url: &str, effort: Effort) -> Outcome<Self> {
        let mut sessions = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            sessions.push(Arc::new(Session::connect(url).await?));
        }
        let sent = Mutex::default();
        let room = Arc::new(Semaphore::new(PIPELINED_INSERTS));

        Ok(Self {
            sessions,
            next: AtomicUsize::new(0),
            effort,
            sent,
            room,
        })
    }

    fn session(&self) -> &Arc<Session> {
        &self.sessions[self.next.fetch_add(1, Ordering::Relaxed) % self.sessions.len()]
    }

    /// Sends an insert on the first connection, behind those in flight.
    async fn send(&self, account: Uuid, rows: Vec<Row>) -> Outcome<()> {
        let session = Arc::clone(&self.sessions[0]);
        let room = Arc::clone(&self.room).acquire_owned().await?;

        let mut sent = self.sent.lock().await;
        while let Some(ended) = sent.try_join_next() {
            ended??;
        }
        sent.spawn(async move {
            let _room = room;
            Ok(session.insert(account, &rows).await?)
        });
        Ok(())
    }
}

#[async_trait]
impl Contestant for Postgres {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        loop {
            let (version, _) = self.session().load(account).await?;
            let row = if version == 0 {
                Row::opened()?
            } else {
                Row::credited(version + 1, amount)?
            };
            match self.session().insert(account, &[row]).await {
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        let rows = Row::written(events)?;
        match self.effort {
            Effort::Raw => Ok(self.session().insert(account, &rows).await?),
            Effort::Limit => self.send(account, rows).await,
        }
    }

    async fn flush(&self) -> Outcome<()> {
        let mut sent = self.sent.lock().await;
        while let Some(ended) = sent.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        match self.session().load(account).await? {
            (0, _) => Err("there is no such account".into()),
            (_, balance) => Ok(balance),
        }
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        self.session().read_log(self.effort).await.map(Some)
    }

    async fn fill(&self, accounts: u64, events: u64) -> Outcome<bool> {
        for number in 0..accounts {
            self.send(account("filling", number), Row::written(events / accounts)?)
                .await?;
        }
        self.flush().await?;
        Ok(true)
    }
}

impl Session {
    async fn connect(url: &str) -> Outcome<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute(&format!(
                "SELECT pg_advisory_lock(1); {TABLE}; SELECT pg_advisory_unlock(1)"
            ))
            .await?;
        let insert = client.prepare(INSERT).await?;
        let stream = client.prepare(STREAM).await?;
        let log = client.prepare(LOG).await?;

        Ok(Self {
            client,
            insert,
            stream,
            log,
        })
    }

    /// Returns the version and the balance of an account; 0 if it does not exist.
    async fn load(&self, account: Uuid) -> Outcome<(i64, u64)> {
        let mut version = 0;
        let mut balance = 0;

        for row in self.client.query(&self.stream, &[&account]).await? {
            version = row.try_get(0)?;
            balance += decode(row.try_get(1)?, row.try_get(2)?)?;
        }
        Ok((version, balance))
    }

    async fn insert(&self, account: Uuid, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
        let versions: Vec<_> = rows.iter().map(|row| row.version).collect();
        let names: Vec<_> = rows.iter().map(|row| row.name).collect();
        let payloads: Vec<_> = rows.iter().map(|row| row.payload.as_slice()).collect();
        self.client
            .execute(
                &self.insert,
                &[&account, &versions, &names, &payloads, &METADATA],
            )
            .await?;
        Ok(())
    }

    async fn read_log(&self, effort: Effort) -> Outcome<u64> {
        let mut after = 0_i64;
        let mut events = 0;

        loop {
            let rows = self.client.query_raw(&self.log, [after]).await?;
            let mut rows = pin!(rows);
            let before = events;

            while let Some(row) = rows.try_next().await? {
                after = row.try_get(0)?;
                events += 1;
                let name: &str = row.try_get(1)?;
                let payload: &[u8] = row.try_get(2)?;

                if effort == Effort::Raw {
                    decode(name, payload)?;
                }
            }
            if events == before {
                return Ok(events);
            }
        }
    }
}
