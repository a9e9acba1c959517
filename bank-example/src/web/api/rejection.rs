//! [`CommandFailure`]: why a command was not carried out, and whether that is its answer for ever.
//!
//! What the bank itself says is kept with the request's `Idempotency-Key`, as long as the events are: its rules, and that
//! there is no such account. Everything else is not: what is wrong with the request before the bank sees it (400, 401, 403,
//! 404 of a route, 413, 415, 421, 422 of its body), that `If-Match` does not match (412), that others were faster or nothing
//! is parked (409), and that the bank has a problem of its own (5xx). Such a request can be sent again with its key.

use eventsourcing::{ApplicationError, CommandError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command::reused;
use super::problem::Problem;
use crate::domain::BankError;

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) enum CommandFailure {
    /// The bank has decided: whoever asks again with the same key is told the same.
    Rejected(Problem),
    /// Something came in between.
    Retryable(Problem),
}

impl From<BankError> for CommandFailure {
    fn from(refusal: BankError) -> Self {
        Self::Rejected(refusal.into())
    }
}

impl From<ApplicationError> for CommandFailure {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::NotFound { .. } => Self::Rejected(error.into()),
            error => Self::Retryable(error.into()),
        }
    }
}

impl From<CommandError<BankError>> for CommandFailure {
    fn from(rejected: CommandError<BankError>) -> Self {
        match rejected {
            CommandError::Rejected(refusal) => refusal.into(),
            CommandError::Application(error) => error.into(),
        }
    }
}

impl From<Problem> for CommandFailure {
    fn from(problem: Problem) -> Self {
        Self::Retryable(problem)
    }
}

/// What is kept of a refusal: the answer as it was given, and which request it was given to. Never change its fields: answers
/// would not be found again.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct StoredRejection {
    request: Uuid,
    problem: Problem,
}

impl StoredRejection {
    /// The answer to the request with this mark.
    pub(super) fn new(request: Uuid, problem: Problem) -> Self {
        Self { request, problem }
    }

    /// The answer, for whoever asks with this mark.
    pub(super) fn answer_to(self, request: Uuid) -> Problem {
        if self.request == request {
            self.problem
        } else {
            reused()
        }
    }
}
