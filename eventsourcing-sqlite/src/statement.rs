//! Statements of read models: parameters are bound by name, and rows are returned as values. An error of SQLite is the
//! fault of the statement unless the file caused it.

use std::path::Path;
use std::sync::Arc;

use eventsourcing_core::sql::{Row, SqlError, Value, controls_transactions};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Error, ErrorCode, Statement as Handle, ToSql};

use crate::error::translate;

/// A statement and its values, to be run on a connection.
pub(crate) struct Statement {
    sql: String,
    values: Vec<Value>,
}

/// The reason why a statement was not run.
enum Fault {
    /// A fault that this store has found, in its own words.
    Wrong(String),
    Sqlite(Error),
}

impl Statement {
    pub(crate) fn new(sql: &str, values: &[Value]) -> Self {
        Self {
            sql: sql.to_owned(),
            values: values.to_vec(),
        }
    }

    /// Runs the statement, and returns the number of rows it changed.
    pub(crate) fn execute(&self, connection: &Connection, path: &Path) -> Result<u64, SqlError> {
        let changed = || {
            let mut statement = self.prepare(connection)?;
            let before = connection.total_changes();
            let mut rows = statement.raw_query();
            while rows.next()?.is_some() {}
            // A statement that changes no rows by its kind leaves the count of the statement before it.
            Ok(if connection.total_changes() == before {
                0
            } else {
                connection.changes()
            })
        };
        changed().map_err(|fault| self.error(path, fault))
    }

    /// Runs the statement and returns its rows; it may write.
    pub(crate) fn query(&self, connection: &Connection, path: &Path) -> Result<Vec<Row>, SqlError> {
        let rows = || rows(&mut *self.prepare(connection)?);
        rows().map_err(|fault| self.error(path, fault))
    }

    /// Runs the statement and returns its rows; it may only read.
    pub(crate) fn read(&self, connection: &Connection, path: &Path) -> Result<Vec<Row>, SqlError> {
        let rows = || {
            let mut statement = self.prepare(connection)?;
            if !statement.readonly() {
                return Err(Fault::Wrong(
                    "a query only reads; execute the statement in a transaction".to_owned(),
                ));
            }
            rows(&mut statement)
        };
        rows().map_err(|fault| self.error(path, fault))
    }

    fn prepare<'c>(&self, connection: &'c Connection) -> Result<CachedStatement<'c>, Fault> {
        if controls_transactions(&self.sql) {
            let reason = "a transaction begins with Database::begin, ends with its commit, and is rolled back when it is dropped";
            return Err(Fault::Wrong(reason.to_owned()));
        }
        let mut statement = connection.prepare_cached(&self.sql)?;
        self.bind(&mut statement)?;
        Ok(statement)
    }

    /// Binds each value to every parameter of its number. SQLite numbers the names by their first occurrence, not by
    /// the digits in them.
    fn bind(&self, statement: &mut Handle<'_>) -> Result<(), Fault> {
        let mut highest = 0;
        for index in 1..=statement.parameter_count() {
            let name = statement.parameter_name(index).unwrap_or("?");
            let number = name
                .strip_prefix('$')
                .and_then(|digits| digits.parse::<usize>().ok());
            let Some(number) = number.filter(|number| *number > 0) else {
                return Err(Fault::Wrong(format!(
                    "a parameter is written {name}; write $1, $2 and so on"
                )));
            };
            highest = highest.max(number);
            if let Some(value) = self.values.get(number - 1) {
                bind(statement, index, value)?;
            }
        }
        if highest == self.values.len() {
            return Ok(());
        }
        let given = self.values.len();
        Err(Fault::Wrong(format!(
            "the highest parameter is ${highest}, but the number of values is {given}"
        )))
    }

    fn error(&self, path: &Path, fault: Fault) -> SqlError {
        match fault {
            Fault::Wrong(reason) => SqlError::Statement {
                sql: self.sql.clone(),
                reason,
                source: None,
            },
            Fault::Sqlite(error) if is_of_the_file(&error) => {
                SqlError::Store(translate(path, error))
            }
            Fault::Sqlite(error) => SqlError::statement(&self.sql, error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

fn bind(statement: &mut Handle<'_>, index: usize, value: &Value) -> rusqlite::Result<()> {
    let value: &dyn ToSql = match value {
        Value::Null => &rusqlite::types::Null,
        Value::Integer(number) => number,
        Value::Real(number) => number,
        Value::Text(text) => text,
        Value::Blob(bytes) => bytes,
    };
    statement.raw_bind_parameter(index, value)
}

/// Reads all rows. The names of the columns are final only after the first step, because SQLite prepares the statement
/// again if the tables have changed.
fn rows(statement: &mut Handle<'_>) -> Result<Vec<Row>, Fault> {
    let mut found = statement.raw_query();
    let mut columns: Option<Arc<[String]>> = None;
    let mut rows = Vec::new();

    while let Some(row) = found.next()? {
        let names = || row.as_ref().column_names().map(str::to_owned).collect();
        let columns = columns.get_or_insert_with(names);
        let values = (0..columns.len())
            .map(|index| value(row.get_ref(index)?))
            .collect::<Result<_, _>>()?;
        rows.push(Row::new(Arc::clone(columns), values));
    }
    Ok(rows)
}

fn value(value: ValueRef<'_>) -> Result<Value, Fault> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(error) => return Err(Fault::Wrong(format!("a text is not UTF-8: {error}"))),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

/// Returns `true` if the file caused the error, so that any other statement would have failed too.
fn is_of_the_file(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_other_kinds_are_refused_with_what_to_write() {
        let connection = Connection::open_in_memory().expect("memory");
        for sql in [
            "SELECT ?",
            "SELECT ?1",
            "SELECT :a",
            "SELECT $0",
            "SELECT @1",
            "SELECT $a",
        ] {
            let given = Statement::new(sql, &[Value::Null]);
            let error = given
                .read(&connection, Path::new("log.db"))
                .expect_err(sql)
                .to_string();
            assert!(error.contains("write $1, $2 and so on"), "{error}");
        }
    }

    #[test]
    fn fault_of_the_file_is_no_fault_of_the_statement() {
        let connection = Connection::open_in_memory().expect("memory");
        connection
            .execute_batch("CREATE TABLE big (bytes); PRAGMA max_page_count = 10")
            .expect("a small database");
        let given = Statement::new(
            "INSERT INTO big VALUES (zeroblob($1))",
            &[Value::Integer(1_000_000)],
        );
        let error = given
            .execute(&connection, Path::new("log.db"))
            .expect_err("there is no room");
        assert!(error.is_unavailable(), "{error:?}");
    }
}
