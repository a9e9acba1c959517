//! Transactions of read models. They run on the writer's thread, because SQLite has one writer at a time.
//!
//! The writer begins a transaction and then serves only its caller, until the transaction is committed, dropped or left
//! idle. Appends queue up meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use eventsourcing_core::sql::TRANSACTION_IDLE_MAX;
use eventsourcing_core::store::{Position, StoreError};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::checkpoint::WriteAheadLog;
use crate::error::{translate, translate_before_commit, unavailable};

/// The interval at which a writer that waits for an operation checks whether the store is being closed.
const CLOSING_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A transaction that has begun; the writer's thread has the other end of the channel. Dropping it rolls back.
pub(crate) struct OpenTransaction {
    path: Arc<Path>,
    operations: mpsc::Sender<Operation>,
    ended: Arc<OnceLock<&'static str>>,
}

enum Operation {
    Run(Box<dyn FnOnce(&Connection) + Send>),
    Commit(oneshot::Sender<Result<(), StoreError>>),
}

impl OpenTransaction {
    /// Runs `operation` within the transaction. If this future is dropped the operation may still run.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let operation = Operation::Run(Box::new(move |connection| {
            drop(reply.send(operation(connection)));
        }));
        self.operations
            .send(operation)
            .map_err(|_| self.has_ended())?;
        answer.await.map_err(|_| self.has_ended())
    }

    /// Commits. If this future is dropped after it was polled, the transaction is committed all the same.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.operations
            .send(Operation::Commit(reply))
            .map_err(|_| self.has_ended())?;
        answer.await.map_err(|_| self.has_ended())?
    }

    fn has_ended(&self) -> StoreError {
        unavailable(
            &self.path,
            self.ended
                .get()
                .unwrap_or(&"the writer has stopped; open the store again"),
        )
    }
}

/// Begins a transaction for the caller behind `reply`, and serves it until it ends. Runs on the writer's thread.
pub(crate) fn serve(
    connection: &mut Connection,
    path: &Arc<Path>,
    closing: &AtomicBool,
    mut wal: Option<&mut WriteAheadLog>,
    reply: oneshot::Sender<Result<OpenTransaction, StoreError>>,
) {
    if reply.is_closed() {
        return;
    }
    let transaction = match begin(connection, path, closing, wal.as_deref_mut()) {
        Ok(transaction) => transaction,
        Err(error) => return drop(reply.send(Err(error))),
    };
    let (operations, asked) = mpsc::channel();
    let ended = Arc::new(OnceLock::new());
    let begun = OpenTransaction {
        path: Arc::clone(path),
        operations,
        ended: Arc::clone(&ended),
    };
    if reply.send(Ok(begun)).is_ok() {
        // The reason is set before the receiver is dropped, so a caller whose operation comes too late finds it.
        let _first = ended.set(serve_until_the_end(transaction, path, closing, wal, &asked));
    }
}

fn begin<'c>(
    connection: &'c mut Connection,
    path: &Path,
    closing: &AtomicBool,
    wal: Option<&mut WriteAheadLog>,
) -> Result<Transaction<'c>, StoreError> {
    if closing.load(Ordering::SeqCst) {
        return Err(unavailable(path, "the store has been closed"));
    }
    let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begin.map_err(|error| translate_before_commit(path, error))?;
    if let Some(wal) = wal {
        wal.begin(&transaction)?;
    }
    Ok(transaction)
}

/// Serves operations, and returns the reason why no more are accepted. A transaction that was not committed is rolled
/// back.
fn serve_until_the_end(
    transaction: Transaction<'_>,
    path: &Path,
    closing: &AtomicBool,
    wal: Option<&mut WriteAheadLog>,
    asked: &mpsc::Receiver<Operation>,
) -> &'static str {
    loop {
        match next(asked, closing) {
            Ok(Operation::Run(operation)) => operation(&transaction),
            Ok(Operation::Commit(reply)) => {
                let _gone = reply.send(commit(transaction, path, wal));
                return "the transaction has ended";
            }
            Err(ended) => return ended,
        }
        if transaction.is_autocommit() {
            return "SQLite has rolled the transaction back; begin another one";
        }
    }
}

fn next(
    asked: &mpsc::Receiver<Operation>,
    closing: &AtomicBool,
) -> Result<Operation, &'static str> {
    let since = Instant::now();
    while since.elapsed() < TRANSACTION_IDLE_MAX {
        match asked.recv_timeout(CLOSING_LOOK_INTERVAL) {
            Ok(operation) => return Ok(operation),
            Err(RecvTimeoutError::Disconnected) => return Err("the transaction was dropped"),
            Err(RecvTimeoutError::Timeout) if closing.load(Ordering::SeqCst) => {
                return Err("the store has been closed, and the transaction was rolled back");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    tracing::warn!(idle = ?TRANSACTION_IDLE_MAX, "an idle transaction was rolled back");
    Err("the transaction was idle for too long and has been rolled back; begin another one")
}

fn commit(
    transaction: Transaction<'_>,
    path: &Path,
    wal: Option<&mut WriteAheadLog>,
) -> Result<(), StoreError> {
    if let Some(wal) = &wal {
        wal.before_commit()?;
    }
    let committed = transaction
        .commit()
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => {
                let reason = format!(
                    "{}: a deferred constraint does not hold: {error}",
                    path.display()
                );
                StoreError::Invalid { reason }
            }
            _ => translate(path, error).at_commit(),
        });
    if let (Ok(()), Some(wal)) = (&committed, wal) {
        wal.committed(Position::ZERO);
    }
    committed
}
