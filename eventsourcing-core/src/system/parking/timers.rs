//! [`ParkedTimer`], and the part of [`Parking`] for parked timers.

use jiff::Timestamp;
use serde_json::Value;

use super::retry::RetryRequest;
use super::timer_retry::TimerRetryOutcome;
use super::{Parking, check_depth};
use crate::EventRef;
use crate::policy::timers::Timer;
use crate::system::{FollowerFailure, SystemError, TimerRecord};

/// A timer that failed when it was due, and that its policy has parked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParkedTimer {
    /// The key under which it was scheduled.
    pub key: String,
    /// The time at which it was due.
    pub due: Timestamp,
    /// The payload it was scheduled with, as it is stored.
    pub payload: Value,
    /// The event that caused it to be scheduled.
    pub scheduled_by: Option<EventRef>,
    /// The error, in one line.
    pub cause: String,
    /// The time at which it was parked, on the clock of the system.
    pub since: Timestamp,
    /// The number of attempts to process it.
    pub attempts: u32,
}

impl ParkedTimer {
    /// Returns the parked timer, or `None` if `timer` is pending.
    fn of(timer: Timer) -> Option<Self> {
        let Timer {
            key,
            due,
            payload,
            metadata,
            parked,
            ..
        } = timer;
        let why = parked?;
        let cause = why.cause;
        let since = why.since;
        let attempts = why.attempts;

        Some(Self {
            key,
            due,
            payload,
            scheduled_by: metadata.causation,
            cause,
            since,
            attempts,
        })
    }
}

impl<S: Send + Sync + 'static> Parking<'_, S> {
    /// Returns the timers that are parked, oldest first.
    ///
    /// A policy that schedules or cancels the timer of a key replaces or ends the one that is
    /// parked.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn timers(&self) -> Result<Vec<ParkedTimer>, SystemError> {
        let mut all = Vec::new();
        for worker in self.workers() {
            all.extend(
                worker
                    .parked_timers()
                    .await?
                    .into_iter()
                    .filter_map(ParkedTimer::of),
            );
        }
        all.sort_by(|one, other| (one.since, &one.key).cmp(&(other.since, &other.key)));
        Ok(all)
    }

    /// Returns the records of retries and discards of parked timers, oldest first.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn timer_records(&self) -> Result<Vec<TimerRecord>, SystemError> {
        let mut all = Vec::new();
        for worker in self.workers() {
            all.extend(worker.timer_records().await?);
        }
        all.sort_by_key(|record| record.at);
        Ok(all)
    }

    /// Retries a parked timer. Returns the failure if it failed again, or `None` after a success.
    ///
    /// A policy that follows several logs, or runs in partitions, may have parked a timer of this
    /// key in each of them. The first one that is found is retried.
    ///
    /// # Errors
    /// [`SystemError::NotParked`]: no such timer is parked. [`SystemError::Store`]: a store does not
    /// answer.
    pub async fn retry_timer(&self, key: &str) -> Result<Option<FollowerFailure>, SystemError> {
        self.try_timer(key, None).await
    }

    /// Retries like [`retry_timer`](Self::retry_timer), with this payload in place of the stored
    /// one.
    ///
    /// # Errors
    /// The same as those of [`retry_timer`](Self::retry_timer).
    pub async fn retry_timer_edited(
        &self,
        key: &str,
        payload: Value,
    ) -> Result<Option<FollowerFailure>, SystemError> {
        self.try_timer(key, Some(payload)).await
    }

    /// Discards a parked timer: the policy never processes it.
    ///
    /// # Errors
    /// [`SystemError::NotParked`]: no such timer is parked. [`SystemError::Invalid`]: no reason is given.
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn discard_timer(&self, key: &str, reason: &str) -> Result<(), SystemError> {
        if reason.trim().is_empty() {
            return Err(SystemError::Invalid {
                reason: "discarding a timer needs a reason; give one".to_owned(),
            });
        }
        for worker in self.workers() {
            if worker.discard_timer(key, reason, &self.by).await? {
                return Ok(());
            }
        }
        Err(self.no_such_timer(key))
    }

    async fn try_timer(
        &self,
        key: &str,
        payload: Option<Value>,
    ) -> Result<Option<FollowerFailure>, SystemError> {
        payload.as_ref().map_or(Ok(()), check_depth)?;
        let request = RetryRequest {
            by: self.by.clone(),
            payload,
        };
        for worker in self.workers() {
            let failure = match worker
                .retry_timer(&self.engine.system, key, &request)
                .await?
            {
                TimerRetryOutcome::NotParked => continue,
                TimerRetryOutcome::Done => None,
                TimerRetryOutcome::Failed(failure) => Some(failure),
            };
            if self.is_inline {
                self.engine.catch_up().await?;
            }
            return Ok(failure);
        }
        Err(self.no_such_timer(key))
    }

    fn no_such_timer(&self, key: &str) -> SystemError {
        SystemError::NotParked {
            follower: self.follower.clone(),
            what: format!("a timer {key:?}"),
        }
    }
}
