//! [`Waiting`]: wait until a follower is somewhere.
//!
//! A receipt is waited for in its own log and at its own position, not at the head: while an append with a smaller position
//! is under way, an acknowledged event lies beyond what a reader of the log is shown.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::SystemError;
use super::feed::{Feed, Holds, Status};
use crate::application::AfterSave;
use crate::store::{EventStore, LogId, Name, Position, Receipt, StoreError};

/// How long the inline runner rests before it looks again at a follower that has not come as far as it should.
const REST: Duration = Duration::from_millis(2);

/// Waits for one follower, in every log that it follows.
pub(crate) struct Waiting {
    follower: Name,
    logs: Vec<FollowedLog>,
    /// Every log of the system.
    known: Arc<[LogId]>,
    /// Runs the followers if they have no tasks of their own.
    inline: Option<Weak<dyn AfterSave>>,
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
        known: Arc<[LogId]>,
        inline: Option<Weak<dyn AfterSave>>,
    ) -> Self {
        let of_follower = feeds.into_iter().filter(|feed| feed.name == follower);
        let logs = of_follower.map(|feed| {
            let (upstream, holds) = (Arc::clone(&feed.upstream), Arc::clone(feed) as Arc<dyn Holds>);
            FollowedLog { upstream, status: feed.status(), holds }
        });
        let logs = logs.collect();
        Self { follower, logs, known, inline }
    }

    pub(crate) fn is_for_nobody(&self) -> bool {
        self.logs.is_empty()
    }

    /// Until it has dealt with what `receipt` stands for.
    pub(crate) async fn until(&self, receipt: &Receipt, patience: Duration) -> Result<(), SystemError> {
        let there = async {
            for log in self.logs_of(receipt)? {
                self.reach(log, log.position_of(receipt).await?).await?;
                if let Some(parked) = log.holds.holding(receipt.position).await? {
                    return Err(SystemError::Parked { follower: self.follower.clone(), parked: Box::new(parked) });
                }
            }
            Ok(())
        };
        tokio::time::timeout(patience, there).await.unwrap_or_else(|_| Err(self.late(receipt)))
    }

    /// The logs in which the receipt means something to the follower. Of a log that it does not follow it passes over
    /// everything.
    fn logs_of(&self, receipt: &Receipt) -> Result<impl Iterator<Item = &FollowedLog>, SystemError> {
        let log_id = receipt.log;
        if log_id != LogId::UNKNOWN && !self.known.contains(&log_id) {
            let reason = format!(
                "the receipt is of log {log_id}, which no application of this system writes to; wait for it in the \
                 system that returned it"
            );
            return Err(SystemError::Invalid { reason });
        }
        let is_meant = move |log: &&FollowedLog| log_id == LogId::UNKNOWN || log.upstream.log_id() == log_id;
        Ok(self.logs.iter().filter(is_meant))
    }

    async fn reach(&self, log: &FollowedLog, position: Position) -> Result<(), SystemError> {
        match self.inline.as_ref().and_then(Weak::upgrade) {
            None => reach(log.status.clone(), position).await,
            Some(inline) => {
                let catch_up = || async {
                    inline.saved().await;
                    Ok(())
                };
                reach_inline(&*log.upstream, log.status.clone(), position, catch_up).await
            }
        }
    }

    fn late(&self, receipt: &Receipt) -> SystemError {
        let reached = self.logs.iter().map(|log| log.status.borrow().reached).min().unwrap_or_default();
        SystemError::Late { follower: self.follower.clone(), position: receipt.position, reached }
    }
}

impl FollowedLog {
    /// The position of this log at which the receipt has arrived. A receipt that does not say its log may be of another
    /// one; if it is of this one its position can be seen.
    ///
    /// A position beyond the newest one is waited for: nothing here tells a log that has lost its end from one that has not
    /// come so far.
    async fn position_of(&self, receipt: &Receipt) -> Result<Position, StoreError> {
        match receipt.log {
            LogId::UNKNOWN => Ok(receipt.position.min(self.upstream.newest_position().await?)),
            _ => Ok(receipt.position),
        }
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

/// As [`reach`], for a follower that moves only when `catch_up` is called.
///
/// `position` may lie beyond what the log shows for now, and then nobody else would look again.
pub(crate) async fn reach_inline<F>(
    upstream: &dyn EventStore,
    status: watch::Receiver<Status>,
    position: Position,
    catch_up: impl Fn() -> F,
) -> Result<(), SystemError>
where
    F: Future<Output = Result<(), SystemError>>,
{
    loop {
        catch_up().await?;
        let Status { reached, state, .. } = status.borrow().clone();
        if let Some(failure) = state.stopped() {
            return Err(failure.clone().into());
        }
        if reached >= position {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
        match upstream.wait_beyond(reached, None).await {
            // The followers find out what has become of the log.
            Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
