//! [`FlawedStore`]: a store in memory whose database has one flaw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::sql::{Database, Row, SqlError, Transaction, Value};
use eventsourcing_core::store::{
    Append, Appended, AuditStore, CommandId, Epoch, EventStore, FollowerNotes, FollowerPosition,
    FollowerStore, FollowersQuery, Lease, LeaseHolder, LeaseRequest, LeaseToken, Load, Loaded,
    LogChecksum, LogChecksumsQuery, LogId, LogPage, LogQuery, LogSlice, Name, NotesQuery, Position,
    Receipt, StoreError, StoredEvent, StreamQuery, Tracking, VisibleLog,
};
use eventsourcing_sqlite::SqliteStore;
use eventsourcing_testing::conformance::Fixture;

/// A flaw of a database. Every method that is not redefined is correct.
#[async_trait]
pub(crate) trait Flaw: Send + Sync + 'static {
    const TIMEOUT: Duration = Duration::from_secs(30);
    /// Each operation is a transaction of its own.
    const COMMITS_EACH_OPERATION: bool = false;
    /// A refused operation is forgotten, and the transaction continues with the operations that succeeded before.
    const FORGETS_REFUSALS: bool = false;
    /// The fate of a transaction that is dropped.
    const WHEN_DROPPED: Dropped = Dropped::Undone;

    async fn begin(database: &dyn Database) -> Result<Box<dyn Transaction>, StoreError> {
        database.begin().await
    }

    async fn step(transaction: &mut dyn Transaction, step: Tracking) -> Result<(), StoreError> {
        transaction.step(&step).await
    }

    async fn execute(
        transaction: &mut dyn Transaction,
        sql: &str,
        values: &[Value],
    ) -> Result<u64, SqlError> {
        transaction.execute(sql, values).await
    }

    async fn commit(transaction: Box<dyn Transaction>) -> Result<(), StoreError> {
        transaction.commit().await
    }

    async fn query(
        database: &dyn Database,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, SqlError> {
        database.query(sql, values).await
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Dropped {
    Undone,
    Committed,
    LeftOpen,
}

/// No flaw.
pub(crate) struct Sound;

impl Flaw for Sound {
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// A fixture for stores with flawed databases.
pub(crate) struct Flawed<X>(FlawedStore<X>);

pub(crate) struct FlawedStore<X> {
    store: SqliteStore,
    database: Arc<FlawedDatabase<X>>,
}

struct FlawedDatabase<X> {
    database: Arc<dyn Database>,
    flaw: std::marker::PhantomData<X>,
}

struct FlawedTransaction<X: Flaw> {
    database: Arc<dyn Database>,
    transaction: Option<Box<dyn Transaction>>,
    /// The operations that succeeded, if refusals are forgotten.
    done: Vec<Operation>,
    flaw: std::marker::PhantomData<X>,
}

#[derive(Clone)]
enum Operation {
    Step(Tracking),
    Execute(String, Vec<Value>),
}

impl<X: Flaw> Fixture for Flawed<X> {
    type Store = FlawedStore<X>;

    const TIMEOUT: Duration = X::TIMEOUT;

    async fn new() -> Self {
        let store = SqliteStore::in_memory().expect("memory");
        let database = store.database().expect("a database");
        let database = Arc::new(FlawedDatabase {
            database,
            flaw: std::marker::PhantomData,
        });
        Self(FlawedStore { store, database })
    }

    async fn open(&self) -> FlawedStore<X> {
        FlawedStore {
            store: self.0.store.clone(),
            database: Arc::clone(&self.0.database),
        }
    }
}

#[async_trait]
impl<X: Flaw> Database for FlawedDatabase<X> {
    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        X::query(&*self.database, sql, values).await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let transaction = X::begin(&*self.database).await?;
        Ok(Box::new(FlawedTransaction::<X> {
            database: Arc::clone(&self.database),
            transaction: Some(transaction),
            done: Vec::new(),
            flaw: std::marker::PhantomData,
        }))
    }
}

impl<X: Flaw> FlawedTransaction<X> {
    async fn transaction(&mut self) -> Result<&mut dyn Transaction, StoreError> {
        if self.transaction.is_none() {
            self.transaction = Some(self.database.begin().await?);
        }
        Ok(&mut **self.transaction.as_mut().expect("it has begun"))
    }

    /// Begins again and repeats the operations that succeeded, as if none had been refused.
    async fn forget_refusal(&mut self) -> Result<(), SqlError> {
        drop(self.transaction.take());
        for operation in self.done.clone() {
            match operation {
                Operation::Step(step) => self.transaction().await?.step(&step).await?,
                Operation::Execute(sql, values) => {
                    self.transaction().await?.execute(&sql, &values).await?;
                }
            }
        }
        Ok(())
    }

    async fn finish<T, E: From<StoreError>>(
        &mut self,
        operation: Operation,
        outcome: Result<T, E>,
    ) -> Result<T, E> {
        match &outcome {
            Ok(_) if X::FORGETS_REFUSALS => self.done.push(operation),
            Ok(_) => self.after_operation().await?,
            Err(_) if X::FORGETS_REFUSALS => {
                self.forget_refusal().await.expect("it went well before");
            }
            Err(_) => {}
        }
        outcome
    }

    async fn after_operation(&mut self) -> Result<(), StoreError> {
        if !X::COMMITS_EACH_OPERATION {
            return Ok(());
        }
        self.transaction
            .take()
            .expect("it has begun")
            .commit()
            .await
    }
}

#[async_trait]
impl<X: Flaw> Transaction for FlawedTransaction<X> {
    async fn step(&mut self, step: &Tracking) -> Result<(), StoreError> {
        let made = X::step(self.transaction().await?, step.clone()).await;
        self.finish(Operation::Step(step.clone()), made).await
    }

    async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        let executed = X::execute(self.transaction().await?, sql, values).await;
        self.finish(
            Operation::Execute(sql.to_owned(), values.to_vec()),
            executed,
        )
        .await
    }

    async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let rows = self.transaction().await?.query(sql, values).await;
        self.finish(Operation::Execute(sql.to_owned(), values.to_vec()), rows)
            .await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        match self.transaction.take() {
            Some(transaction) => X::commit(transaction).await,
            None => Ok(()),
        }
    }
}

