//! The commit queue: appends of all tasks share commits, and each has its own outcome.
//!
//! A writer owns a connection. A batch is everything that queued up during the last commit, so a lone append never
//! waits, and under load one flush of the server's disk serves many appends. A batch is one round trip and one
//! transaction: an INSERT if no append needs a check beforehand (`fast_append.rs`), otherwise a call of the function
//! `append()` (`batch.rs`).
//!
//! The function checks every append against the state when it begins: it leaves out those that conflict, and writes the
//! others. Appends that would change each other's answer do not share a batch; the later one moves to the next. Other
//! processes may commit between the check and the write. Then two events claim the same version, the unique index
//! refuses the second, the whole batch is rolled back, and it runs again on the new state. After two such reruns the
//! batch takes the appender lock exclusively: no other append runs meanwhile, so it succeeds. Later appends queue
//! behind the request for that lock, so the request has a short timeout: behind an append that hangs it gives up and
//! the batch runs again in shared mode.
//!
//! A stream that is guarded without being written to gets a row with the version of its next event, which is deleted
//! before the transaction ends. The same index then makes writers of that stream wait, and no others.
//!
//! An error of the statement means that the server has rolled back, and nothing was written. After a lost connection or
//! a missing answer the commit may or may not have happened, and the error says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventsourcing_core::store::{
    Append, Appended, Commands, LogId, Position, ReceiptKind, StoreError,
};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::Error;

use crate::address::Endpoint;
use crate::batch::{Batch, LockMode, Outcome};
use crate::error::{
    is_about_one_append, is_lost, is_outdated, is_worth_a_rerun, translate_at_commit, unavailable,
};
use crate::fast_append::FastAppend;
use crate::notify::Wakeups;
use crate::read;
use crate::rows::RecordedAt;
use crate::schema::check_sequence;
use crate::session::{Connection, Sessions};
use crate::tracking;

/// The capacity of the queue. Further appends wait before they enter it.
const QUEUE_APPENDS_MAX: usize = 1024;
/// The most appends in one commit.
const BATCH_APPENDS_MAX: usize = 512;
/// A batch takes no further append when it has this many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The largest append, in bytes of payloads, metadata and notes; PostgreSQL takes no message of a gigabyte.
pub(crate) const APPEND_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The most reruns of a batch that conflicts with other writers.
const RERUNS_MAX: u32 = 20;
/// The number of reruns in shared mode before every other rerun is exclusive.
const SHARED_RERUNS: u32 = 2;
/// The shortest and the longest pause after a failed connection attempt.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

type Reply = Result<Appended, StoreError>;

/// An append, and the channel for its outcome.
pub(crate) struct Job {
    append: Append,
    reply: oneshot::Sender<Reply>,
}

/// The sending half of the writers. Dropping it lets them commit the queue and end.
pub(crate) struct CommitQueue {
    endpoint: Endpoint,
    jobs: SyncMutex<Option<mpsc::Sender<Job>>>,
    writers: SyncMutex<Vec<JoinHandle<()>>>,
}

impl CommitQueue {
    /// Starts this number of writers; the first one uses `client`.
    pub(crate) fn start(
        sessions: &Sessions,
        log: LogId,
        client: Connection,
        writers: usize,
        notifier: &CommitNotifier,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_APPENDS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let clients = std::iter::once(Some(client)).chain(std::iter::repeat_with(|| None));
        let writers = clients.take(writers).map(|client| {
            let connection = StoreConnection {
                sessions: sessions.clone(),
                client,
                pause: RETRY_MIN,
                not_before: None,
            };
            let writer = Writer {
                connection,
                log,
                queue: Arc::clone(&queue),
                deferred: VecDeque::new(),
                notifier: notifier.clone(),
            };
            tokio::spawn(writer.run())
        });
        let writers = SyncMutex::new(writers.collect());
        Self {
            endpoint: sessions.endpoint.clone(),
            jobs: SyncMutex::new(Some(jobs)),
            writers,
        }
    }

    /// Commits `append`, which has been validated. If this future is dropped the append may still be committed.
    pub(crate) async fn append(&self, append: Append) -> Reply {
        let closed = || unavailable(&self.endpoint, "the store has been closed").before_commit();
        let jobs = lock(&self.jobs).clone().ok_or_else(closed)?;
        let (reply, outcome) = oneshot::channel();
        let stopped = || unavailable(&self.endpoint, "the writer has stopped; connect again");
        let job = Job { append, reply };
        job.check()?;
        jobs.send(job).await.map_err(|_| stopped())?;
        drop(jobs);
        outcome.await.map_err(|_| stopped())?
    }

