//! [`Waiting`]: wait until a follower is somewhere.
//!
//! A receipt is waited for in its own log and at its own position, not at the head: while an append with a smaller position
//! is under way, an acknowledged event lies beyond what a reader of the log is shown.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use tokio::sync::watch;

use super::SystemError;
use super::follower::{Feed, Holds, Status};
use crate::application::AfterSave;
use crate::projection::WaitForFollower;
use crate::store::{Epoch, EventStore, KnownPlace, LogId, Name, Position, Receipt, StoreError};

/// A timeout that suits most callers that wait for a follower: five seconds. A follower that works takes milliseconds; a
/// person who waits for a page gives up after about ten seconds.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

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
            let upstream = Arc::clone(&feed.upstream);
            let holds = Arc::clone(feed) as Arc<dyn Holds>;

            FollowedLog {
                upstream,
                status: feed.status(),
                holds,
            }
        });
        let logs = logs.collect();
        Self {
            follower,
            logs,
            known,
            inline,
        }
    }

    pub(crate) fn is_for_nobody(&self) -> bool {
        self.logs.is_empty()
    }

    /// The logs in which the receipt means something to the follower. Of a log that it does not follow it passes over
    /// everything.
    fn logs_of(
        &self,
        receipt: &Receipt,
    ) -> Result<impl Iterator<Item = &FollowedLog>, SystemError> {
        let log_id = receipt.log;
        if log_id != LogId::UNKNOWN && !self.known.contains(&log_id) {
            let reason = format!(
                "the receipt is of log {log_id}, which no application of this system writes to; wait for it in the \
                 system that returned it"
            );
            return Err(SystemError::Invalid { reason });
        }
        let is_meant =
            move |log: &&FollowedLog| log_id == LogId::UNKNOWN || log.upstream.log_id() == log_id;
        Ok(self.logs.iter().filter(is_meant))
    }

    async fn reach(&self, log: &FollowedLog, position: Position) -> Result<(), SystemError> {
        match self.inline.as_ref().and_then(Weak::upgrade) {
            None => reach(&*log.upstream, log.status.clone(), position).await,
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
        let reached = self
            .logs
            .iter()
            .map(|log| log.status.borrow().reached)
            .min()
            .unwrap_or_default();
        SystemError::TimedOut {
            follower: self.follower.clone(),
            position: receipt.position,
            reached,
        }
    }
}

#[async_trait]
impl WaitForFollower for Waiting {
    async fn until(&self, receipt: &Receipt, patience: Duration) -> Result<(), SystemError> {
        let there = async {
            for log in self.logs_of(receipt)? {
                let position = log.position_of(receipt).await?;
                if !log.status.borrow().is_at(position, log.upstream.epoch()) {
                    unless_lost(&*log.upstream, position, self.reach(log, position)).await?;
                }
                if let Some(parked) = log.holds.holding(receipt.position).await? {
                    return Err(SystemError::Parked {
                        follower: self.follower.clone(),
                        parked: Box::new(parked),
                    });
                }
            }
            Ok(())
        };
        tokio::time::timeout(patience, there)
            .await
            .unwrap_or_else(|_| Err(self.late(receipt)))
    }
}

impl FollowedLog {
    /// The position of this log at which the receipt has arrived. A receipt that does not say its log may be of another
    /// one; if it is of this one its position can be seen.
    ///
    /// An acknowledged event can be seen, so a position beyond the newest one is that of an event which the log has lost.
    async fn position_of(&self, receipt: &Receipt) -> Result<Position, StoreError> {
        match receipt.log {
            LogId::UNKNOWN => Ok(receipt.position.min(self.upstream.newest_position().await?)),
            _ => Ok(receipt.position),
        }
    }
}

/// Waits for `there` as long as `log` has what is at `position`: a follower that comes to the position of an event that was lost has
/// dealt with another one.
///
/// # Errors
/// [`StoreError::LogWentBack`]: it has lost it. [`StoreError::Unavailable`]: it can never be used again, so no follower will come.
/// Others: those of `there`.
pub(crate) async fn unless_lost(
    log: &dyn EventStore,
    position: Position,
    there: impl Future<Output = Result<(), SystemError>>,
) -> Result<(), SystemError> {
    let proof = KnownPlace::new(position, None).verify(log).await?;
    let known = KnownPlace::new(position, proof.event);
    let mut epoch = proof.epoch;
    let mut there = pin!(there);
    loop {
        let ended = pin!(log.wait_beyond(Position::MAX, Some(epoch)));
        match select(there.as_mut(), ended).await {
            Either::Left((done, _)) if log.epoch() == epoch => return done,
            Either::Left((done, _)) => {
                known.verify(log).await?;
                return done;
            }
            Either::Right((Err(StoreError::OutdatedEpoch { .. }), _)) => {
                epoch = prove(log, known).await?
            }
            Either::Right((Err(error), _)) if log.fault().is_some() => return Err(error.into()),
            Either::Right(_) => tokio::time::sleep(REST).await,
        }
    }
}

/// The epoch in which `known` is proven, as soon as the store answers.
async fn prove(log: &dyn EventStore, known: KnownPlace) -> Result<Epoch, StoreError> {
    loop {
        match known.verify(log).await {
            Ok(proof) => return Ok(proof.epoch),
            Err(StoreError::Unavailable { .. }) if log.fault().is_none() => {
                tokio::time::sleep(REST).await
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the follower has dealt with everything up to `position`, in the present life of `log`.
pub(crate) async fn reach(
    log: &dyn EventStore,
    mut status: watch::Receiver<Status>,
    position: Position,
) -> Result<(), SystemError> {
    let is_there =
        |status: &Status| status.is_at(position, log.epoch()) || status.state.stopped().is_some();
    let there = status.wait_for(is_there).await;
    let gone = || SystemError::Invalid {
        reason: "the system has stopped".to_owned(),
    };
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
        let status = status.borrow().clone();
        if let Some(failure) = status.state.stopped() {
            return Err(failure.clone().into());
        }
        if status.is_at(position, upstream.epoch()) {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
        match upstream.wait_beyond(status.reached, status.epoch).await {
            // The followers find out what has become of the log.
            Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
