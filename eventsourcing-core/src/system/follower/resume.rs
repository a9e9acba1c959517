//! Going on after a stop.

use tracing::info;

use super::{Feed, FollowerState};
use crate::store::Position;

impl<S> Feed<S> {
    /// It goes on if it has stopped; whether it had. Whoever runs it notices.
    pub(crate) fn resume(&self) -> bool {
        let resumed = self.status.send_if_modified(|status| {
            let had_stopped = status.state.stopped().is_some();
            if had_stopped {
                status.state = FollowerState::Running;
            }
            had_stopped
        });
        if resumed {
            info!(follower = %self.name, partition = self.partition.number() + 1, "follower resumed");
        }
        resumed
    }

    /// Waits until the follower is before `position` again. What it has passed over is not always written down, and a retry of a
    /// parked event goes on from what is.
    pub(crate) async fn until_behind(&self, position: Position) {
        let mut status = self.status();
        let behind = status.wait_for(|status| status.reached < position).await;
        drop(behind.expect("the sender lives as long as this feed"));
    }

    /// Waits until it is resumed; not at all if it has not stopped.
    pub(crate) async fn until_resumed(&self) {
        let mut status = self.status();
        let resumed = status
            .wait_for(|status| status.state.stopped().is_none())
            .await;
        resumed.expect("the sender lives as long as this feed");
    }
}