    /// Lets the writers commit the queue, and waits until they have closed their connections.
    pub(crate) async fn close(&self) {
        drop(lock(&self.jobs).take());
        let writers = std::mem::take(&mut *lock(&self.writers));
        for writer in writers {
            // A writer that panicked has closed its connection as well.
            let _ended = writer.await;
        }
    }
}

/// A panic while the lock is held cannot leave an option or a list half changed, so a poisoned lock is used further.
fn lock<T>(mutex: &SyncMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The channels on which a writer announces commits.
#[derive(Clone)]
pub(crate) struct CommitNotifier {
    /// Wakes the waiting tasks of this process.
    pub(crate) wakeups: Wakeups,
    /// The last written position, for the LISTEN connection.
    pub(crate) written: watch::Sender<Position>,
}

impl CommitNotifier {
    fn publish(&self, position: Position) {
        if position == Position::ZERO {
            return;
        }
        self.wakeups.send_replace(());
        self.written.send_if_modified(|last| {
            let is_new = position > *last;
            *last = position.max(*last);
            is_new
        });
    }
}

/// A task with a connection of its own. If it panics the callers' replies are closed and, with the last writer, the
/// queue is too, so every caller gets an answer.
struct Writer {
    connection: StoreConnection,
    log: LogId,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    /// The appends that were deferred to the next batch.
    deferred: VecDeque<Job>,
    notifier: CommitNotifier,
}

/// The step after a run of a batch.
enum Next {
    Done,
    Rerun,
    OneByOne,
}

impl Writer {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let answered = batch.len();
            self.settle(batch).await;
            // The callers that have just been answered may append again, and can then share the next batch. After a
            // batch of one the writer does not yield: there is no company to wait for, and yielding wakes another
            // thread of the runtime.
            if answered > 1 {
                yield_now().await;
            }
        }
    }

    /// Waits for an append, and returns everything that has queued up. Returns `None` once the queue is closed and
    /// empty.
    async fn next_batch(&mut self) -> Option<Vec<Job>> {
        let mut batch: Vec<_> = self.deferred.drain(..).collect();
        let mut queue = match batch.is_empty() {
            true => self.queue.lock().await,
            // Another writer may hold the lock while it waits for the next append. The deferred appends must not wait
            // for that.
            false => match self.queue.try_lock() {
                Ok(queue) => queue,
                Err(_) => return Some(batch),
            },
        };
        if batch.is_empty() {
            batch.push(queue.recv().await?);
        }
        let mut bytes: usize = batch.iter().map(Job::bytes).sum();
        while batch.len() < BATCH_APPENDS_MAX
            && bytes < BATCH_BYTES_MAX
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.bytes();
            batch.push(next);
        }
        Some(batch)
    }

    /// Commits the batch and then answers every append. The order matters: an answer before the commit would
    /// acknowledge events that a crash still takes.
    async fn settle(&mut self, batch: Vec<Job>) {
        let mut batches = VecDeque::from([batch]);
        while let Some(mut batch) = batches.pop_front() {
            let mut reruns = 0;
            loop {
                match self.commit(&mut batch, reruns).await {
                    Next::Done => break,
                    Next::Rerun => reruns += 1,
                    Next::OneByOne => {
                        batches.extend(batch.drain(..).map(|job| vec![job]));
                        break;
                    }
                }
            }
        }
    }

    /// Runs the batch once. Appends that were answered are removed from it.
    async fn commit(&mut self, batch: &mut Vec<Job>, reruns: u32) -> Next {
        let answer_timeout = self.connection.sessions.answer_timeout;
        let epochs = self.connection.sessions.epochs.clone();
        let (epoch, highest, called) = match self.connection.client().await {
            Ok(client) => {
                let epoch = client.epoch;
                let highest = epochs.highest(client.epoch);
                let called =
                    timeout(answer_timeout, carry_out(client, self.log, batch, reruns)).await;
                if matches!(called, Ok(Ok(_)))
                    && let Err(error) = client.replicated(answer_timeout).await
                {
                    self.connection.disconnect();
                    return refuse_all(batch, error);
                }
                (epoch, highest, called)
            }
            Err(error) => return refuse_all(batch, error),
        };
        match called {
            Ok(Ok(outcomes)) => {
                self.check_positions(&outcomes, highest);
                let written = self.answer(batch, outcomes);
                epochs.note(epoch, written);
                Next::Done
            }
            Ok(Err(error)) => self.fail(batch, error, reruns),
            Err(_) => {
                self.connection.disconnect();
                refuse_all(
                    batch,
                    unavailable(
                        &self.connection.sessions.endpoint,
                        "the server has not answered in time",
                    ),
                )
            }
        }
    }

    /// Checks that new positions are above those that were known when the batch was sent; otherwise the sequence was
    /// set back by hand. The events are written, and the answers say so; but readers that have passed those positions
    /// do not see them. So the connection is closed, and the next one compares the sequence with the log before
    /// anything more is written.
    fn check_positions(&mut self, outcomes: &[Outcome], highest: Position) {
        let new = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Settled(Ok(Appended {
                receipt,
                repeated: false,
                ..
            })) if receipt.kind == ReceiptKind::Recorded => Some(receipt.position),
            _ => None,
        });
        if let Some(position) = new
            .min()
            .filter(|position| Position::ZERO < *position && *position <= highest)
        {
            let endpoint = &self.connection.sessions.endpoint;
            tracing::error!(%endpoint, %position, %highest, "an event was written below positions that were read; their readers do not see it");
            self.connection.disconnect();
        }
    }

    /// Answers the appends, and returns the highest position that was written.
    fn answer(&mut self, batch: &mut Vec<Job>, outcomes: Vec<Outcome>) -> Position {
        let written = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Settled(Ok(Appended { receipt, .. }))
                if receipt.kind == ReceiptKind::Recorded =>
            {
                Some(receipt.position)
            }
            _ => None,
        });
        let written = written.max().unwrap_or_default();
        self.notifier.publish(written);
        for (job, outcome) in batch.drain(..).zip(outcomes) {
            match outcome {
                Outcome::Settled(reply) => job.answer(reply),
                Outcome::Deferred => self.deferred.push_back(job),
            }
        }
        written
    }

    fn fail(&mut self, batch: &mut Vec<Job>, error: Error, reruns: u32) -> Next {
        if is_outdated(&error) || is_lost(&error) {
            self.connection.disconnect();
        }
        if (is_worth_a_rerun(&error) || is_outdated(&error)) && reruns < RERUNS_MAX {
            return Next::Rerun;
        }
        if is_about_one_append(&error) && batch.len() > 1 {
            return Next::OneByOne;
        }
        let endpoint = &self.connection.sessions.endpoint;
        tracing::warn!(%endpoint, appends = batch.len(), %error, "a batch of appends failed");
        let error = translate_at_commit(endpoint, error);
        refuse_all(batch, error)
    }
}

