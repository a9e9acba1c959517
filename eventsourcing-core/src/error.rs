//! The errors of an application, split by what the caller does next.

use std::fmt;

use uuid::Uuid;

use crate::store::{CommandId, StoreError, Version};

/// The reason why an application could not do what it was asked. Nothing was written, unless
/// [`StoreError::Unavailable`] says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplicationError {
    /// The aggregate does not exist.
    #[error("{aggregate} {id} does not exist")]
    NotFound {
        /// The stored name of the aggregate.
        aggregate: &'static str,
        /// The id that was asked for.
        id: Uuid,
    },
    /// The aggregate has fewer events than the version that was asked for.
    #[error("{aggregate} {id} has no version {asked}; its latest is {latest}")]
    NoSuchVersion {
        /// The stored name of the aggregate.
        aggregate: &'static str,
        /// The id that was asked for.
        id: Uuid,
        /// The version that was asked for.
        asked: Version,
        /// The newest version of the aggregate.
        latest: Version,
    },
    /// The command was rejected when it was first sent, and the rejection was kept:
    /// [`Application::first_answer`](crate::Application::first_answer) returns it.
    #[error(
        "command {command_id} was rejected when it was first sent; use a new id to have it decided again"
    )]
    Rejected {
        /// The id of the command.
        command_id: CommandId,
    },
    /// The store refused the request or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApplicationError {
    /// Returns `true` if loading and deciding again can succeed: another command was faster, or
    /// events may have been lost since the aggregate was loaded. Nothing was written.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Conflict { .. } | StoreError::OutdatedEpoch { .. })
        )
    }

    /// Returns `true` if waiting and trying again can succeed. Repeating is safe only with a
    /// command id: see [`Application::command`](crate::Application::command).
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }

    /// Returns `true` if this call is known to have written nothing, in any of its attempts. An
    /// earlier call with the same [command id](crate::Application::command) may have written.
    #[must_use]
    pub fn proves_nothing_written(&self) -> bool {
        match self {
            Self::Store(error) => error.proves_nothing_written(),
            _ => true,
        }
    }
}

/// The reason why a command was not carried out: the domain rejected it, or the application failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E> {
    /// The aggregate rejected the command. Nothing was written.
    #[error(transparent)]
    Rejected(E),
    /// The application failed.
    #[error(transparent)]
    Application(#[from] ApplicationError),
}

impl<E> From<StoreError> for CommandError<E> {
    fn from(error: StoreError) -> Self {
        Self::Application(error.into())
    }
}

/// An error of an attempt at a command, which [`Application::retry`](crate::Application::retry) may
/// repeat: [`ApplicationError`] or [`CommandError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error of an attempt at a command",
    label = "neither `ApplicationError` nor `CommandError<_>`"
)]
pub trait AttemptError: fmt::Display + Send {
    /// Returns `true` if deciding again can succeed.
    #[doc(hidden)]
    fn is_conflict(&self) -> bool;
}

impl AttemptError for ApplicationError {
    fn is_conflict(&self) -> bool {
        Self::is_conflict(self)
    }
}

impl<E: fmt::Display + Send> AttemptError for CommandError<E> {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Application(error) if error.is_conflict())
    }
}
