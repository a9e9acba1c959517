//! The commit queue: appends of all tasks share commits, and each has its own outcome.
//!
//! One thread owns the connection that writes. A batch is everything that queued up during the last commit, so a lone
//! append never waits, and under load one disk flush serves many appends. Transactions of read models, and reads of a
//! store in memory, use that connection between the batches.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use eventsourcing_core::store::{
    Append, Appended, Lease, LeaseRequest, LeaseToken, LogId, Name, Position, StoreError,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::append::{self, Checked};
use crate::checkpoint::WriteAheadLog;
use crate::error::{translate, translate_before_commit, unavailable};
use crate::lease;
use crate::notify::Head;
use crate::transaction::{self, OpenTransaction};

/// The capacity of the queue. Further appends wait before they enter it.
const QUEUE_APPENDS_MAX: usize = 1024;
/// The most appends in one commit.
const BATCH_APPENDS_MAX: usize = 1024;
/// A batch takes no further append when it has this many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The time for which dropping a store waits for the writer, which may itself wait for a lock of another process.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// A request to the writer's thread.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request is a job, and a box would cost each of them an allocation"
)]
enum Request {
    /// A job that shares a commit with others.
    Job(Job),
    Read(Box<dyn FnOnce(&Connection) + Send>),
    Transaction(Reply<OpenTransaction>),
}

/// A job of a batch, and the channel for its answer.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every job is an append, and a box would cost each of them an allocation"
)]
enum Job {
    Append(Append, Reply<Appended>),
    Lease(LeaseRequest, Reply<Lease>),
    Release {
        follower: Name,
        upstream: LogId,
        token: LeaseToken,
        reply: Reply<()>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The outcome of a job, which is sent once it is committed.
enum JobOutcome {
    Append(Result<Appended, StoreError>),
    Lease(Lease),
    Release,
}

/// The sending half of the writer's thread. Dropping it lets the thread commit the queue and end, and waits for that: a
/// program that exits right afterwards would kill the thread and leave the write-ahead log behind.
pub(crate) struct CommitQueue {
    path: Arc<Path>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    closing: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Receives nothing; the writer drops the other end when it has ended.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl CommitQueue {
    pub(crate) fn start(
        connection: Connection,
        log: LogId,
        path: &Arc<Path>,
        wal: Option<WriteAheadLog>,
        head: Head,
    ) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE_APPENDS_MAX);
        let (alive, ended) = std::sync::mpsc::channel();
        let closing = Arc::default();
        let writer = Writer::new(
            connection,
            log,
            Arc::clone(path),
            wal,
            head,
            queue,
            Arc::clone(&closing),
        );
        let thread = thread::Builder::new()
            .name("eventsourcing-sqlite".to_owned())
            .spawn(move || {
                let _until_the_end = alive;
                writer.run();
            });
        let thread =
            thread.map_err(|error| StoreError::unavailable("no thread for the writer", error))?;
        Ok(Self {
            path: Arc::clone(path),
            requests: Mutex::new(Some(requests)),
            closing,
            thread: Mutex::new(Some(thread)),
            ended: Mutex::new(ended),
        })
    }

    /// Commits `append`, which has been validated. If this future is dropped the append may still be committed.
    pub(crate) async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.commit(|reply| Job::Append(append, reply)).await
    }

