//! The file as a SQL database: read models are tables beside the store's own, and are written in one transaction with
//! the step of their follower.

use async_trait::async_trait;
use eventsourcing_core::sql::{Database, Row, SqlError, Transaction, TxState, Value};
use eventsourcing_core::store::{Epoch, StoreError, Tracking};
use rusqlite::Connection;

use crate::error::translate;
use crate::statement::Statement;
use crate::store::SqliteStore;
use crate::tracking;
use crate::transaction::OpenTransaction;

/// The database that [`FollowerStore::database`](eventsourcing_core::store::FollowerStore::database) returns.
pub(crate) struct SqliteDatabase(pub(crate) SqliteStore);

/// An open transaction. It holds a clone of the store, so the store stays open until the transaction ends.
struct SqliteTransaction {
    store: SqliteStore,
    open: OpenTransaction,
    state: TxState,
}

impl SqliteTransaction {
    fn ask(&mut self) -> Result<(), StoreError> {
        self.state.ask(&self.store.path().display())
    }

    async fn try_step(&self, step: &Tracking) -> Result<(), StoreError> {
        step.validate()?;
        Epoch::FIRST.check(step.epoch)?;
        let step = step.clone();
        let made = self.open.run(
            move |connection| match tracking::check(connection, &step)? {
                Some(refusal) => Ok(Err(refusal)),
                None => make_or_undo(connection, &step).map(Ok),
            },
        );
        made.await?
            .unwrap_or_else(|error| Err(translate(&self.store.path(), error)))
    }

    async fn try_execute(&self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        let statement = Statement::new(sql, values);
        let path = self.store.path();
        self.open
            .run(move |connection| statement.execute(connection, &path))
            .await?
    }

    async fn try_query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let statement = Statement::new(sql, values);
        let path = self.store.path();
        self.open
            .run(move |connection| statement.query(connection, &path))
            .await?
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let statement = Statement::new(sql, values);
        let path = self.0.path();

        self.0
            .readers()
            .run(move |connection| Ok(statement.read(connection, &path)))
            .await?
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let open = self.0.queue().begin().await?;
        Ok(Box::new(SqliteTransaction {
            store: self.0.clone(),
            open,
            state: TxState::default(),
        }))
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn step(&mut self, step: &Tracking) -> Result<(), StoreError> {
        self.ask()?;
        let made = self.try_step(step).await;
        self.state.answered(&made);
        made
    }

    async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        self.ask()?;
        let executed = self.try_execute(sql, values).await;
        self.state.statement_answered(&executed);
        executed
    }

    async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        self.ask()?;
        let rows = self.try_query(sql, values).await;
        self.state.statement_answered(&rows);
        rows
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        self.ask()?;
        self.open.commit().await
    }
}

/// Makes a step. A step that fails halfway rolls the transaction back, so that a caller who ignores the error cannot
/// commit half a step.
fn make_or_undo(connection: &Connection, step: &Tracking) -> rusqlite::Result<()> {
    tracking::make(connection, step).inspect_err(|_| {
        let _ended_either_way = connection.execute_batch("ROLLBACK");
    })
}
