//! [`Failure`]: why a follower could not process events, sorted by what it does next.

use std::error::Error;

use crate::store::{StoreError, StoredEvent};

/// Why a handler failed: an error of the user, or one of decoding.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a piece of a page was not dealt with.
pub(crate) enum Failure {
    /// Somebody else runs this follower and has moved it: read again where it is.
    Moved,
    /// Somebody else has the lease.
    LeaseLost,
    /// The follower is cut into another number of partitions than it runs in here.
    CutChanged(StoreError),
    /// The store does not answer: try again later.
    Unavailable(StoreError),
    /// An event of the piece cannot be dealt with.
    Event(Cause),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TrackingConflict { .. } | StoreError::OutdatedEpoch { .. } => Self::Moved,
            StoreError::LeaseLost { .. } => Self::LeaseLost,
            error @ StoreError::CutChanged { .. } => Self::CutChanged(error),
            error @ StoreError::Unavailable { .. } => Self::Unavailable(error),
            error => Self::Event(error.into()),
        }
    }
}

/// Its name, stream and version.
pub(crate) fn describe(event: &StoredEvent) -> String {
    format!(
        "{} of {}, version {}",
        event.name, event.stream, event.version
    )
}
