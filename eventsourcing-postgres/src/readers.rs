//! A few connections that only read, made when they are needed and made anew when they have been lost.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use eventsourcing_core::store::StoreError;
use tokio::time::timeout;
use tokio_postgres::Error;

use crate::address::Place;
use crate::error::{is_lost, is_outdated, translate, translate_pool, unavailable};
use crate::session::Sessions;

/// A read on its way.
pub(crate) type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Lends its connections to one read each; further reads wait their turn.
pub(crate) struct Readers {
    pool: Pool,
    place: Place,
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
        let (pool, place) = (pool(sessions, connections)?, sessions.place.clone());
        Ok(Self { pool, place, patience: sessions.patience })
    }

    /// Runs `read` with a connection, and once more with a new one if the connection turns out to be dead: whoever reads
    /// twice has changed nothing.
    pub(crate) async fn run<Q: Sync + ?Sized, T>(
        &self,
        query: &Q,
        read: for<'a> fn(&'a ClientWrapper, &'a Q) -> Reading<'a, T>,
    ) -> Result<T, StoreError> {
        match self.attempt(query, read).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Lost(error)) => tracing::debug!(place = %self.place, %error, "reading again"),
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
    ) -> Result<T, Failure> {
        let lent = self.pool.get().await.map_err(|error| Failure::Other(translate_pool(&self.place, error)))?;
        let answer = timeout(self.patience, read(&lent, query)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_lost(&error) || is_outdated(&error) => {
                drop(Object::take(lent));
                Err(Failure::Lost(translate(&self.place, error)))
            }
            Ok(Err(error)) => Err(Failure::Other(translate(&self.place, error))),
            Err(_) => {
                drop(Object::take(lent));
                Err(Failure::Other(unavailable(&self.place, "the server has not answered in time")))
            }
        }
    }
}

/// Connections that are made when they are needed; who finds all of them lent waits.
pub(crate) fn pool(sessions: &Sessions, connections: usize) -> Result<Pool, StoreError> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_connect(sessions.config.clone(), sessions.clone(), config);
    let pool = Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(sessions.patience))
        .create_timeout(Some(sessions.connect_timeout))
        .build();
    pool.map_err(|error| StoreError::unavailable(format!("{}: no pool", sessions.place), error))
}
