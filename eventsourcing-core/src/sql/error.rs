//! The errors of a SQL statement, split by what the caller does next.

use std::error::Error;

use crate::store::StoreError;

/// The reason why a statement has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// Fix the statement or its parameters: the database refuses it.
    #[error("{reason} (in {sql:?})")]
    Statement {
        /// The statement.
        sql: String,
        /// The message of the database.
        reason: String,
        /// The error of the driver.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Fix the program: a row does not have the column, or not with this type.
    #[error("column {column:?}: {reason}")]
    Column {
        /// The column.
        column: String,
        /// The reason why the column cannot be read.
        reason: String,
    },
    /// The database cannot be reached, or refuses every statement.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SqlError {
    /// Returns the error of a database that refuses `sql` because of `source`.
    pub fn statement(sql: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self::Statement {
            sql: sql.to_owned(),
            reason: source.to_string(),
            source: Some(source),
        }
    }

    /// Returns `true` if waiting and trying again can succeed.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }
}