    /// Takes a lease. The request has been validated.
    pub(crate) async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        self.commit(|reply| Job::Lease(request, reply)).await
    }

    /// Releases a lease.
    pub(crate) async fn release(
        &self,
        follower: Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        self.commit(|reply| Job::Release {
            follower,
            upstream,
            token,
            reply,
        })
        .await
    }

    /// Begins a transaction on the writer's thread. If this future is dropped no transaction stays open.
    pub(crate) async fn begin(&self) -> Result<OpenTransaction, StoreError> {
        self.ask(Request::Transaction).await
    }

    /// Reads with the writer's connection, between commits. If this future is dropped the read completes and its answer
    /// is discarded.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = Arc::clone(&self.path);
        let read = move |connection: &Connection| {
            read(connection).map_err(|error| translate(&path, error))
        };
        self.ask(|reply| {
            Request::Read(Box::new(move |connection| {
                drop(reply.send(read(connection)));
            }))
        })
        .await
    }

    async fn commit<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        self.ask(|reply| Request::Job(job(reply))).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let closed = || unavailable(&self.path, "the store has been closed").before_commit();
        let requests = lock(&self.requests).clone().ok_or_else(closed)?;
        let (reply, outcome) = oneshot::channel();
        let stopped = || unavailable(&self.path, "the writer has stopped; open the store again");
        requests.send(request(reply)).await.map_err(|_| stopped())?;
        drop(requests);
        outcome.await.map_err(|_| stopped())?
    }

    /// Lets the writer commit what is queued, and waits until it has closed its connection. An open transaction is
    /// rolled back.
    pub(crate) async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        drop(lock(&self.requests).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A writer that panicked has closed its connection as well.
            let _ended = spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for CommitQueue {
    fn drop(&mut self) {
        drop(lock(&self.requests).take());
        let thread = lock(&self.thread).take();
        // After `close` there is no thread left. The writer drops the queue itself if it holds the last clone of the
        // store, and it must not wait for its own end.
        if thread.is_some_and(|thread| thread.thread().id() != thread::current().id()) {
            let _ended_or_late = lock(&self.ended).recv_timeout(DROP_TIMEOUT);
        }
    }
}

/// A panic while the lock is held cannot leave an option half changed, so a poisoned lock is used further.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the writer's thread. If it panics the transaction is rolled back, and the callers' replies and the
/// queue are closed, so every caller gets an answer.
pub(crate) struct Writer {
    connection: Connection,
    log: LogId,
    path: Arc<Path>,
    head: Head,
    queue: mpsc::Receiver<Request>,
    /// A request that was taken from the queue but cannot share the commit of the batch before it.
    next: Option<Request>,
    closing: Arc<AtomicBool>,
    /// `None` for a store in memory.
    wal: Option<WriteAheadLog>,
}

/// The failure of a whole batch.
enum Failure {
    BeforeCommit(Arc<rusqlite::Error>),
    AtCommit(Arc<rusqlite::Error>),
    /// The file has been removed, replaced or overwritten.
    File(StoreError),
}

impl Writer {
    fn new(
        connection: Connection,
        log: LogId,
        path: Arc<Path>,
        wal: Option<WriteAheadLog>,
        head: Head,
        queue: mpsc::Receiver<Request>,
        closing: Arc<AtomicBool>,
    ) -> Self {
        Self {
            connection,
            log,
            path,
            head,
            queue,
            next: None,
            closing,
            wal,
        }
    }

    fn run(mut self) {
        while let Some(request) = self.next_request() {
            match request {
                Request::Job(first) => {
                    let batch = self.batch_with(first);
                    self.settle(batch);
                }
                Request::Read(read) => read(&self.connection),
                Request::Transaction(reply) => {
                    transaction::serve(
                        &mut self.connection,
                        &self.path,
                        &self.closing,
                        self.wal.as_mut(),
                        reply,
                    );
                }
            }
            if let Some(wal) = &mut self.wal {
                wal.tidy(&mut self.connection);
            }
        }
        if let Some(wal) = &mut self.wal {
            wal.before_closing(&mut self.connection);
        }
    }

    /// Waits for the next request. Returns `None` once the queue is closed and empty.
    fn next_request(&mut self) -> Option<Request> {
        self.next.take().or_else(|| self.queue.blocking_recv())
    }

    /// Returns `first` and the jobs queued behind it, up to the first request that cannot share its commit.
    fn batch_with(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_APPENDS_MAX
            && bytes < BATCH_BYTES_MAX
            && let Ok(next) = self.queue.try_recv()
        {
            match next {
                Request::Job(job) => {
                    bytes += job.bytes();
                    batch.push(job);
                }
                other => {
                    self.next = Some(other);
                    break;
                }
            }
        }
        batch
    }

    /// Commits the batch and then answers every job. The order matters: an answer before the commit would acknowledge
    /// events that a crash still takes.
    fn settle(&mut self, batch: Vec<Job>) {
        match self.commit(&batch) {
            Ok(outcomes) => {
                self.head.publish(last_position(&outcomes));
                batch
                    .into_iter()
                    .zip(outcomes)
                    .for_each(|(job, outcome)| job.answer(outcome));
            }
            Err(failure) => {
                // `FileWatch` has logged the fault of the file, which is the same for each later batch.
                if !matches!(failure, Failure::File(_)) {
                    tracing::warn!(path = %self.path.display(), appends = batch.len(), %failure, "a batch of appends failed");
                }
                batch
                    .into_iter()
                    .for_each(|job| job.refuse(failure.for_caller(&self.path)));
            }
        }
    }

    fn commit(&mut self, batch: &[Job]) -> Result<Vec<JobOutcome>, Failure> {
        self.try_to_commit(batch)
            .map_err(|failure| self.explain(failure))
    }

    fn try_to_commit(&mut self, batch: &[Job]) -> Result<Vec<JobOutcome>, Failure> {
        let begin = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begin.map_err(Failure::before_commit)?;
        if let Some(wal) = &mut self.wal {
            wal.begin(&transaction).map_err(Failure::File)?;
        }
        let outcomes = batch
            .iter()
            .map(|job| carry_out(&transaction, self.log, &self.path, job));
        let outcomes = outcomes
            .collect::<Result<Vec<_>, _>>()
            .map_err(Failure::before_commit)?;
        transaction
            .commit()
            .map_err(|error| Failure::AtCommit(Arc::new(error)))?;
        if let Some(wal) = &mut self.wal {
            wal.committed(last_position(&outcomes));
        }
        Ok(outcomes)
    }

    /// A removed or overwritten file shows as SQLite errors of many kinds. This replaces such an error with its cause.
    fn explain(&self, failure: Failure) -> Failure {
        let cause = self
            .wal
            .as_ref()
            .and_then(|wal| wal.cause_of_failure(&self.connection));
        match (failure, cause) {
            (Failure::BeforeCommit(_), Some(cause)) => Failure::File(cause.before_commit()),
            (Failure::AtCommit(_), Some(cause)) => Failure::File(cause.at_commit()),
            (failure, _) => failure,
        }
    }
}

/// Returns the outcome of one job; an error concerns the whole batch.
fn carry_out(
    transaction: &Transaction<'_>,
    log: LogId,
    path: &Path,
    job: &Job,
) -> rusqlite::Result<JobOutcome> {
    match job {
        Job::Append(append, _) => {
            carry_out_append(transaction, log, path, append).map(JobOutcome::Append)
        }
        Job::Lease(request, _) => lease::take(transaction, request).map(JobOutcome::Lease),
        Job::Release {
            follower,
            upstream,
            token,
            ..
        } => lease::release(transaction, follower, *upstream, *token).map(|()| JobOutcome::Release),
    }
}

/// An append that cannot even be checked has written nothing, so the other appends of the batch go on. But SQLite may
/// have answered by rolling back the whole transaction; then everything that the others wrote is gone, and the batch
/// fails.
fn carry_out_append(
    transaction: &Transaction<'_>,
    log: LogId,
    path: &Path,
    append: &Append,
) -> rusqlite::Result<Result<Appended, StoreError>> {
    match append::check(transaction, log, append) {
        Ok(Checked::Sound(versions)) => append::write(transaction, log, append, &versions).map(Ok),
        Ok(Checked::Repeated(receipt)) => Ok(Ok(Appended::repeated(receipt))),
        Ok(Checked::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) if transaction.is_autocommit() => Err(error),
        Err(error) => Ok(Err(translate_before_commit(path, error))),
    }
}

fn last_position(outcomes: &[JobOutcome]) -> Position {
    let written = outcomes.iter().filter_map(|outcome| match outcome {
        JobOutcome::Append(Ok(appended)) => Some(appended.receipt.position),
        _ => None,
    });
    written.max().unwrap_or_default()
}

impl Job {
    fn bytes(&self) -> usize {
        let Self::Append(append, _) = self else {
            return 0;
        };
        let events = append.streams.iter().flat_map(|part| &part.events);
        let snapshots = append
            .snapshots
            .iter()
            .map(|snapshot| snapshot.payload.len());
        let notes = append
            .tracking
            .iter()
            .flat_map(|step| step.notes.values().flatten())
            .map(String::len);
        events
            .map(|event| event.payload.len() + event.metadata.len())
            .chain(snapshots)
            .chain(notes)
            .sum()
    }

    /// Sends the outcome. The caller may have gone; the append is committed all the same.
    fn answer(self, outcome: JobOutcome) {
        match (self, outcome) {
            (Self::Append(_, reply), JobOutcome::Append(outcome)) => drop(reply.send(outcome)),
            (Self::Lease(_, reply), JobOutcome::Lease(lease)) => drop(reply.send(Ok(lease))),
            (Self::Release { reply, .. }, JobOutcome::Release) => drop(reply.send(Ok(()))),
            _ => unreachable!("each job has an outcome of its own kind"),
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(error))),
            Self::Lease(_, reply) => drop(reply.send(Err(error))),
            Self::Release { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

impl Failure {
    fn before_commit(error: rusqlite::Error) -> Self {
        Self::BeforeCommit(Arc::new(error))
    }

    fn for_caller(&self, path: &Path) -> StoreError {
        match self {
            Self::BeforeCommit(error) => translate_before_commit(path, Arc::clone(error)),
            Self::AtCommit(error) => translate(path, Arc::clone(error)).at_commit(),
            Self::File(StoreError::Unavailable {
                reason, written, ..
            }) => StoreError::Unavailable {
                reason: reason.clone(),
                written: *written,
                source: None,
            },
            Self::File(error) => unavailable(path, error),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BeforeCommit(error) => write!(f, "{error}, nothing was written"),
            Self::AtCommit(error) => write!(
                f,
                "{error} at commit, not known whether anything was written"
            ),
            Self::File(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use eventsourcing_core::store::{CodecId, Expected, NewEvent, StreamId, Tracking};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::config::SqliteOptions;
    use crate::read;

    type Answer = oneshot::Receiver<Result<Appended, StoreError>>;

    struct Bench {
        _folder: tempfile::TempDir,
        path: Arc<Path>,
        jobs: mpsc::Sender<Request>,
        writer: Writer,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut opened =
                crate::open::open(&folder.path().join("log.db"), &SqliteOptions::new())
                    .expect("a store");
            let (jobs, queue) = mpsc::channel(QUEUE_APPENDS_MAX);
            let timeout = SqliteOptions::BUSY_TIMEOUT_DEFAULT;
            let watch = Arc::clone(&opened.watch);
            let wal = WriteAheadLog::new(&opened.path, watch, timeout, &mut opened.writer)
                .expect("a log");
            let path = Arc::clone(&opened.path);
            let writer = Writer::new(
                opened.writer,
                opened.log_id,
                path,
                Some(wal),
                Head::new(),
                queue,
                Arc::default(),
            );
            Self {
                _folder: folder,
                path: opened.path,
                jobs,
                writer,
            }
        }

        fn settle_next(&mut self) -> usize {
            settle_next(&mut self.writer).expect("something is queued")
        }

        fn head(&self) -> u64 {
            read::head(&self.writer.connection)
                .expect("a head")
                .as_u64()
        }
    }

    /// Returns the number of appends in the commit.
    fn settle_next(writer: &mut Writer) -> Option<usize> {
        let Request::Job(first) = writer.next_request()? else {
            panic!("only jobs are queued here")
        };
        let batch = writer.batch_with(first);
        let appends = batch.len();
        writer.settle(batch);
        Some(appends)
    }

    fn queue(jobs: &mpsc::Sender<Request>, append: Append) -> Answer {
        let (reply, outcome) = oneshot::channel();
        assert!(
            jobs.try_send(Request::Job(Job::Append(append, reply)))
                .is_ok(),
            "the queue has room"
        );
        outcome
    }

    fn stream() -> StreamId {
        StreamId::new("account", Uuid::new_v4())
    }

    fn append(stream: &StreamId, expected: Expected) -> Append {
        let event = NewEvent {
            name: "deposited".into(),
            schema_version: 1,
            codec: CodecId(0),
            payload: vec![b'x'; 1000],
            metadata: Vec::new(),
        };
        Append::new(Timestamp::UNIX_EPOCH).with_events(stream.clone(), expected, vec![event])
    }

    fn outcome(mut reply: Answer) -> Result<Appended, StoreError> {
        reply.try_recv().expect("an answer")
    }

    #[test]
    fn gathered_appends_share_one_commit_and_have_their_own_outcomes() {
        let mut bench = Bench::new();
        let shared = stream();
        let replies: Vec<_> = (0..64)
            .map(|_| queue(&bench.jobs, append(&shared, Expected::NoStream)))
            .collect();
        let others: Vec<_> = (0..64)
            .map(|_| queue(&bench.jobs, append(&stream(), Expected::NoStream)))
            .collect();
        assert_eq!(bench.settle_next(), 128, "appends in the one commit");

        let outcomes: Vec<_> = replies.into_iter().map(outcome).collect();
        assert!(outcomes[0].is_ok(), "{:?}", outcomes[0]);
        assert!(
            outcomes[1..]
                .iter()
                .all(|outcome| matches!(outcome, Err(StoreError::Conflict { .. })))
        );
        let mut positions: Vec<_> = others
            .into_iter()
            .map(|reply| outcome(reply).expect("a receipt"))
            .collect();
        positions.dedup_by_key(|appended| appended.receipt.position);
        assert_eq!((positions.len(), bench.head()), (64, 65));
    }

    #[test]
    fn appends_that_queue_up_during_a_commit_share_the_next() {
        let bench = Bench::new();
        let mut other = Connection::open(&bench.path).expect("a second connection");
        let lock = other
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .expect("the lock");
        let replies: Vec<_> = (0..64)
            .map(|_| queue(&bench.jobs, append(&stream(), Expected::Any)))
            .collect();
        let Bench {
            mut writer, jobs, ..
        } = bench;
        let commits =
            thread::spawn(move || std::iter::from_fn(|| settle_next(&mut writer)).count());
        let late: Vec<_> = (0..64)
            .map(|_| queue(&jobs, append(&stream(), Expected::Any)))
            .collect();
        let replies: Vec<_> = replies.into_iter().chain(late).collect();
        drop(jobs);
        lock.rollback().expect("the lock is given back");
        assert!(
            commits.join().expect("a writer") <= 2,
            "128 appends need two commits at most"
        );
        assert!(replies.into_iter().all(|reply| outcome(reply).is_ok()));
    }

    #[test]
    fn full_disk_fails_the_batch_and_leaves_nothing_of_it() {
        let mut bench = Bench::new();
        let pages: i64 = bench
            .writer
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .expect("pages");
        limit_pages(&bench, pages + 3);
        let replies: Vec<_> = (0..64)
            .map(|_| queue(&bench.jobs, append(&stream(), Expected::Any)))
            .collect();
        bench.settle_next();
        for reply in replies {
            let error = outcome(reply).expect_err("there is no room").to_string();
            assert!(
                error.ends_with("the disk is full; this attempt wrote nothing"),
                "{error}"
            );
        }
        assert_eq!(bench.head(), 0);

        limit_pages(&bench, pages + 1000);
        let reply = queue(&bench.jobs, append(&stream(), Expected::Any));
        bench.settle_next();
        assert!(
            outcome(reply).is_ok(),
            "the writer goes on once there is room"
        );
    }

    fn limit_pages(bench: &Bench, pages: i64) {
        let set =
            bench
                .writer
                .connection
                .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
        set.expect("a limit");
    }

    #[test]
    fn append_that_cannot_be_checked_does_not_harm_its_company() {
        let mut bench = Bench::new();
        let follower = "audit";
        let upstream = LogId::new();
        let damage = "INSERT INTO eventsourcing_tracking (follower, upstream, position) VALUES ('audit', ?1, -1)";
        bench
            .writer
            .connection
            .execute(damage, [upstream.as_uuid().into_bytes()])
            .expect("a damaged row");
        let tracking = Tracking::new(follower, upstream, Position::ZERO, Position::new(1));
        let damaged = queue(
            &bench.jobs,
            append(&stream(), Expected::Any).with_tracking(tracking),
        );
        let sound = queue(&bench.jobs, append(&stream(), Expected::Any));
        assert_eq!(bench.settle_next(), 2);
        assert!(matches!(outcome(damaged), Err(StoreError::Corrupt { .. })));
        assert!(outcome(sound).is_ok());
        assert_eq!(bench.head(), 1);
    }

    #[test]
    fn dropped_caller_does_not_undo_the_append() {
        let mut bench = Bench::new();
        drop(queue(&bench.jobs, append(&stream(), Expected::Any)));
        bench.settle_next();
        assert_eq!(bench.head(), 1);
    }

    #[tokio::test]
    async fn panicked_writer_is_unavailable_and_nobody_hangs() {
        let (requests, mut queue) = mpsc::channel::<Request>(1);
        let thread = thread::spawn(move || {
            let _turn = queue.blocking_recv();
            resume_unwind(Box::new("a bug"));
        });
        let queue = CommitQueue {
            path: Path::new("log.db").into(),
            requests: Mutex::new(Some(requests)),
            closing: Arc::default(),
            thread: Mutex::new(Some(thread)),
            ended: Mutex::new(std::sync::mpsc::channel().1),
        };
        for _ in 0..3 {
            let error = queue
                .append(append(&stream(), Expected::Any))
                .await
                .expect_err("there is no writer");
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        }
        queue.close().await;
    }
}
