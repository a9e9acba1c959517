//! [`Status`]: the position and state of a follower, and [`Step`], the result of one of its steps.

use super::cursor::Cursor;
use crate::store::{Epoch, Position};
use crate::system::FollowerState;

/// The position and state of a follower, as tasks that wait for it see them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) reached: Position,
    pub(crate) state: FollowerState,
    /// The follower holds events back.
    pub(crate) has_parked: bool,
    /// The epoch of the log in which the position was proven; `None` if it was not.
    pub(crate) epoch: Option<Epoch>,
}

impl Status {
    /// Returns `true` if everything up to `position` is processed in this epoch of the log, and the
    /// follower has not stopped.
    pub(crate) fn is_at(&self, position: Position, epoch: Epoch) -> bool {
        self.reached >= position && self.epoch == Some(epoch) && self.state.stopped().is_none()
    }

    pub(super) fn of(cursor: &Cursor, state: FollowerState) -> Self {
        Self {
            reached: cursor.reached,
            state,
            has_parked: !cursor.parked.is_empty(),
            epoch: cursor.proven(),
        }
    }
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The follower has advanced, and there may be more to do.
    Moved,
    /// There is nothing more to process.
    Idle,
    /// Another process holds the lease by now.
    LeaseLost,
    /// An event failed and is to be retried.
    Failing,
    /// This release does not know an event. Another process may run a newer one.
    Outdated,
    /// The follower has stopped.
    Stopped,
}
