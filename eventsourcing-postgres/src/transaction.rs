//! A transaction of a read model, on a pooled connection of its own until it ends.
//!
//! A transaction with a fault is never committed: not after a step or a statement was refused, and not after an answer
//! that its caller did not wait for. Nothing is written before the commit, so every failure until then may be retried.

use std::future::Future;
use std::ops::Deref;
use std::time::Duration;

use async_trait::async_trait;
use deadpool::managed::Object;
use eventsourcing_core::sql::{Row, SqlError, Transaction, TxState, Value};
use eventsourcing_core::store::{StoreError, Tracking};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::Error;

use crate::address::Endpoint;
use crate::commit::APPEND_BYTES_MAX;
use crate::error::{statement_error, translate_at_commit, translate_before_commit, unavailable};
use crate::readers::Pooled;
use crate::session::Connection;
use crate::statement::{Failure, Statement};
use crate::tracking;

/// A transaction that has begun. Dropping it rolls back.
pub(crate) struct OpenTransaction {
    client: PooledClient,
    state: TxState,
    endpoint: Endpoint,
    answer_timeout: Duration,
}

impl OpenTransaction {
    /// Wraps the transaction that has just begun on `client`.
    pub(crate) fn new(client: PooledClient, endpoint: Endpoint, answer_timeout: Duration) -> Self {
        Self {
            client,
            state: TxState::default(),
            endpoint,
            answer_timeout,
        }
    }

    fn ask(&mut self) -> Result<(), StoreError> {
        self.state.ask(&self.endpoint)
    }

    async fn try_step(&self, step: &Tracking) -> Result<(), StoreError> {
        step.validate()?;
        let bytes = tracking::bytes_of(step);
        if bytes > APPEND_BYTES_MAX {
            let reason = format!(
                "a step with notes of {bytes} bytes; at most {APPEND_BYTES_MAX} are allowed"
            );
            return Err(StoreError::Invalid { reason });
        }
        self.client.epoch.check(step.epoch)?;
        let made = self.in_time(tracking::make(&self.client, step)).await?;
        made.map_err(|error| translate_before_commit(&self.endpoint, error))?
    }

    async fn try_execute(&self, sql: &str, values: &[Value]) -> Result<u64, SqlError> {
        let execute = async {
            Statement::prepare(&self.client, sql, values)
                .await?
                .execute()
                .await
        };
        self.in_time(execute)
            .await?
            .map_err(|failure| self.translate(sql, failure))
    }

    async fn try_query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let query = async {
            Statement::prepare(&self.client, sql, values)
                .await?
                .query()
                .await
        };
        self.in_time(query)
            .await?
            .map_err(|failure| self.translate(sql, failure))
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, StoreError> {
        let late =
            |_| unavailable(&self.endpoint, "the server has not answered in time").before_commit();
        timeout(self.answer_timeout, answer).await.map_err(late)
    }

    fn translate(&self, sql: &str, failure: Failure) -> SqlError {
        let endpoint = &self.endpoint;
        match failure {
            Failure::Refused(error) => error,
            Failure::Outdated(error) => {
                let why = "a table may have changed since the statement was prepared; begin another transaction";
                StoreError::unavailable(format!("{endpoint}: {why}"), error)
                    .before_commit()
                    .into()
            }
            Failure::Driver(error) => statement_error(sql, error)
                .unwrap_or_else(|error| translate_before_commit(endpoint, error).into()),
        }
    }

    fn translate_commit(&self, error: Error) -> StoreError {
        match statement_error("COMMIT", error) {
            Ok(error) => StoreError::Invalid {
                reason: format!("{}: {error}; nothing was written", self.endpoint),
            },
            Err(error) => translate_at_commit(&self.endpoint, error),
        }
    }
}

#[async_trait]
impl Transaction for OpenTransaction {
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
        match timeout(self.answer_timeout, self.client.batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.client.replicated(self.answer_timeout).await?;
                self.client.return_to_pool();
                Ok(())
            }
            Ok(Err(error)) => Err(self.translate_commit(error)),
            Err(_) => Err(unavailable(
                &self.endpoint,
                "the server has not answered in time",
            )),
        }
    }
}

impl Drop for OpenTransaction {
    /// Rolls back and keeps the connection if its state is known. Otherwise the connection is closed, and the server
    /// rolls back by itself.
    fn drop(&mut self) {
        let mut client = self.client.take();
        if self.state == TxState::Lost {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let answer_timeout = self.answer_timeout;
        runtime.spawn(async move {
            if let Ok(Ok(())) = timeout(answer_timeout, client.batch_execute("ROLLBACK")).await {
                client.return_to_pool();
            }
        });
    }
}

/// A pooled connection that may be in a transaction. It is closed unless it is given back.
pub(crate) struct PooledClient(Option<Pooled>);

impl PooledClient {
    pub(crate) fn new(client: Pooled) -> Self {
        Self(Some(client))
    }

    /// Returns the connection to the pool; no transaction is open on it any more.
    fn return_to_pool(&mut self) {
        drop(self.0.take());
    }

    fn take(&mut self) -> Self {
        Self(self.0.take())
    }
}

impl Deref for PooledClient {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0.as_ref().expect("no call follows return_to_pool")
    }
}

impl Drop for PooledClient {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}
