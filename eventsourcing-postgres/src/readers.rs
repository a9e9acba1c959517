//! A pool of connections that only read. They are made on demand, and replaced when they are lost.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, PoolError};
use eventsourcing_core::store::{Epoch, StoreError};
use tokio::time::timeout;
use tokio_postgres::Error;

use crate::address::Endpoint;
use crate::epochs::Epochs;
use crate::error::{is_lost, is_outdated, translate, translate_pool, unavailable};
use crate::session::{Connection, Sessions};

/// The future of a read.
pub(crate) type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A pool that makes connections on demand. A caller waits while all of them are in use.
pub(crate) type Pool = deadpool::managed::Pool<Sessions>;
/// A connection of a pool, which returns to it when dropped.
pub(crate) type Pooled = Object<Sessions>;

/// Serves one read at a time with each connection; further reads wait.
pub(crate) struct Readers {
    pool: Pool,
    endpoint: Endpoint,
    epochs: Epochs,
    answer_timeout: Duration,
}

/// The reason why a read has no answer.
enum Failure {
    /// The connection can no longer be used.
    Lost(StoreError),
    Other(StoreError),
}

impl Readers {
    pub(crate) fn new(sessions: &Sessions, connections: usize) -> Result<Self, StoreError> {
        let pool = pool(sessions, connections)?;
        let endpoint = sessions.endpoint.clone();

        Ok(Self {
            pool,
            endpoint,
            epochs: sessions.epochs.clone(),
            answer_timeout: sessions.answer_timeout,
        })
    }

    /// Runs `read` with a connection, and retries once with a new one if the connection turns out to be dead. A read
    /// changes nothing, so the retry is safe.
    pub(crate) async fn run<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<T, StoreError> {
        self.run_in_epoch(query, read)
            .await
            .map(|(_, answer)| answer)
    }

    /// Runs a read as [`run`](Self::run) does, and returns its epoch too.
    pub(crate) async fn run_in_epoch<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<(Epoch, T), StoreError> {
        match self.attempt(query, read).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Lost(error)) => {
                tracing::debug!(endpoint = %self.endpoint, %error, "connection lost; reading on another one");
            }
        }
        // A lost connection usually means that the idle ones are lost too.
        self.pool.retain(|_, _| false);
        match self.attempt(query, read).await {
            Ok(answer) => Ok(answer),
            Err(Failure::Other(error) | Failure::Lost(error)) => Err(error),
        }
    }

    /// Closes every connection as soon as it is idle. Later reads are refused.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    async fn attempt<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<(Epoch, T), Failure> {
        let client = get_client(&self.pool, &self.epochs).await;
        let client =
            client.map_err(|error| Failure::Other(translate_pool(&self.endpoint, error)))?;
        let answer = timeout(self.answer_timeout, read(&client, query)).await;
        match answer {
            // A receipt is read together with a commit that waits for the synchronous standbys (`receipt.sql`). If that
            // wait was cancelled, the answer must not be given before they have the commit: its caller takes the receipt
            // for an acknowledgement.
            Ok(Ok(answer)) => match client.replicated(self.answer_timeout).await {
                Ok(()) => Ok((client.epoch, answer)),
                Err(error) => {
                    drop(Object::take(client));
                    Err(Failure::Other(error))
                }
            },
            Ok(Err(error)) if is_lost(&error) || is_outdated(&error) => {
                drop(Object::take(client));
                Err(Failure::Lost(translate(&self.endpoint, error)))
            }
            Ok(Err(error)) => Err(Failure::Other(translate(&self.endpoint, error))),
            Err(_) => {
                drop(Object::take(client));
                Err(Failure::Other(unavailable(
                    &self.endpoint,
                    "the server has not answered in time",
                )))
            }
        }
    }
}

/// Returns a connection of the present epoch. Connections of earlier epochs are closed.
pub(crate) async fn get_client(pool: &Pool, epochs: &Epochs) -> Result<Pooled, PoolError> {
    loop {
        let client = pool.get().await?;
        if client.epoch == epochs.epoch() {
            return Ok(client);
        }
        drop(Object::take(client));
    }
}

/// Creates a pool of connections that `sessions` makes.
pub(crate) fn pool(sessions: &Sessions, connections: usize) -> Result<Pool, StoreError> {
    let pool = Pool::builder(sessions.clone())
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(sessions.answer_timeout))
        .create_timeout(Some(sessions.connect_timeout))
        .build();
    pool.map_err(|error| StoreError::unavailable(format!("{}: no pool", sessions.endpoint), error))
}

impl Manager for Sessions {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        self.start(|_| {}).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Error> {
        match connection.is_closed() {
            true => Err(RecycleError::message("the connection was lost")),
            false => Ok(()),
        }
    }
}
