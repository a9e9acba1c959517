//! [`Waiting`]: wait until a follower is somewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::SystemError;
use super::feed::{Feed, Holds, Status};
use crate::store::{EventStore, Name, Position, Receipt};

/// Waits for one follower, in every log that it follows.
pub(crate) struct Waiting {
    follower: Name,
    logs: Vec<FollowedLog>,
}

struct FollowedLog {
    upstream: Arc<dyn EventStore>,
    status: watch::Receiver<Status>,
    holds: Arc<dyn Holds>,
}

impl Waiting {
    /// For the follower of this name; it has no logs if there is none.
    pub(crate) fn new<'a, S: Send + Sync + 'static>(
        follower: Name,
        feeds: impl IntoIterator<Item = &'a Arc<Feed<S>>>,
    ) -> Self {
        let of_follower = feeds.into_iter().filter(|feed| feed.name == follower);
        let logs = of_follower.map(|feed| {
            let (upstream, holds) = (Arc::clone(&feed.upstream), Arc::clone(feed) as Arc<dyn Holds>);
            FollowedLog { upstream, status: feed.status(), holds }
        });
        let logs = logs.collect();
        Self { follower, logs }
    }

    pub(crate) fn is_for_nobody(&self) -> bool {
        self.logs.is_empty()
    }

    /// Until it has dealt with what `receipt` stands for.
    pub(crate) async fn until(&self, receipt: &Receipt, patience: Duration) -> Result<(), SystemError> {
        let there = async {
            for log in &self.logs {
                // A receipt may be of another of the logs it follows; to the end of this one is then far enough.
                reach(log.status.clone(), receipt.position.min(log.upstream.head().await?)).await?;
                if let Some(parked) = log.holds.holding(receipt.position).await? {
                    return Err(SystemError::Parked { follower: self.follower.clone(), parked: Box::new(parked) });
                }
            }
            Ok(())
        };
        tokio::time::timeout(patience, there).await.unwrap_or_else(|_| Err(self.late(receipt)))
    }

    fn late(&self, receipt: &Receipt) -> SystemError {
        let reached = self.logs.iter().map(|log| log.status.borrow().reached).min().unwrap_or_default();
        SystemError::Late { follower: self.follower.clone(), position: receipt.position, reached }
    }
}

/// Waits until the follower has dealt with everything up to `position`.
pub(crate) async fn reach(mut status: watch::Receiver<Status>, position: Position) -> Result<(), SystemError> {
    let there = status.wait_for(|status| status.reached >= position || status.state.stopped().is_some()).await;
    let gone = || SystemError::Invalid { reason: "the system has stopped".to_owned() };
    match there.map_err(|_| gone())?.state.stopped() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(()),
    }
}
