//! [`TxState`]: prevents the commit of a transaction after something in it went wrong.
//!
//! All stores share this state, so that code which is correct on one database is correct on the
//! others.

use std::fmt::Display;

use super::SqlError;
use crate::store::{StoreError, Written};

/// The state of a transaction. For implementations of [`Transaction`](super::Transaction).
///
/// Each operation begins with [`ask`](Self::ask) and ends with [`answered`](Self::answered) or
/// [`statement_answered`](Self::statement_answered). If its future is dropped in between, the state
/// stays [`Lost`](Self::Lost): the operation may or may not have been carried out, so nothing may
/// be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxState {
    /// Every operation so far was carried out.
    #[default]
    Sound,
    /// A step or a statement was refused.
    Refused,
    /// An operation is running or its answer never arrived, or the database cannot go on.
    Lost,
}

impl TxState {
    /// Marks the beginning of an operation, or refuses it; a commit is one too. `place` names the
    /// database.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: an operation was refused before. [`StoreError::Unavailable`]: the
    /// answer to one never arrived. Both say that nothing was written.
    pub fn ask(&mut self, place: &impl Display) -> Result<(), StoreError> {
        match self {
            // `Lost` stands until the answer arrives. A future that is dropped while it waits for
            // the answer runs no further code, so the state must say so from the beginning.
            Self::Sound => {
                *self = Self::Lost;
                Ok(())
            }
            Self::Refused => {
                let why = "a step or a statement of this transaction was refused before; drop the transaction, nothing was written";
                Err(StoreError::Invalid {
                    reason: format!("{place}: {why}"),
                })
            }
            Self::Lost => {
                let reason = format!(
                    "{place}: the transaction was rolled back because one of its operations was not answered"
                );
                Err(StoreError::Unavailable {
                    reason,
                    written: Written::Nothing,
                    source: None,
                })
            }
        }
    }

    /// Marks the end of a step.
    pub fn answered<T>(&mut self, outcome: &Result<T, StoreError>) {
        *self = Self::after(outcome.as_ref().err());
    }

    /// Marks the end of a statement.
    pub fn statement_answered<T>(&mut self, outcome: &Result<T, SqlError>) {
        *self = match outcome {
            Ok(_) => Self::Sound,
            Err(SqlError::Store(error)) => Self::after(Some(error)),
            Err(_) => Self::Refused,
        };
    }

    fn after(error: Option<&StoreError>) -> Self {
        match error {
            None => Self::Sound,
            Some(StoreError::Unavailable { .. }) => Self::Lost,
            Some(_) => Self::Refused,
        }
    }
}

/// Returns `true` if `sql` begins, ends or divides a transaction, which only the owner of the
/// transaction may do.
///
/// Comments and semicolons before the first word are skipped, as databases do. PostgreSQL nests
/// comments and SQLite does not, so both readings count.
#[must_use]
pub fn controls_transactions(sql: &str) -> bool {
    const WORDS: [&str; 9] = [
        "ABORT",
        "BEGIN",
        "COMMIT",
        "END",
        "PREPARE",
        "RELEASE",
        "ROLLBACK",
        "SAVEPOINT",
        "START",
    ];
    [after_flat_comment, after_nested_comment]
        .into_iter()
        .any(|after_comment| {
            let rest = skip_comments(sql, after_comment);
            let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
            WORDS.contains(&word.to_ascii_uppercase().as_str())
        })
}

fn skip_comments(mut sql: &str, after_block_comment: fn(&str) -> &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|character: char| {
            character.is_whitespace() || matches!(character, ';' | '\u{feff}' | '\u{b}')
        });
        sql = match (sql.strip_prefix("--"), sql.strip_prefix("/*")) {
            (Some(comment), _) => comment
                .split_once(['\n', '\r'])
                .map_or("", |(_, rest)| rest),
            (_, Some(comment)) => after_block_comment(comment),
            _ => return sql,
        };
    }
}

fn after_flat_comment(comment: &str) -> &str {
    comment.split_once("*/").map_or("", |(_, rest)| rest)
}

fn after_nested_comment(mut comment: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let opening = comment.find("/*").unwrap_or(comment.len());
        match comment.find("*/") {
            Some(closing) if closing < opening => {
                (depth, comment) = (depth - 1, &comment[closing + 2..]);
            }
            Some(_) => (depth, comment) = (depth + 1, &comment[opening + 2..]),
            None => return "",
        }
    }
    comment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_control_transactions_are_found() {
        let controlling = [
            "COMMIT",
            " begin immediate",
            "-- now\n/* and */ Rollback",
            ";END;",
            "savepoint a",
            "RELEASE a",
            "/* one /* two */ */ commit",
            "/* /* */ commit",
            "-- one\rcommit",
            "start transaction",
        ];
        for sql in controlling {
            assert!(controls_transactions(sql), "{sql}");
        }
        let others = [
            "",
            "-- COMMIT",
            "/* COMMIT",
            "SELECT 'COMMIT'",
            "CREATE TABLE commits (a)",
            "commits",
            "(COMMIT)",
            "/**/",
        ];
        for sql in others {
            assert!(!controls_transactions(sql), "{sql}");
        }
    }

    #[test]
    fn operation_whose_answer_stays_out_loses_the_transaction() {
        let mut state = TxState::default();
        state.ask(&"log.db").expect("nothing went wrong");
        let error = state.ask(&"log.db").expect_err("there was no answer");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(error.proves_nothing_written(), "{error}");
    }
}
