//! [`StepFailure`]: the failures of a step, sorted by what the follower does next.

use crate::store::{BoxError, StoreError, StoredEvent};

/// The reason why a piece of a page was not processed.
pub(crate) enum StepFailure {
    /// Another process has made a step of this follower: the cursor has to be reloaded.
    Moved,
    /// Another process holds the lease.
    LeaseLost,
    /// The follower is recorded with another number of partitions than it runs in here.
    CutChanged(StoreError),
    /// The store does not answer: retry later.
    Unavailable(StoreError),
    /// An event of the piece failed.
    Event(BoxError),
}

impl From<StoreError> for StepFailure {
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

/// Returns the name, stream and version of an event, for messages.
pub(crate) fn describe(event: &StoredEvent) -> String {
    format!(
        "{} of {}, version {}",
        event.name, event.stream, event.version
    )
}
