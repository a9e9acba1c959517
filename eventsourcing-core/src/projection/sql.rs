//! [`SqlProjection`]: a read model in tables of a SQL database.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::{Names, Table};
use crate::sql::{Database, Row, SqlError, Transaction, Value};
use crate::store::{BoxError, Name, Receipt, StoreError, Written};
use crate::system::{StepFailure, SystemError};
use crate::{Aggregate, RecordedEvent};

/// A read model in tables of a SQL database. [`#[derive(System)]`](macro@crate::System) makes it
/// from its [`ReadModel`].
///
/// ```
/// use eventsourcing_core::{ReadModel, SqlReadModel, Table};
///
/// struct Openings { model: ReadModel }
///
/// impl SqlReadModel for Openings {
///     const VERSION: u32 = 1;
///     const TABLES: &'static [Table] = &[Table::new("openings", "account TEXT PRIMARY KEY, owner TEXT NOT NULL")];
/// }
///
/// impl From<ReadModel> for Openings {
///     fn from(model: ReadModel) -> Self { Self { model } }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a projection in a SQL database, but does not say which tables it has",
    label = "write `impl SqlReadModel for {Self}`"
)]
pub trait SqlReadModel: Send + Sync + 'static {
    /// The version of the tables and their contents. Raise it when either changes. The new version
    /// is built beside the old one, which answers queries until the new one has caught up.
    const VERSION: u32;

    /// The tables of the read model. Statements name them `{name}`.
    const TABLES: &'static [Table];
}

/// Builds a [`SqlReadModel`] from the events of `A`, exactly once: the rows written for an event
/// and the position of the follower are one transaction.
///
/// The tables live in the database of the store that all applications share, or in that of
/// [`Stores::with_read_models`](crate::Stores::with_read_models).
#[diagnostic::on_unimplemented(
    message = "`{Self}` follows `{A}`, but does not say what to write into its tables",
    label = "write `impl SqlProjection<{A}> for {Self}`"
)]
pub trait SqlProjection<A: Aggregate>: Send + Sync + 'static {
    /// The error of `project`; often [`SqlError`]. A failure stops the projection at the event, and
    /// everything written for it is rolled back.
    type Error: Error + Send + Sync + 'static;

    /// Applies one event to the read model. It must write only through `tx`, and do nothing slow:
    /// on SQLite every other writer waits for it.
    fn project(
        &self,
        event: &RecordedEvent<A>,
        tx: &mut Tx<'_>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The transaction in which a read model applies events.
pub struct Tx<'a> {
    transaction: &'a mut dyn Transaction,
    tables: &'static [Table],
    generation: u64,
    failed: Option<Failed>,
}

/// The error of the first statement that failed.
struct Failed {
    is_unavailable: bool,
    reason: String,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(
        transaction: &'a mut dyn Transaction,
        tables: &'static [Table],
        generation: u64,
    ) -> Self {
        Self {
            transaction,
            tables,
            generation,
            failed: None,
        }
    }

    /// Runs one statement, such as `INSERT INTO {openings} (account) VALUES ($1)`, and returns the
    /// number of rows it changed.
    ///
    /// # Errors
    /// [`SqlError`]. The event is then not applied, even if the projection ignores the error.
    pub async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        let sql = Names::Generation(self.generation).fill_in(sql, self.tables)?;
        let outcome = self.transaction.execute(&sql, values).await;
        self.remember(outcome)
    }

    /// Runs one statement that returns rows, and sees the changes made in this transaction.
    ///
    /// # Errors
    /// [`SqlError`]. The event is then not applied, even if the projection ignores the error.
    pub async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let sql = Names::Generation(self.generation).fill_in(sql, self.tables)?;
        let outcome = self.transaction.query(&sql, values).await;
        self.remember(outcome)
    }

    fn remember<T>(&mut self, outcome: Result<T, SqlError>) -> Result<T, SqlError> {
        // Only the first error counts. Later statements of the transaction are refused because of
        // it, so their errors say nothing about the cause.
        if let (Err(error), None) = (&outcome, &self.failed) {
            self.failed = Some(Failed {
                is_unavailable: error.is_unavailable(),
                reason: error.to_string(),
            });
        }
        outcome
    }

    /// Returns the outcome of an event.
    ///
    /// A projection may swallow the error of a statement, but the transaction is no longer usable
    /// then. So the first failed statement decides: an outage is retried, anything else fails the
    /// event.
    pub(crate) fn outcome(self, projected: Result<(), BoxError>) -> Result<(), StepFailure> {
        match (self.failed, projected) {
            (None, Ok(())) => Ok(()),
            (None, Err(cause)) => Err(StepFailure::Event(cause)),
            (
                Some(Failed {
                    is_unavailable: true,
                    reason,
                }),
                Ok(()),
            ) => Err(StepFailure::Unavailable(StoreError::Unavailable {
                reason,
                written: Written::Nothing,
                source: None,
            })),
            (
                Some(Failed {
                    is_unavailable: true,
                    reason,
                }),
                Err(cause),
            ) => Err(StepFailure::Unavailable(StoreError::unavailable(
                reason, cause,
            ))),
            (Some(_), Err(cause)) => Err(StepFailure::Event(cause)),
            (Some(Failed { reason, .. }), Ok(())) => Err(StepFailure::Event(
                format!("the projection ignored the error of a statement: {reason}").into(),
            )),
        }
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Waits until the follower that fills a read model has processed the events of a receipt.
#[async_trait]
pub(crate) trait WaitForFollower: Send + Sync {
    async fn until(&self, receipt: &Receipt, patience: Duration) -> Result<(), SystemError>;
}

/// A handle for querying a read model in a SQL database. Clones share one handle.
#[derive(Clone)]
pub struct ReadModel {
    name: Name,
    tables: &'static [Table],
    database: Arc<dyn Database>,
    waiting: Arc<OnceLock<Box<dyn WaitForFollower>>>,
}

impl ReadModel {
    pub(crate) fn new(name: Name, tables: &'static [Table], database: Arc<dyn Database>) -> Self {
        Self {
            name,
            tables,
            database,
            waiting: Arc::default(),
        }
    }

    /// Connects the handle to the followers, which run from now on.
    pub(crate) fn attach(&self, waiting: impl WaitForFollower + 'static) {
        let _ = self.waiting.set(Box::new(waiting));
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Runs one statement that reads, such as `SELECT owner FROM {openings} WHERE account = $1`, on
    /// one snapshot of the database.
    ///
    /// While a version is built the one before it answers: query only columns that both have, or
    /// wait until it is built ([`RunningSystem::build`](crate::RunningSystem::build)).
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let sql = Names::Live.fill_in(sql, self.tables)?;
        self.database.query(&sql, values).await
    }

    /// Waits until the read model shows the events of `receipt`, at most `timeout`, so that a
    /// caller reads its own writes. The follower may run in any process.
    /// [`DEFAULT_TIMEOUT`](crate::DEFAULT_TIMEOUT) suits most callers.
    ///
    /// # Errors
    /// The errors of [`RunningSystem::wait_for`](crate::RunningSystem::wait_for).
    pub async fn wait_for(&self, receipt: &Receipt, timeout: Duration) -> Result<(), SystemError> {
        match self.waiting.get() {
            Some(waiting) => waiting.until(receipt, timeout).await,
            None => Err(SystemError::Invalid {
                reason: format!(
                    "read model {}: its system has not started, so nothing fills it; start the system first",
                    self.name
                ),
            }),
        }
    }
}

impl fmt::Debug for ReadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadModel")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
