//! The commit queue: appends of all tasks share commits, each with its own outcome.
//!
//! One thread owns the connection that writes. A batch is whatever queued up while the last one was committing, so a
//! lone append never waits for company, and under load one disk flush serves many.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use eventsourcing_core::store::{Append, Appended, Position, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::append::{self, Checked};
use crate::error::{translate, translate_before_commit, unavailable};
use crate::notify::Head;

/// How many appends wait in the queue before those who append wait themselves.
const QUEUE_APPENDS_MAX: usize = 1024;
/// How many appends share a commit at most.
const BATCH_APPENDS_MAX: usize = 1024;
/// A batch takes no further append when it has this many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

type Outcome = Result<Appended, StoreError>;

/// An append and where its outcome goes.
pub(crate) struct Job {
    append: Append,
    reply: oneshot::Sender<Outcome>,
}

/// The way to the writer's thread. Dropping it lets the thread commit what is queued, and end.
pub(crate) struct CommitQueue {
    path: Arc<Path>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl CommitQueue {
    pub(crate) fn start(
        writer: impl FnOnce(mpsc::Receiver<Job>) -> Writer,
        path: &Arc<Path>,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE_APPENDS_MAX);
        let writer = writer(queue);
        let thread = thread::Builder::new().name("eventsourcing-sqlite".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| StoreError::unavailable("no thread for the writer", error))?;
        Ok(Self { path: Arc::clone(path), jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Has the writer commit `append`, which is valid. If this future is dropped it may still be committed.
    pub(crate) async fn append(&self, append: Append) -> Outcome {
        let jobs = lock(&self.jobs).clone().ok_or_else(|| unavailable(&self.path, "the store has been closed"))?;
        let (reply, outcome) = oneshot::channel();
        let stopped = || unavailable(&self.path, "the writer has stopped; open the store again");
        jobs.send(Job { append, reply }).await.map_err(|_| stopped())?;
        drop(jobs);
        outcome.await.map_err(|_| stopped())?
    }

    /// Lets the writer commit what is queued, and waits until it has closed its connection.
    pub(crate) async fn close(&self) {
        drop(lock(&self.jobs).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A writer that panicked has closed its connection as well.
            let _ended = spawn_blocking(move || thread.join()).await;
        }
    }
}

/// A panic while a lock is held cannot leave an option half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs on the writer's thread. If it panics the transaction is rolled back, and the callers' replies and the
/// queue are closed, so that everybody gets an answer.
pub(crate) struct Writer {
    connection: Connection,
    path: Arc<Path>,
    head: Head,
    queue: mpsc::Receiver<Job>,
}

/// Why nobody in a batch got what they wanted.
enum Failure {
    BeforeCommit(Arc<rusqlite::Error>),
    AtCommit(Arc<rusqlite::Error>),
}

impl Writer {
    pub(crate) fn new(connection: Connection, path: Arc<Path>, head: Head, queue: mpsc::Receiver<Job>) -> Self {
        Self { connection, path, head, queue }
    }

    fn run(mut self) {
        while let Some(batch) = self.next_batch() {
            self.settle(batch);
        }
    }

    /// Sleeps until there is an append, and takes what has gathered; nothing once the queue is closed and empty.
    fn next_batch(&mut self) -> Option<Vec<Job>> {
        let first = self.queue.blocking_recv()?;
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_APPENDS_MAX
            && bytes < BATCH_BYTES_MAX
            && let Ok(next) = self.queue.try_recv()
        {
            bytes += next.bytes();
            batch.push(next);
        }
        Some(batch)
    }

    /// Commits the batch, and only then answers everybody.
    fn settle(&mut self, batch: Vec<Job>) {
        match self.commit(&batch) {
            Ok(outcomes) => {
                self.head.publish(last_position(&outcomes));
                batch.into_iter().zip(outcomes).for_each(|(job, outcome)| job.answer(outcome));
            }
            Err(failure) => {
                tracing::warn!(path = %self.path.display(), appends = batch.len(), %failure, "a batch failed");
                batch.into_iter().for_each(|job| job.answer(Err(failure.for_caller(&self.path))));
            }
        }
    }

    fn commit(&mut self, batch: &[Job]) -> Result<Vec<Outcome>, Failure> {
        let begin = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begin.map_err(Failure::before_commit)?;
        let outcomes = batch.iter().map(|job| carry_out(&transaction, &self.path, &job.append));
        let outcomes = outcomes.collect::<Result<_, _>>().map_err(Failure::before_commit)?;
        transaction.commit().map_err(|error| Failure::AtCommit(Arc::new(error)))?;
        Ok(outcomes)
    }
}

/// The outcome of one append of the batch; an error is one of the whole batch.
///
/// An append that cannot even be checked has written nothing, and its company need not suffer. But SQLite may have
/// answered by rolling back the transaction, and what others wrote is gone with it.
fn carry_out(transaction: &Transaction<'_>, path: &Path, append: &Append) -> rusqlite::Result<Outcome> {
    match append::check(transaction, append) {
        Ok(Checked::Sound(versions)) => append::write(transaction, append, &versions).map(Ok),
        Ok(Checked::Repeated(receipt)) => Ok(Ok(Appended { receipt, repeated: true })),
        Ok(Checked::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) if transaction.is_autocommit() => Err(error),
        Err(error) => Ok(Err(translate_before_commit(path, error))),
    }
}

fn last_position(outcomes: &[Outcome]) -> Position {
    let written = outcomes.iter().flatten().map(|appended| appended.receipt.position);
    written.max().unwrap_or_default()
}

impl Job {
    fn bytes(&self) -> usize {
        let events = self.append.streams.iter().flat_map(|part| &part.events);
        let snapshots = self.append.snapshots.iter().map(|snapshot| snapshot.payload.len());
        events.map(|event| event.payload.len() + event.metadata.len()).chain(snapshots).sum()
    }

    /// Whoever asked may have gone away; the append has happened all the same.
    fn answer(self, outcome: Outcome) {
        let _ = self.reply.send(outcome);
    }
}

impl Failure {
    fn before_commit(error: rusqlite::Error) -> Self {
        Self::BeforeCommit(Arc::new(error))
    }

    fn for_caller(&self, path: &Path) -> StoreError {
        match self {
            Self::BeforeCommit(error) => translate_before_commit(path, Arc::clone(error)),
            Self::AtCommit(error) => translate(path, Arc::clone(error)),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BeforeCommit(error) => write!(f, "{error}, nothing was written"),
            Self::AtCommit(error) => write!(f, "{error} at commit, not known whether anything was written"),
        }
    }
}
