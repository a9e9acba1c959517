//! The SQL database for read models: single queries, and transactions on connections of their own.
//!
//! Neither uses the connections of the log. Their settings suit the statements of the store only, and a slow report
//! must not delay a reader of the log.

use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use eventsourcing_core::sql::{Database, Row, SqlError, Transaction, Value};
use eventsourcing_core::store::StoreError;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::address::Endpoint;
use crate::config::PostgresOptions;
use crate::error::{is_lost, statement_error, translate, translate_pool, unavailable};
use crate::readers::{Pool, Readers, get_client, pool};
use crate::session::Sessions;
use crate::statement::{Failure, Statement};
use crate::transaction::{OpenTransaction, PooledClient};

/// The database of a store's schema, for read models.
pub(crate) struct PostgresDatabase {
    endpoint: Endpoint,
    queries: Readers,
    transactions: Pool,
    sessions: Sessions,
}

impl PostgresDatabase {
    pub(crate) fn new(sessions: &Sessions, options: &PostgresOptions) -> Result<Self, StoreError> {
        let sessions = sessions.clone().for_read_models();
        let queries = Readers::new(&sessions, options.readers)?;
        let transactions = pool(&sessions, options.transactions)?;
        Ok(Self {
            endpoint: sessions.endpoint.clone(),
            queries,
            transactions,
            sessions,
        })
    }

    /// Closes every connection as soon as it is idle. Later queries and transactions are refused.
    pub(crate) fn close(&self) {
        self.queries.close();
        self.transactions.close();
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        self.queries
            .run(&(sql, values), |client, (sql, values)| {
                Box::pin(query(client, sql, values))
            })
            .await?
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let begun = match self.attempt().await {
            Err(Failed::Lost(error)) => {
                tracing::debug!(endpoint = %self.endpoint, %error, "connection lost; beginning the transaction on another one");
                // A lost connection usually means that the idle ones are lost too.
                self.transactions.retain(|_, _| false);
                self.attempt().await
            }
            begun => begun,
        };
        match begun {
            Ok(transaction) => Ok(Box::new(transaction)),
            Err(Failed::Lost(error) | Failed::Other(error)) => Err(error.before_commit()),
        }
    }
}

/// The reason why a transaction has not begun.
enum Failed {
    /// The connection can no longer be used.
    Lost(StoreError),
    Other(StoreError),
}

impl PostgresDatabase {
    async fn attempt(&self) -> Result<OpenTransaction, Failed> {
        let endpoint = &self.endpoint;
        let client = get_client(&self.transactions, &self.sessions.epochs)
            .await
            .map_err(|error| Failed::Other(translate_pool(endpoint, error)))?;
        let client = PooledClient::new(client);
        match timeout(
            self.sessions.answer_timeout,
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
        )
        .await
        {
            Ok(Ok(())) => Ok(OpenTransaction::new(
                client,
                endpoint.clone(),
                self.sessions.answer_timeout,
            )),
            Ok(Err(error)) if is_lost(&error) => Err(Failed::Lost(translate(endpoint, error))),
            Ok(Err(error)) => Err(Failed::Other(translate(endpoint, error))),
            Err(_) => Err(Failed::Other(unavailable(
                endpoint,
                "the server has not answered in time",
            ))),
        }
    }
}

/// Runs a query. The inner error is a fault of the statement; the outer one may pass with another connection.
async fn query(
    client: &ClientWrapper,
    sql: &str,
    values: &[Value],
) -> Result<Result<Vec<Row>, SqlError>, Error> {
    let mut outcome = query_once(client, sql, values).await;
    if let Err(Failure::Outdated(_)) = outcome {
        client.statement_cache.clear();
        outcome = query_once(client, sql, values).await;
    }
    match outcome {
        Ok(rows) => Ok(Ok(rows)),
        Err(Failure::Refused(error)) => Ok(Err(error)),
        Err(Failure::Driver(error) | Failure::Outdated(error)) => match error.code() {
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Ok(Err(SqlError::Statement {
                sql: sql.to_owned(),
                reason: "a query only reads; write in a transaction".to_owned(),
                source: Some(error.into()),
            })),
            _ => statement_error(sql, error).map(Err),
        },
    }
}

/// Sends three statements in one round trip. All of them are sent when the future is first polled, so the transaction
/// ends even if the future is dropped, and settings that the statement has changed end with it.
async fn query_once(
    client: &ClientWrapper,
    sql: &str,
    values: &[Value],
) -> Result<Vec<Row>, Failure> {
    let statement = Statement::prepare(client, sql, values).await?;
    let (begun, rows, _) = tokio::join! {
        biased;
        client.batch_execute("BEGIN READ ONLY"),
        statement.query(),
        client.batch_execute("ROLLBACK"),
    };
    begun?;
    rows
}