/// Runs the batch without the appends of earlier epochs, which are refused unless their command was answered before.
/// Those answers are read first: afterwards nothing may fail any more that would deny the write.
async fn carry_out(
    client: &Connection,
    log: LogId,
    batch: &[Job],
    reruns: u32,
) -> Result<Vec<Outcome>, Error> {
    let appends: Vec<_> = batch.iter().map(|job| &job.append).collect();
    let mut refused = Vec::new();
    for append in &appends {
        refused.push(match append.check_epoch(client.epoch) {
            Ok(()) => None,
            Err(refusal) => Some(
                first_answer(client, log, append)
                    .await?
                    .unwrap_or(Err(refusal)),
            ),
        });
    }
    if refused.iter().all(Option::is_none) {
        return write(client, log, &appends, reruns).await;
    }
    let present = appends
        .into_iter()
        .zip(&refused)
        .filter(|(_, refused)| refused.is_none());
    let present: Vec<_> = present.map(|(append, _)| append).collect();
    let written = if present.is_empty() {
        Vec::new()
    } else {
        write(client, log, &present, reruns).await?
    };
    let mut written = written.into_iter();
    let outcomes = refused.into_iter().map(|refused| match refused {
        Some(answer) => Outcome::Settled(answer),
        None => written.next().expect("each append has an outcome"),
    });
    Ok(outcomes.collect())
}

/// The answer to an append of which a command was answered before. Several commands are looked up one after the other: this happens
/// once for what was decided before a loss.
async fn first_answer(
    client: &Connection,
    log: LogId,
    append: &Append,
) -> Result<Option<Reply>, Error> {
    let mut receipts = Vec::new();
    for id in append.commands.ids() {
        receipts.extend(read::receipt(client, log, id).await?);
    }
    Ok(match (&append.commands, receipts.first()) {
        (_, None) => None,
        (Commands::Several(_), Some(_)) => Some(Err(StoreError::Repeated { receipts })),
        (_, Some(receipt)) => Some(Ok(Appended::repeated(*receipt))),
    })
}

