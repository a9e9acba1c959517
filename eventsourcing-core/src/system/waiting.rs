//! [`FollowerWait`]: waits until a follower has reached a position.
//!
//! A wait for a receipt looks at the log and the position of the receipt, not at the head of the
//! log: while an append with a smaller position is under way, an acknowledged event lies beyond the
//! events that readers of the log see.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use tokio::sync::watch;

use super::SystemError;
use super::follower::{FollowerWorker, ParkedLookup, Status};
use crate::application::AfterSave;
use crate::projection::WaitForFollower;
use crate::store::{Epoch, FollowerStore, KnownPlace, LogId, Name, Position, Receipt, StoreError};

/// A timeout that suits most callers that wait for a follower: five seconds. A follower that works
/// takes milliseconds; a person who waits for a page gives up after about ten seconds.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before the inline runner looks again at a follower that has not reached the position.
const REST: Duration = Duration::from_millis(2);

/// Waits for one follower, in every log that it follows.
pub(crate) struct FollowerWait {
    follower: Name,
    logs: Vec<FollowedLog>,
    /// The logs that applications of the system write to.
    known: Arc<[LogId]>,
    /// The inline runner, if followers have no tasks of their own.
    inline: Option<Weak<dyn AfterSave>>,
}

struct FollowedLog {
    upstream: Arc<dyn FollowerStore>,
    status: watch::Receiver<Status>,
    holds: Arc<dyn ParkedLookup>,
}

impl FollowerWait {
    /// Returns a wait for the follower of this name. It has no logs if there is no such follower.
    pub(crate) fn new<'a, S: Send + Sync + 'static>(
        follower: Name,
        workers: impl IntoIterator<Item = &'a Arc<FollowerWorker<S>>>,
        known: Arc<[LogId]>,
        inline: Option<Weak<dyn AfterSave>>,
    ) -> Self {
        let of_follower = workers.into_iter().filter(|worker| worker.name == follower);
        let logs = of_follower.map(|worker| {
            let upstream = Arc::clone(&worker.upstream);
            let holds = Arc::clone(worker) as Arc<dyn ParkedLookup>;

            FollowedLog {
                upstream,
                status: worker.status(),
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

    /// Returns the followed logs that the receipt can be of. There is none if the follower does not
    /// follow the log of the receipt, and then there is nothing to wait for.
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
        let concerns_receipt =
            move |log: &&FollowedLog| log_id == LogId::UNKNOWN || log.upstream.log_id() == log_id;
        Ok(self.logs.iter().filter(concerns_receipt))
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
impl WaitForFollower for FollowerWait {
    async fn until(&self, receipt: &Receipt, timeout: Duration) -> Result<(), SystemError> {
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
        tokio::time::timeout(timeout, there)
            .await
            .unwrap_or_else(|_| Err(self.late(receipt)))
    }
}

impl FollowedLog {
    /// Returns the position in this log that the receipt stands for. A receipt without a log may be
    /// of another one, so its position is limited to the newest one here.
    ///
    /// A receipt of this log keeps its position. An acknowledged event is visible, so a position
    /// beyond the newest one is that of an event which the log has lost.
    async fn position_of(&self, receipt: &Receipt) -> Result<Position, StoreError> {
        match receipt.log {
            LogId::UNKNOWN => Ok(receipt.position.min(self.upstream.newest_position().await?)),
            _ => Ok(receipt.position),
        }
    }
}

/// Waits for `there` as long as `log` has the event at `position`. After a restore a follower can
/// reach that position with another event, which must not count.
///
/// # Errors
/// [`StoreError::LogWentBack`]: the log has lost the event. [`StoreError::Unavailable`]: the store
/// can never be used again, so no follower will reach the position. Others: those of `there`.
pub(crate) async fn unless_lost(
    log: &dyn FollowerStore,
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
            // A new epoch began while the follower advanced. It may have reached the position with
            // an event of another history, so the event that was waited for has to be proven once
            // more.
            Either::Left((done, _)) => {
                known.verify(log).await?;
                return done;
            }
            Either::Right((Err(StoreError::OutdatedEpoch { .. }), _)) => {
                epoch = prove(log, known).await?;
            }
            Either::Right((Err(error), _)) if log.fault().is_some() => return Err(error.into()),
            Either::Right(_) => tokio::time::sleep(REST).await,
        }
    }
}

/// Returns the epoch in which `known` is proven, as soon as the store answers.
async fn prove(log: &dyn FollowerStore, known: KnownPlace) -> Result<Epoch, StoreError> {
    loop {
        match known.verify(log).await {
            Ok(proof) => return Ok(proof.epoch),
            Err(StoreError::Unavailable { .. }) if log.fault().is_none() => {
                tokio::time::sleep(REST).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the follower has processed everything up to `position`, in the present epoch of
/// `log`.
pub(crate) async fn reach(
    log: &dyn FollowerStore,
    mut status: watch::Receiver<Status>,
    position: Position,
) -> Result<(), SystemError> {
    let is_there =
        |status: &Status| status.is_at(position, log.epoch()) || status.state.stopped().is_some();
    let there = status.wait_for(is_there).await;
    match there.map_err(|_| SystemError::Stopped)?.state.stopped() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(()),
    }
}

/// Does the same as [`reach`], for a follower that moves only when `catch_up` is called.
///
/// The loop is needed because `position` can lie beyond the visible end of the log while an append
/// is under way; no later save might run the followers again.
pub(crate) async fn reach_inline<F>(
    upstream: &dyn FollowerStore,
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
            // The next call of `catch_up` proves the position in the new epoch.
            Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