impl<X: Flaw> Drop for FlawedTransaction<X> {
    fn drop(&mut self) {
        match (X::WHEN_DROPPED, self.transaction.take()) {
            (Dropped::Committed, Some(transaction)) => drop(tokio::spawn(transaction.commit())),
            (Dropped::LeftOpen, transaction) => std::mem::forget(transaction),
            _ => {}
        }
    }
}

#[async_trait]
impl<X: Flaw> EventStore for FlawedStore<X> {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.store.append(append).await
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.read_stream(query).await
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        self.store.load(load).await
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.store.read_log(query).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.store.head().await
    }

    async fn newest_position(&self) -> Result<Position, StoreError> {
        self.store.newest_position().await
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        self.store.receipt(command_id).await
    }

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        self.store.rejection(command_id).await
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        self.store.visible(position).await
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        self.store.wait_beyond(position, epoch).await
    }

    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    fn log_id(&self) -> LogId {
        self.store.log_id()
    }
}

#[async_trait]
impl<X: Flaw> FollowerStore for FlawedStore<X> {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        self.store.tracking(follower, upstream).await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        self.store.followers(query).await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        self.store.notes(query).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        self.store.lease(request).await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        self.store.lease_holder(follower, upstream).await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        self.store.release(follower, upstream, token).await
    }

    fn database(&self) -> Option<Arc<dyn Database>> {
        let database = Arc::clone(&self.database);
        Some(database)
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }
}

#[async_trait]
impl<X: Flaw> AuditStore for FlawedStore<X> {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.store.receipts(after, limit).await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        self.store.checksums(query).await
    }
}
