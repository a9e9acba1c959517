//! [`Waiting`]: wait until a follower is somewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::SystemError;
use super::feed::{Feed, Status};
use crate::store::{EventStore, Name, Position, Receipt};

/// Waits for one follower, in every log that it follows.
pub(crate) struct Waiting {
    follower: Name,
    logs: Vec<(Arc<dyn EventStore>, watch::Receiver<Status>)>,
}

impl Waiting {
    /// For the follower of this name; it has no logs if there is none.
    pub(crate) fn new<'a, S: 'a>(follower: Name, feeds: impl IntoIterator<Item = &'a Arc<Feed<S>>>) -> Self {
        let of_follower = feeds.into_iter().filter(|feed| feed.name == follower);
        let logs = of_follower.map(|feed| (Arc::clone(&feed.upstream), feed.status())).collect();
        Self { follower, logs }
    }

    pub(crate) fn is_for_nobody(&self) -> bool {
        self.logs.is_empty()
    }

    /// Until it has dealt with what `receipt` stands for.
    pub(crate) async fn until(&self, receipt: &Receipt, patience: Duration) -> Result<(), SystemError> {
        let there = async {
            for (upstream, status) in &self.logs {
                // A receipt may be of another of the logs it follows; to the end of this one is then far enough.
                reach(status.clone(), receipt.position.min(upstream.head().await?)).await?;
            }
            Ok(())
        };
        tokio::time::timeout(patience, there).await.unwrap_or_else(|_| Err(self.late(receipt)))
    }

    fn late(&self, receipt: &Receipt) -> SystemError {
        let reached = self.logs.iter().map(|(_, status)| status.borrow().reached).min().unwrap_or_default();
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
