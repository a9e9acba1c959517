//! [`Status`]: where a follower is and how it is doing, and [`Step`], what it has just done.

use super::cursor::Cursor;
use crate::store::{Epoch, Position};
use crate::system::FollowerState;

/// How a follower is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) reached: Position,
    pub(crate) state: FollowerState,
    /// Whether it holds events back.
    pub(crate) has_parked: bool,
    /// The epoch of the log in which it was proven where it is; `None` if it was not.
    pub(crate) epoch: Option<Epoch>,
}

impl Status {
    /// Returns `true` if everything up to `position` is dealt with, in this life of the log, and the follower has not stopped there.
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

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more.
    Moved,
    /// Everything there is has been dealt with.
    Idle,
    /// Another process runs the follower by now.
    LeaseLost,
    /// An event could not be dealt with; it is worth trying again.
    Failing,
    /// An event cannot be dealt with by this release; another process may run a newer one.
    Outdated,
    /// An event cannot be dealt with.
    Stopped,
}
