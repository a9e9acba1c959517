//! The one place where errors of SQLite become errors of a store.
//!
//! The reason says what a person needs to know, including the file; SQLite's own error is the source.

use std::path::Path;
use std::sync::Arc;

use eventsourcing_core::store::{StoreError, Written};
use rusqlite::ffi::SQLITE_IOERR_GETTEMPPATH;
use rusqlite::{Error, ErrorCode};

/// The caller's next step, and the reason for it.
enum Meaning {
    Unavailable(&'static str),
    Corrupt(&'static str),
    Invalid(&'static str),
}

/// Translates `error` for a caller of the store at `path`.
pub(crate) fn translate(path: &Path, error: impl Into<Arc<Error>>) -> StoreError {
    let error = error.into();
    let path = path.display();
    match meaning_of(&error) {
        Meaning::Unavailable(why) => StoreError::unavailable(format!("{path}: {why}"), error),
        Meaning::Corrupt(why) => StoreError::corrupt(format!("{path}: {why}"), error),
        Meaning::Invalid(why) => StoreError::Invalid {
            reason: format!("{path}: {why}"),
        },
    }
}

/// Translates an error as [`translate`] does, where it is certain that nothing was written.
pub(crate) fn translate_before_commit(path: &Path, error: impl Into<Arc<Error>>) -> StoreError {
    translate(path, error).before_commit()
}

/// Returns the error of a store that cannot be used for a reason other than an error of SQLite. It does not claim
/// whether anything was written.
pub(crate) fn unavailable(path: &Path, why: impl std::fmt::Display) -> StoreError {
    let reason = format!("{}: {why}", path.display());
    StoreError::Unavailable {
        reason,
        written: Written::Unknown,
        source: None,
    }
}

pub(crate) fn is_busy(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Returns `true` if the data that SQLite read contradicts itself.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(meaning_of(error), Meaning::Corrupt(_))
}

fn meaning_of(error: &Error) -> Meaning {
    match error {
        Error::SqliteFailure(failure, _) | Error::SqlInputError { error: failure, .. }
            if failure.extended_code == SQLITE_IOERR_GETTEMPPATH =>
        {
            Meaning::Unavailable(
                "SQLite finds no folder for temporary data; make /tmp writable, or name another one in SQLITE_TMPDIR",
            )
        }
        Error::SqliteFailure(failure, _) => meaning_of_code(failure.code),
        Error::SqlInputError { error, .. } => meaning_of_code(error.code),
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..) => {
            Meaning::Corrupt("a row holds a value that this store never writes")
        }
        _ => Meaning::Corrupt("SQLite answered in a way this store does not expect"),
    }
}

fn meaning_of_code(code: ErrorCode) -> Meaning {
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => Meaning::Unavailable(
            "another connection kept the file locked for longer than the busy timeout",
        ),
        ErrorCode::DiskFull => Meaning::Unavailable("the disk is full"),
        ErrorCode::SystemIoFailure => {
            Meaning::Unavailable("reading from or writing to the disk failed")
        }
        ErrorCode::CannotOpen => Meaning::Unavailable(
            "the file cannot be opened; the folder must exist, and both must be writable",
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            Meaning::Unavailable("the file or its folder is read-only; make both writable")
        }
        ErrorCode::DatabaseCorrupt => Meaning::Corrupt("the file is damaged"),
        ErrorCode::NotADatabase => Meaning::Corrupt("the file is not an SQLite database"),
        ErrorCode::ConstraintViolation => Meaning::Corrupt("the rows contradict one another"),
        ErrorCode::Unknown => Meaning::Corrupt("the tables are not those of this store"),
        ErrorCode::TooBig => Meaning::Invalid("a value is larger than SQLite can store"),
        _ => Meaning::Unavailable("SQLite could not carry it out"),
    }
}
