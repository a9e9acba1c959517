//! A statement of a read model on a connection: prepared, checked against its values, and run.
//!
//! A statement stays prepared as long as its connection lives, and its tables may change meanwhile, for example when a
//! table is created again with other columns. The server notices that and refuses the statement; only the newly
//! prepared statement has a result, or a refusal that is final.

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::sql::{Row, SqlError, Value, controls_transactions};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement as Handle};

use crate::error::{is_about_names, is_outdated};
use crate::values::{self, Parameter};

/// The most statements that a connection keeps prepared. Programs have fewer, unless they write values into their
/// statements.
const STATEMENTS_KEPT_MAX: usize = 500;

/// The first words of statements that have a plan and are therefore worth keeping. All others may change tables.
const PLANNED: [&str; 7] = [
    "select", "insert", "update", "delete", "merge", "values", "with",
];

/// The reason why a statement has no result.
pub(crate) enum Failure {
    /// An error of the driver.
    Driver(Error),
    /// An error of the driver after which the newly prepared statement may have a result.
    Outdated(Error),
    /// The statement was not run.
    Refused(SqlError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

/// A prepared statement and its values.
pub(crate) struct Statement<'a> {
    client: &'a ClientWrapper,
    handle: Handle,
    parameters: Vec<Parameter<'a>>,
    /// `true` if the statement was prepared before this call.
    is_old: bool,
}

impl<'a> Statement<'a> {
    /// Prepares `sql`, unless the connection has done so before.
    pub(crate) async fn prepare(
        client: &'a ClientWrapper,
        sql: &str,
        values: &'a [Value],
    ) -> Result<Self, Failure> {
        let refused = |reason: String| {
            Failure::Refused(SqlError::Statement {
                sql: sql.to_owned(),
                reason,
                source: None,
            })
        };
        let verb = verb(sql);
        if controls_transactions(sql) {
            let reason = "a transaction begins with Database::begin, ends with its commit, and is rolled back when it is dropped";
            return Err(refused(reason.to_owned()));
        }
        if sql.contains('\0') {
            return Err(refused("a statement has no NUL character".to_owned()));
        }
        let is_kept = PLANNED.contains(&verb.as_str());
        if !is_kept || client.statement_cache.size() >= STATEMENTS_KEPT_MAX {
            client.statement_cache.clear();
        }
        let (mut handle, mut is_old) = find(client, sql, is_kept).await?;
        if is_old && values::check(&handle, values).is_err() {
            client.statement_cache.clear();
            (handle, is_old) = find(client, sql, is_kept).await?;
        }
        values::check(&handle, values).map_err(refused)?;
        Ok(Self {
            client,
            handle,
            parameters: values::parameters(values),
            is_old,
        })
    }

    /// Runs the statement, and returns the number of rows it changed. It is sent when the future is first polled.
    pub(crate) async fn execute(&self) -> Result<u64, Failure> {
        self.client
            .execute(&self.handle, &self.parameters())
            .await
            .map_err(|error| self.failure(error))
    }

    /// Runs the statement, and returns its rows. It is sent when the future is first polled.
    pub(crate) async fn query(&self) -> Result<Vec<Row>, Failure> {
        let rows = self
            .client
            .query(&self.handle, &self.parameters())
            .await
            .map_err(|error| self.failure(error))?;
        Ok(values::rows(&self.handle, &rows)?)
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.parameters
            .iter()
            .map(|parameter| parameter as _)
            .collect()
    }

    fn failure(&self, error: Error) -> Failure {
        let may_be_outdated = self.is_old && (is_outdated(&error) || is_about_names(&error));
        if may_be_outdated {
            Failure::Outdated(error)
        } else {
            Failure::Driver(error)
        }
    }
}

/// Returns the prepared statement, and whether it was prepared before.
async fn find(client: &ClientWrapper, sql: &str, is_kept: bool) -> Result<(Handle, bool), Error> {
    if !is_kept {
        return Ok((client.prepare(sql).await?, false));
    }
    let before = client.statement_cache.size();
    let handle = client.prepare_cached(sql).await?;
    Ok((handle, client.statement_cache.size() == before))
}

/// Returns the first word in lower case.
fn verb(sql: &str) -> String {
    sql.trim_start()
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_lowercase()
}