/// Writes the appends, as one INSERT if none of them needs a check. If a stream is at another version, a second round
/// trip finds the reason.
async fn write(
    client: &Connection,
    log: LogId,
    appends: &[&Append],
    reruns: u32,
) -> Result<Vec<Outcome>, Error> {
    let appends = || appends.iter().copied();
    if reruns == 0
        && let Some(fast) = FastAppend::of(appends())
        && let Some(appended) = fast.write(client, log).await?
    {
        return Ok(appended
            .into_iter()
            .map(|appended| Outcome::Settled(Ok(appended)))
            .collect());
    }
    let arrays = Batch::new(appends());
    // Every other rerun is exclusive: where the lock cannot be had, a shared run may succeed.
    let is_exclusive = reruns >= SHARED_RERUNS && (reruns - SHARED_RERUNS).is_multiple_of(2);
    arrays
        .carry_out(
            client,
            log,
            if is_exclusive {
                LockMode::Exclusive
            } else {
                LockMode::Shared
            },
        )
        .await
}

/// Answers every append of the batch with the same error.
fn refuse_all(batch: &mut Vec<Job>, error: StoreError) -> Next {
    let error = Arc::new(error);
    batch
        .drain(..)
        .for_each(|job| job.answer(Err(same(&error))));
    Next::Done
}

/// A connection that is replaced when it is lost.
struct StoreConnection {
    sessions: Sessions,
    client: Option<Connection>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl StoreConnection {
    /// Returns a connection that was alive a moment ago. After a failed attempt the next one waits, so that writers do
    /// not storm a server that comes back.
    async fn client(&mut self) -> Result<&Connection, StoreError> {
        let epoch = self.sessions.epochs.epoch();
        if self
            .client
            .as_ref()
            .is_some_and(|client| client.is_closed() || client.epoch != epoch)
        {
            self.disconnect();
        }
        if self.client.is_none() {
            self.client = Some(self.connect().await?);
        }
        Ok(self.client.as_ref().expect("it has just been made"))
    }

    fn disconnect(&mut self) {
        self.client = None;
    }

    async fn connect(&mut self) -> Result<Connection, StoreError> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
        match self.open().await {
            Ok(client) => {
                (self.pause, self.not_before) = (RETRY_MIN, None);
                Ok(client)
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(RETRY_MAX);
                Err(error.before_commit())
            }
        }
    }
}

impl StoreConnection {
    async fn open(&self) -> Result<Connection, StoreError> {
        let client = self.sessions.open(|_| {}).await?;
        let checked = timeout(
            self.sessions.answer_timeout,
            check_sequence(&client, &self.sessions),
        )
        .await;
        checked.map_err(|_| {
            unavailable(
                &self.sessions.endpoint,
                "the server has not answered in time",
            )
        })??;
        Ok(client)
    }
}

impl Job {
    /// Checks the limits of this store that others do not have.
    fn check(&self) -> Result<(), StoreError> {
        let bytes = self.bytes();
        if bytes > APPEND_BYTES_MAX {
            let reason =
                format!("an append of {bytes} bytes; at most {APPEND_BYTES_MAX} are allowed");
            return Err(StoreError::Invalid { reason });
        }
        RecordedAt::check(self.append.recorded_at)
    }

    fn bytes(&self) -> usize {
        let events = self.append.streams.iter().flat_map(|part| &part.events);
        let snapshots = self
            .append
            .snapshots
            .iter()
            .map(|snapshot| snapshot.payload.len());
        let notes = self.append.tracking.iter().map(tracking::bytes_of);
        events
            .map(|event| event.payload.len() + event.metadata.len())
            .chain(snapshots)
            .chain(notes)
            .sum()
    }

    /// Sends the answer. The caller may have gone; the append is committed all the same.
    fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

/// Returns a copy of the error, for each append of a batch.
fn same(error: &Arc<StoreError>) -> StoreError {
    match &**error {
        StoreError::Invalid { reason } => StoreError::Invalid {
            reason: reason.clone(),
        },
        StoreError::Corrupt { reason, .. } => {
            StoreError::corrupt(reason.clone(), Arc::clone(error))
        }
        StoreError::Unavailable {
            reason, written, ..
        } => StoreError::Unavailable {
            reason: reason.clone(),
            written: *written,
            source: Some(Arc::clone(error).into()),
        },
        other => StoreError::unavailable(other.to_string(), Arc::clone(error)),
    }
}
