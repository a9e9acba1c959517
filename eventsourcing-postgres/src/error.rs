//! The one place where errors of PostgreSQL become errors of a store.
//!
//! The reason says what a person needs to know, including the endpoint; the driver's own error is the source.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use deadpool_postgres::{PoolError, TimeoutType};
use eventsourcing_core::sql::SqlError;
use eventsourcing_core::store::{StoreError, Written};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::{WasNull, WrongType};

use crate::address::Endpoint;
use crate::sqlstate::{self, Meaning, POOLER};

/// A value in a row that this store never writes.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Translates `error` for a caller of the store at `endpoint`.
pub(crate) fn translate(endpoint: &Endpoint, error: impl Into<Arc<Error>>) -> StoreError {
    let error = error.into();
    match meaning_of(&error) {
        Meaning::Unavailable(why) => StoreError::unavailable(format!("{endpoint}: {why}"), error),
        Meaning::Corrupt(why) => StoreError::corrupt(format!("{endpoint}: {why}"), error),
        Meaning::Invalid(why) => StoreError::Invalid {
            reason: format!("{endpoint}: {why}"),
        },
    }
}

/// Translates an error as [`translate`] does, where it is certain that nothing was written.
pub(crate) fn translate_before_commit(
    endpoint: &Endpoint,
    error: impl Into<Arc<Error>>,
) -> StoreError {
    translate(endpoint, error).before_commit()
}

/// Translates an error as [`translate`] does, where the server was asked to commit. If it has not rolled back, the
/// outcome is unknown.
pub(crate) fn translate_at_commit(endpoint: &Endpoint, error: Error) -> StoreError {
    let is_rolled_back = is_rolled_back(&error);
    let error = translate(endpoint, error);
    if is_rolled_back {
        error.before_commit()
    } else {
        error.at_commit()
    }
}

/// Translates `error` if it is a fault of the statement `sql` of a read model.
///
/// # Errors
/// The error is not a fault of the statement: the server would have refused any other one as well.
pub(crate) fn statement_error(sql: &str, error: Error) -> Result<SqlError, Error> {
    match error.as_db_error() {
        Some(refusal) if is_about_statement(refusal) => Ok(SqlError::Statement {
            sql: sql.to_owned(),
            reason: reason_of(refusal),
            source: Some(error.into()),
        }),
        _ => Err(error),
    }
}

/// Returns the error of a store that cannot be used for a reason other than an error of the server. It does not claim
/// whether anything was written.
pub(crate) fn unavailable(endpoint: &Endpoint, why: impl fmt::Display) -> StoreError {
    StoreError::Unavailable {
        reason: format!("{endpoint}: {why}"),
        written: Written::Unknown,
        source: None,
    }
}

/// Translates the reason why the pool has no connection.
pub(crate) fn translate_pool(endpoint: &Endpoint, error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => translate(endpoint, error),
        PoolError::Timeout(TimeoutType::Wait) => unavailable(
            endpoint,
            "all connections of this kind are busy; PostgresOptions allows for more",
        ),
        PoolError::Timeout(_) => {
            unavailable(endpoint, "connecting took longer than the connect timeout")
        }
        PoolError::Closed => unavailable(endpoint, "the store has been closed"),
        error => StoreError::unavailable(format!("{endpoint}: no connection"), error),
    }
}

/// Returns `true` if the server has rolled back and keeps the connection: then nothing of the batch was written. In all
/// other cases the connection may have been lost after the commit.
fn is_rolled_back(error: &Error) -> bool {
    error.as_db_error().is_some_and(leaves_connection)
}

/// Returns `true` if the same batch may succeed when it runs again, because another transaction was first or held a
/// lock.
pub(crate) fn is_worth_a_rerun(error: &Error) -> bool {
    let rerun = [
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::LOCK_NOT_AVAILABLE,
    ];
    error.code().is_some_and(|code| rerun.contains(&code))
}

/// Returns `true` if a single append may have failed the whole batch: by a value, a constraint or a limit.
pub(crate) fn is_about_one_append(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| ["21", "22", "23", "54"].contains(&class_of(code)))
}

/// Returns `true` if the connection can no longer be used.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        Some(error) => !leaves_connection(error),
        None => !is_unreadable(error),
    }
}

/// Returns `true` if a prepared statement no longer fits the tables.
pub(crate) fn is_outdated(error: &Error) -> bool {
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        || error.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME)
}

/// Returns `true` if the server does not find a name in the statement, finds it with another type, or forbids it.
pub(crate) fn is_about_names(error: &Error) -> bool {
    error.code().is_some_and(|code| class_of(code) == "42")
}

/// Returns `true` if the error is a fault of the statement. Locks held by others, a server without resources or in
/// shutdown, and a replica are not.
fn is_about_statement(error: &DbError) -> bool {
    let elsewhere = ["40", "53", "57", "58", "XX"].contains(&class_of(error.code()));
    let in_the_way = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ]
    .contains(error.code());
    leaves_connection(error) && !elsewhere && !in_the_way
}

fn reason_of(error: &DbError) -> String {
    let said = match error.hint() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    };
    let said = said.replace('\n', " ");
    if *error.code() == SqlState::INSUFFICIENT_PRIVILEGE {
        return format!(
            "{said}; grant the role what roles.sql of this store lists for read models"
        );
    }
    said
}

fn meaning_of(error: &Error) -> Meaning {
    if let Some(error) = error.as_db_error() {
        return sqlstate::meaning_of(error);
    }
    if is_unreadable(error) {
        return Meaning::Corrupt("a row holds a value that this store never writes".to_owned());
    }
    if is_of_another_statement(error) {
        let said =
            "the answer has another type than its statement: a program has changed the tables, or";
        return Meaning::Unavailable(format!("{said} {POOLER}"));
    }
    // The driver reports chains of errors: "error connecting to server", caused by "connection refused".
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        cause = next.source();
    }
    // The driver asks the server whether it takes writes, and reports only this sentence if it does not.
    if why.contains("does not allow writes") {
        why.push_str(
            "; it is a replica, or a setting makes its transactions read-only (default_transaction_read_only); connect to \
             the primary",
        );
    }
    Meaning::Unavailable(why.replace('\n', " "))
}

fn is_unreadable(error: &Error) -> bool {
    error
        .source()
        .is_some_and(<dyn std::error::Error>::is::<Unreadable>)
}

/// Returns `true` if the answer belongs to another statement. The types of an answer, and whether it can be NULL,
/// follow from the statement and not from stored data. A pooler outside session mode runs a prepared statement on a
/// connection where another one has its name, and this mismatch is the only sign of it.
fn is_of_another_statement(error: &Error) -> bool {
    error
        .source()
        .is_some_and(|cause| cause.is::<WrongType>() || cause.is::<WasNull>())
}

fn leaves_connection(error: &DbError) -> bool {
    let goes_on = error.parsed_severity() == Some(Severity::Error);
    goes_on && !is_shutting_down(error.code()) && class_of(error.code()) != "08"
}

fn is_shutting_down(code: &SqlState) -> bool {
    code.code().starts_with("57P")
}

fn class_of(code: &SqlState) -> &str {
    &code.code()[..2]
}
