//! Going on after a stop.

use tracing::info;

use super::{Feed, FollowerState};

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

    /// Waits until it is resumed; not at all if it has not stopped.
    pub(crate) async fn until_resumed(&self) {
        let mut status = self.status();
        let resumed = status.wait_for(|status| status.state.stopped().is_none()).await;
        resumed.expect("the sender lives as long as this feed");
    }
}
