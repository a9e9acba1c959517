//! A few connections that only read, made when they are needed and made anew when they have been lost.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, PoolError};
use eventsourcing_core::store::{Epoch, StoreError};
use tokio::time::timeout;
use tokio_postgres::Error;

use crate::address::Place;
use crate::error::{is_lost, is_outdated, translate, translate_pool, unavailable};
use crate::lives::Lives;
use crate::session::{Connection, Sessions};

/// A read on its way.
pub(crate) type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Connections that are made when they are needed; who finds all of them lent waits.
pub(crate) type Pool = deadpool::managed::Pool<Sessions>;
/// A connection of a pool, to be given back.
pub(crate) type Pooled = Object<Sessions>;

/// Lends its connections to one read each; further reads wait their turn.
pub(crate) struct Readers {
    pool: Pool,
    place: Place,
    lives: Lives,
    patience: Duration,
}

/// Why a read has no answer.
enum Failure {
    /// The connection is of no use any more.
    Lost(StoreError),
    Other(StoreError),
}

impl Readers {
    pub(crate) fn new(sessions: &Sessions, connections: usize) -> Result<Self, StoreError> {
        let pool = pool(sessions, connections)?;
        let place = sessions.place.clone();

        Ok(Self {
            pool,
            place,
            lives: sessions.lives.clone(),
            patience: sessions.patience,
        })
    }

    /// Runs `read` with a connection, and once more with a new one if the connection turns out to be dead: whoever reads
    /// twice has changed nothing.
    pub(crate) async fn run<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<T, StoreError> {
        self.run_in_epoch(query, read)
            .await
            .map(|(_, answer)| answer)
    }

    /// [`run`](Self::run), and the epoch of what was read.
    pub(crate) async fn run_in_epoch<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<(Epoch, T), StoreError> {
        match self.attempt(query, read).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Lost(error)) => {
                tracing::debug!(place = %self.place, %error, "reading again")
            }
        }
        // Where one connection has died the idle ones have too.
        self.pool.retain(|_, _| false);
        match self.attempt(query, read).await {
            Ok(answer) => Ok(answer),
            Err(Failure::Other(error) | Failure::Lost(error)) => Err(error),
        }
    }

    /// Closes every connection as soon as nobody reads with it. Later reads are refused.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    async fn attempt<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<(Epoch, T), Failure> {
        let lent = lend(&self.pool, &self.lives).await;
        let lent = lent.map_err(|error| Failure::Other(translate_pool(&self.place, error)))?;
        let answer = timeout(self.patience, read(&lent, query)).await;
        match answer {
            Ok(Ok(answer)) => match lent.replicated(self.patience).await {
                Ok(()) => Ok((lent.epoch, answer)),
                Err(error) => {
                    drop(Object::take(lent));
                    Err(Failure::Other(error))
                }
            },
            Ok(Err(error)) if is_lost(&error) || is_outdated(&error) => {
                drop(Object::take(lent));
                Err(Failure::Lost(translate(&self.place, error)))
            }
            Ok(Err(error)) => Err(Failure::Other(translate(&self.place, error))),
            Err(_) => {
                drop(Object::take(lent));
                Err(Failure::Other(unavailable(
                    &self.place,
                    "the server has not answered in time",
                )))
            }
        }
    }
}

/// A connection of the present epoch.
pub(crate) async fn lend(pool: &Pool, lives: &Lives) -> Result<Pooled, PoolError> {
    loop {
        let lent = pool.get().await?;
        if lent.epoch == lives.epoch() {
            return Ok(lent);
        }
        drop(Object::take(lent));
    }
}

/// A pool of connections like those of `sessions`.
pub(crate) fn pool(sessions: &Sessions, connections: usize) -> Result<Pool, StoreError> {
    let pool = Pool::builder(sessions.clone())
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(sessions.patience))
        .create_timeout(Some(sessions.connect_timeout))
        .build();
    pool.map_err(|error| StoreError::unavailable(format!("{}: no pool", sessions.place), error))
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
