//! [`KnownPlace`]: proves that a log still has the events that were read from it.

use super::{
    Epoch, EventIdentity, EventRef, EventStore, LogId, Position, StoreError, StoredEvent,
    VisibleLog,
};

/// A position in a log, and the event that proves that the log has not gone back behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownPlace {
    /// The position up to which everything was read.
    pub(crate) position: Position,
    /// The last event that was read. `None`: its identity is not known.
    pub(crate) event: Option<EventRef>,
}

impl KnownPlace {
    pub(crate) fn new(position: Position, event: Option<EventRef>) -> Self {
        Self { position, event }
    }

    /// Returns the place of an event that was read from `log`.
    pub(crate) fn of(event: &StoredEvent, log: LogId) -> Self {
        Self {
            position: event.position,
            event: Some(EventRef::of(event, log)),
        }
    }

    /// Compares this place with the present state of `log`. Returns the epoch in which it is
    /// proven, and the event at its position.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: the log has another event there, or ends before it. Others as
    /// [`EventStore::visible`].
    pub(crate) async fn verify(&self, log: &dyn EventStore) -> Result<Proof, StoreError> {
        if self.position == Position::ZERO {
            return Ok(Proof {
                epoch: log.epoch(),
                event: None,
            });
        }
        // The event may lie before the place, because the ceiling of a page moves past events that
        // its filter left out. Only the event has an identity to compare; of the place itself it
        // suffices that the log still reaches it.
        let at = self.event.map_or(self.position, |event| event.position);
        let VisibleLog { epoch, end, event } = log.visible(at).await?;
        let found = event.map(|event| EventRef::of(&event, log.log_id()));
        let is_same = self.event.is_none() || self.event == found;
        if is_same && self.position <= end {
            return Ok(Proof {
                epoch,
                event: found,
            });
        }
        let position = if is_same { self.position } else { at };
        let known = self.event.filter(|_| !is_same).map(|event| event.identity);
        let found = found.filter(|_| !is_same).map(|event| event.identity);
        Err(went_back(log.log_id(), position, (known, found), end))
    }
}

/// A place that the log still has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    pub(crate) epoch: Epoch,
    /// The event at the place, if there is one at exactly its position.
    pub(crate) event: Option<EventRef>,
}

fn went_back(
    log: LogId,
    position: Position,
    (known, found): (Option<EventIdentity>, Option<EventIdentity>),
    end: Position,
) -> StoreError {
    StoreError::LogWentBack {
        log,
        position,
        known,
        found,
        end,
    }
}
