//! A SQL database as read models see it: portable statements, values, rows, transactions.
//!
//! The framework writes only SQL that every database understands, and passes the statements of a
//! read model through unchanged. Portable between SQLite and PostgreSQL are: parameters written
//! `$1`, `$2`, the column types `TEXT`, `BIGINT`, `DOUBLE PRECISION` and `BYTEA`, and `INSERT … ON
//! CONFLICT … DO UPDATE`.

mod error;
mod tx_state;
mod value;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use error::SqlError;
pub use tx_state::{TxState, controls_transactions};
pub use value::{FromValue, Value};

use crate::store::{StoreError, Tracking};

/// A SQL database beside the log of a store. Promise P32 in `docs/store-contract.md`.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Runs one statement that reads, on one snapshot of the database. It sees committed data; an
    /// open transaction may block it, so never call it within one.
    ///
    /// # Errors
    /// [`SqlError`]; nothing has changed.
    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError>;

    /// Begins a transaction that writes. Dropping it rolls it back.
    ///
    /// Other writers may have to wait until it ends, so do nothing slow meanwhile. The database may
    /// roll back a transaction that is idle for [`TRANSACTION_IDLE_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;
}

/// The longest time between two operations of a transaction.
pub const TRANSACTION_IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// An open transaction. After an error of a step or a statement, drop it: every further operation
/// is refused, a commit too, and nothing is written. The same holds after the future of an
/// operation was dropped.
#[async_trait]
pub trait Transaction: Send {
    /// Moves a follower, as an append that carries this step would: the step and the writes of the
    /// transaction are committed together. Call it before anything else, so that two runners of one
    /// follower wait for each other here.
    ///
    /// # Errors
    /// [`StoreError::TrackingConflict`], [`StoreError::LeaseLost`], [`StoreError::Invalid`],
    /// [`StoreError::Unavailable`]. Promises P20, P21, P23 and P30.
    async fn step(&mut self, step: &Tracking) -> Result<(), StoreError>;

    /// Runs one statement, and returns the number of rows it changed.
    ///
    /// # Errors
    /// [`SqlError`].
    async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, SqlError>;

    /// Runs one statement that returns rows.
    ///
    /// # Errors
    /// [`SqlError`].
    async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError>;

    /// Makes all writes of the transaction durable and visible at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: unknown if the commit happened; the position of the follower
    /// tells. [`StoreError::Invalid`]: a constraint that is checked at the end does not hold, or a
    /// step or a statement was refused before; nothing was written.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A row that a query returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// Returns a row with these columns, whose names are shared with other rows.
    #[must_use]
    pub fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { columns, values }
    }

    /// Returns the value in the column of this name.
    ///
    /// # Errors
    /// [`SqlError::Column`]: the row has no such column, or its value is not a `T`.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, SqlError> {
        let wrong = |reason: String| SqlError::Column {
            column: column.to_owned(),
            reason,
        };
        let Some(index) = self.columns.iter().position(|name| name == column) else {
            return Err(wrong(format!(
                "no such column; the row has {}",
                self.columns.join(", ")
            )));
        };
        let value = self.values[index].clone();
        T::from_value(value).map_err(|value| wrong(format!("{value:?} is not {}", T::EXPECTED)))
    }

    /// Returns the values, in the order of the columns.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Returns the names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

impl fmt::Debug for dyn Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

/// Builds the values of the parameters `$1`, `$2` … of a statement: `values![id, amount,
/// None::<i64>]`.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Value::from($value)),*] };
}
