//! What can go wrong in an application, split by what the caller does next.

use uuid::Uuid;

use crate::store::{CommandId, StoreError, Version};

/// Why an application did not do what it was asked. Nothing was written, except as
/// [`StoreError::Unavailable`] says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplicationError {
    /// There is no such aggregate.
    #[error("{aggregate} {id} does not exist")]
    NotFound {
        /// The stored name of the aggregate.
        aggregate: &'static str,
        /// The id that was asked for.
        id: Uuid,
    },
    /// The aggregate has not come that far.
    #[error("{aggregate} {id} has no version {asked}; its latest is {latest}")]
    NoSuchVersion {
        /// The stored name of the aggregate.
        aggregate: &'static str,
        /// The id that was asked for.
        id: Uuid,
        /// The version that was asked for.
        asked: Version,
        /// The newest version there is.
        latest: Version,
    },
    /// The command was rejected when it was first sent, and that was kept:
    /// [`Application::first_answer`](crate::Application::first_answer) says why.
    #[error(
        "command {command_id} was rejected when it was first sent; use a new id to have it decided again"
    )]
    Rejected {
        /// The id of the command.
        command_id: CommandId,
    },
    /// The store refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApplicationError {
    /// Returns `true` if loading and deciding again can succeed: another command was faster, or events may have been lost since
    /// the aggregate was loaded. Nothing was written.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Conflict { .. } | StoreError::OutdatedEpoch { .. })
        )
    }

    /// Whether waiting and trying again can succeed. It is safe only with a command id: see
    /// [`Application::command`](crate::Application::command).
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }

    /// Returns `true` if it is known that this call wrote nothing, in any of its attempts. What an earlier call with the same
    /// [command id](crate::Application::command) may have written is another matter.
    #[must_use]
    pub fn proves_nothing_written(&self) -> bool {
        match self {
            Self::Store(error) => error.proves_nothing_written(),
            _ => true,
        }
    }
}

/// Why a command was not carried out: the domain refused it, or the application could not.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E> {
    /// The aggregate refused. Nothing was written.
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

impl<E> CommandError<E> {
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Application(error) if error.is_conflict())
    }
}
