//! What can go wrong with a statement.

use std::error::Error;

use crate::store::StoreError;

/// Why a statement has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// Fix the statement, or what it was given: the database refuses it.
    #[error("{reason} (in {sql:?})")]
    Statement {
        /// The statement.
        sql: String,
        /// What the database says.
        reason: String,
        /// What the driver said.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Fix the program: a row does not have what is asked of it.
    #[error("column {column:?}: {reason}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// The database cannot be reached, or refuses whatever it is asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SqlError {
    /// The database refuses `sql`, because of `source`.
    pub fn statement(sql: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self::Statement {
            sql: sql.to_owned(),
            reason: source.to_string(),
            source: Some(source),
        }
    }

    /// Whether waiting may mend it.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }
}
