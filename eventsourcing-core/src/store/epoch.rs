//! [`Epoch`]: one life of a log, as one handle of its store has lived through it.
//!
//! A server can forget commits: it crashes before it has flushed them, a standby that lacks them
//! takes its place, or an older copy is restored. The server then assigns the same positions and
//! versions again. Data that was read before is therefore valid for one epoch, and is dropped or
//! proven again in the next one.

use super::{Epoch, Position, StoreError, StoredEvent};

impl Epoch {
    /// Checks that data read in the epoch `asked`, if it names one, is valid in this epoch.
    ///
    /// # Errors
    /// [`StoreError::OutdatedEpoch`]: `asked` is another epoch.
    pub fn check(self, asked: Option<Self>) -> Result<(), StoreError> {
        match asked {
            Some(asked) if asked != self => Err(StoreError::OutdatedEpoch {
                asked,
                current: self,
            }),
            _ => Ok(()),
        }
    }
}

/// The log as it is visible at one moment, decided or not. See
/// [`EventStore::visible`](super::EventStore::visible).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleLog {
    /// The epoch in which the log was seen.
    pub epoch: Epoch,
    /// The position of the last visible event, or zero. Events before it may still appear.
    pub end: Position,
    /// The event at the requested position, if there is one.
    pub event: Option<StoredEvent>,
}
