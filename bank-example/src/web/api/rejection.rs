//! [`CommandFailure`]: the reason for which a command was not carried out, and whether that is its final answer.
//!
//! The bank's own answer is stored with the request's `Idempotency-Key`, for as long as the events are: a rejection by
//! its rules, or that the account does not exist. No other answer is stored: errors in the request before it reaches
//! the bank (400, 401, 403, 404 of a route, 413, 415, 421, 422 of its body), an `If-Match` that does not match (412),
//! too many concurrent changes or nothing parked (409), and internal errors (5xx). Such a request can be sent again
//! with its key.

use eventsourcing::{ApplicationError, CommandError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command::reused;
use super::problem::Problem;
use crate::domain::BankError;

/// The reason for which a command was not carried out.
#[derive(Debug)]
pub(super) enum CommandFailure {
    /// The bank has rejected the command. Every repetition with the same key gets this answer.
    Rejected(Problem),
    /// The bank did not decide. The request can be sent again with the same key.
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

/// A rejection as it is stored: the answer, and the hash of the request that it was given to. Never change its fields:
/// stored answers could not be read any more.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct StoredRejection {
    request: Uuid,
    problem: Problem,
}

impl StoredRejection {
    /// Creates the stored form of the answer to a request.
    pub(super) fn new(request: Uuid, problem: Problem) -> Self {
        Self { request, problem }
    }

    /// Returns the answer for a request with this hash. Another request has reused the key.
    pub(super) fn answer_to(self, request: Uuid) -> Problem {
        if self.request == request {
            self.problem
        } else {
            reused()
        }
    }
}
