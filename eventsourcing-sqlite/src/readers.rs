//! The connections for reads: a small pool off the threads of the async runtime, or, for a store in memory, the
//! writer's only connection between its batches.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use eventsourcing_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::commit::CommitQueue;
use crate::error::{translate, unavailable};
use crate::file_watch::FileWatch;

/// The connections that serve reads.
pub(crate) enum Readers {
    Pool(Pool),
    Writer(Arc<CommitQueue>),
}

impl Readers {
    pub(crate) fn new(
        path: Arc<Path>,
        watch: Arc<FileWatch>,
        connections: Vec<Connection>,
    ) -> Self {
        Self::Pool(Pool::new(path, watch, connections))
    }

    /// Runs `read` with a connection. If this future is dropped the read completes and its answer is discarded.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self {
            Self::Pool(pool) => pool.run(read).await,
            Self::Writer(queue) => queue.read(read).await,
        }
    }

    /// Waits for the reads under way, then closes every connection. Later reads are refused.
    pub(crate) async fn close(&self) {
        match self {
            Self::Pool(pool) => pool.close().await,
            Self::Writer(queue) => queue.close().await,
        }
    }
}

/// The time for which dropping a store waits for reads whose futures have been dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool in which each connection serves one read at a time; further reads wait. Dropping the pool waits for the reads
/// under way, so that the writer's connection is closed last.
pub(crate) struct Pool {
    path: Arc<Path>,
    watch: Arc<FileWatch>,
    count: u32,
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// The idle connections, at least as many as there are free permits.
struct Idle(Mutex<Vec<Connection>>);

impl Pool {
    fn new(path: Arc<Path>, watch: Arc<FileWatch>, connections: Vec<Connection>) -> Self {
        let count = u32::try_from(connections.len()).expect("fewer connections than file handles");
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self {
            path,
            watch,
            count,
            permits,
            idle: Arc::new(Idle(Mutex::new(connections))),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable(&self.path, "the store has been closed"))?;
        let pooled = PooledConnection::new(Arc::clone(&self.idle), permit);
        let path = Arc::clone(&self.path);
        let watch = Arc::clone(&self.watch);
        let answer = spawn_blocking(move || {
            watch.check_if_due(pooled.connection())?;
            let answer = read(pooled.connection());
            answer.map_err(|error| {
                watch
                    .cause_of_failure(pooled.connection())
                    .unwrap_or_else(|| translate(&path, error))
            })
        });
        answer
            .await
            .map_err(|error| StoreError::unavailable("a read was aborted", error))?
    }

    async fn close(&self) {
        if let Ok(_all) = self.permits.acquire_many(self.count).await {
            self.permits.close();
            self.idle.lock().clear();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let since = Instant::now();
        let all = self.count as usize;
        while !self.permits.is_closed()
            && self.idle.lock().len() < all
            && since.elapsed() < DROP_TIMEOUT
        {
            thread::sleep(Duration::from_millis(1));
        }
        self.idle.lock().clear();
    }
}

impl Idle {
    /// A panic while the lock is held cannot leave the list half changed, so a poisoned lock is used further.
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. It returns to the pool before its permit does, also when the read panics, so a task with a
/// permit always finds a connection.
struct PooledConnection {
    connection: Option<Connection>,
    idle: Arc<Idle>,
    _permit: OwnedSemaphorePermit,
}

impl PooledConnection {
    fn new(idle: Arc<Idle>, permit: OwnedSemaphorePermit) -> Self {
        let connection = idle.lock().pop();
        Self {
            connection,
            idle,
            _permit: permit,
        }
    }

    fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("a task with a permit finds a connection")
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.idle.lock().extend(self.connection.take());
    }
}
