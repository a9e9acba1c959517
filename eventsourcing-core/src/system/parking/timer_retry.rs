//! Parking timers, and retrying and discarding parked ones.
//!
//! A parked timer keeps its note, extended by the error. An empty note lists it among the parked
//! timers, in place of the one that listed it among the due ones. A policy that schedules or
//! cancels a timer of the same key replaces or ends it, as it would a pending one.

use serde_json::Value;
use tracing::error;

use super::retry::{BUSY, RetryRequest};
use crate::policy::timers::{Timer, WhyParked};
use crate::store::{BoxError, NotesQuery, Revision, StoreError, Tracking};
use crate::system::follower::{Cursor, FollowerWorker, NextStep, PARKED_STREAMS_MAX, write_timer};
use crate::system::notes;
use crate::system::{FollowerFailure, OnFailure, ParkingAction, StepFailure, TimerRecord};

/// The error for a timer that another release has parked and whose policy has no timers in this
/// one.
const UNDECLARED: &str = "the follower has no timers in this release: write `timers` in its #[application(…)], or discard the timer";
/// The number of notes that are read at once.
const NOTES_PER_PAGE: usize = 1_000;

/// The result of retrying a parked timer.
pub(crate) enum TimerRetryOutcome {
    /// No timer of this key is parked in this log and partition.
    NotParked,
    Done,
    Failed(FollowerFailure),
}

impl<S> FollowerWorker<S> {
    /// Returns the parked timers, in the order of their keys.
    pub(crate) async fn parked_timers(&self) -> Result<Vec<Timer>, StoreError> {
        let keys = self.parked_timer_keys().await?;
        let timers = self
            .timer_notes()
            .timers(&keys)
            .await?
            .into_iter()
            .flatten();
        Ok(timers.filter(|timer| timer.parked.is_some()).collect())
    }

    async fn parked_timer_keys(&self) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        let mut after = String::new();

        if self.sink.timers().is_none() {
            return Ok(keys);
        }
        let (home, follower, upstream) = self.home();
        loop {
            let query =
                NotesQuery::new(follower.clone(), upstream, notes::PARKED_TIMERS).after(after);
            let notes = home.notes(query.limit(NOTES_PER_PAGE)).await?.notes;
            let Some((last, _)) = notes.last_key_value() else {
                return Ok(keys);
            };
            after = last.clone();
            keys.extend(
                notes
                    .into_keys()
                    .filter_map(|key| key.strip_prefix(notes::PARKED_TIMERS).map(str::to_owned)),
            );
        }
    }

    /// Returns the records of retries and discards of timers.
    pub(crate) async fn timer_records(&self) -> Result<Vec<TimerRecord>, StoreError> {
        self.notes().all(notes::TIMER_RECORDS).await
    }

    /// Returns `true` if one more timer may be parked.
    pub(in crate::system) async fn parks_timers(
        &self,
        cursor: &mut Cursor,
    ) -> Result<bool, StoreError> {
        if self.on_failure != OnFailure::Park {
            return Ok(false);
        }
        // The known number is an upper bound, because timers that are retried or rescheduled are
        // not subtracted from it. So it is counted anew before it stops the follower.
        if cursor
            .parked_timers
            .is_none_or(|count| count >= PARKED_STREAMS_MAX)
        {
            cursor.parked_timers = Some(self.parked_timer_keys().await?.len());
        }
        Ok(cursor
            .parked_timers
            .is_some_and(|count| count < PARKED_STREAMS_MAX))
    }

    /// Parks a due timer.
    pub(in crate::system) async fn park_timer(
        &self,
        cursor: &mut Cursor,
        timer: &Timer,
        cause: BoxError,
    ) -> Result<(), StepFailure> {
        let failure = self.failure(cursor.reached, timer.describe(), cause);
        error!(follower = %self.name, timer = failure.event, error = %failure.cause, "timer parked");
        let count = self.timer_notes().count().await?.1.saturating_sub(1);
        let why = WhyParked {
            cause: failure.cause,
            since: self.clock.now(),
            attempts: 1,
        };
        let mut step = cursor.step_in_place();
        step.tracking = parked(step.tracking, timer, why)
            .without_note(notes::due(timer.due, &timer.key))
            .with_note(notes::parked_timer(&timer.key), "")
            .with_note(notes::TIMER_COUNT, count.to_string());
        self.sink.make_step(step.tracking.clone()).await?;
        cursor.done(step);
        cursor.parked_timers = cursor.parked_timers.map(|count| count + 1);
        Ok(())
    }

    /// Retries a parked timer. If this future is dropped, the retry has happened wholly or not at
    /// all.
    pub(crate) async fn retry_timer(
        &self,
        system: &S,
        key: &str,
        request: &RetryRequest,
    ) -> Result<TimerRetryOutcome, StoreError> {
        let mut backoff = BUSY.start("retry of a parked timer");
        let mut is_busy = false;

        loop {
            let mut cursor = self.cursor.lock().await;
            self.refresh(&mut cursor).await?;
            if is_busy && let Err(failure) = self.force_revision(&mut cursor).await {
                drop(cursor);
                self.yield_to_follower(failure, &mut backoff).await?;
                continue;
            }
            let Some((timer, why)) = self.parked_timer(key).await? else {
                return Ok(TimerRetryOutcome::NotParked);
            };
            let failure = match self
                .try_timer(system, &mut cursor, &timer, &why, request)
                .await
            {
                Ok(()) => return Ok(TimerRetryOutcome::Done),
                Err(StepFailure::Event(cause)) => {
                    match self
                        .timer_failed_again(&mut cursor, &timer, why, &request.by, cause)
                        .await
                    {
                        Ok(failure) => return Ok(TimerRetryOutcome::Failed(failure)),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            drop(cursor);
            is_busy = true;
            self.yield_to_follower(failure, &mut backoff).await?;
        }
    }

    async fn try_timer(
        &self,
        system: &S,
        cursor: &mut Cursor,
        timer: &Timer,
        why: &WhyParked,
        request: &RetryRequest,
    ) -> Result<(), StepFailure> {
        let sink = self
            .sink
            .timers()
            .ok_or_else(|| StepFailure::Event(UNDECLARED.into()))?;
        let action = match request.payload.clone() {
            Some(payload) => ParkingAction::Edited { payload },
            None => ParkingAction::Retried { events: 0 },
        };
        let payload: Value = request
            .payload
            .clone()
            .unwrap_or_else(|| timer.payload.clone());
        let mut step = cursor.notes_step();
        step.tracking = self.note(step.tracking, timer, why, &request.by, action);
        let due = [Timer {
            payload,
            parked: None,
            ..timer.clone()
        }];
        sink.process_timers(system, &due, step.tracking.clone())
            .await?;
        self.noted(cursor, step);
        Ok(())
    }

    /// Discards a parked timer. Returns `false` if it is not parked in this log and partition.
    pub(crate) async fn discard_timer(
        &self,
        key: &str,
        reason: &str,
        by: &str,
    ) -> Result<bool, StoreError> {
        let mut backoff = BUSY.start("discarding a parked timer");
        loop {
            let mut cursor = self.cursor.lock().await;
            self.refresh(&mut cursor).await?;
            let Some((timer, why)) = self.parked_timer(key).await? else {
                return Ok(false);
            };
            let action = ParkingAction::Dropped {
                reason: reason.to_owned(),
            };
            let mut step = cursor.notes_step();
            step.tracking = self
                .note(step.tracking, &timer, &why, by, action)
                .without_note(notes::timer(key))
                .without_note(notes::parked_timer(key));
            match self.sink.make_step(step.tracking.clone()).await {
                Ok(()) => {
                    self.noted(&mut cursor, step);
                    return Ok(true);
                }
                Err(failure) => {
                    drop(cursor);
                    self.yield_to_follower(failure, &mut backoff).await?;
                }
            }
        }
    }

    async fn parked_timer(&self, key: &str) -> Result<Option<(Timer, WhyParked)>, StoreError> {
        let timer = self.timer_notes().timer(key).await?;
        Ok(timer.and_then(|timer| timer.parked.clone().map(|why| (timer, why))))
    }

    /// Notes that a parked timer failed again.
    async fn timer_failed_again(
        &self,
        cursor: &mut Cursor,
        timer: &Timer,
        why: WhyParked,
        by: &str,
        cause: BoxError,
    ) -> Result<FollowerFailure, StepFailure> {
        let failure = self.failure(cursor.reached, timer.describe(), cause);
        let mut step = cursor.notes_step();
        let action = ParkingAction::Failed {
            cause: failure.cause.clone(),
        };
        let tracking = self.note(step.tracking, timer, &why, by, action);
        let attempts = why.attempts.saturating_add(1);
        step.tracking = parked(
            tracking,
            timer,
            WhyParked {
                cause: failure.cause.clone(),
                attempts,
                ..why
            },
        );
        self.sink.make_step(step.tracking.clone()).await?;
        self.noted(cursor, step);
        Ok(failure)
    }

    fn noted(&self, cursor: &mut Cursor, step: NextStep) {
        cursor.done(step);
        self.show(cursor);
    }

    /// Adds to a step the record of a retry or discard of a timer.
    fn note(
        &self,
        step: Tracking,
        timer: &Timer,
        why: &WhyParked,
        by: &str,
        action: ParkingAction,
    ) -> Tracking {
        let at = self.clock.now();
        let record = TimerRecord {
            at,
            by: by.to_owned(),
            key: timer.key.clone(),
            due: timer.due,
            cause: why.cause.clone(),
            action,
        };
        let note = serde_json::to_string(&record).expect("a record is made of JSON");
        // The key of a record needs more than the time, since the clock can stand still or jump
        // back. The revision makes it unique: no two steps start at one revision.
        let revision = step.revision.map_or(0, Revision::as_u64);
        step.with_note(notes::timer_record(at, revision), note)
    }
}

/// Adds the error for which a timer is parked to its note.
fn parked(step: Tracking, timer: &Timer, why: WhyParked) -> Tracking {
    step.with_note(
        notes::timer(&timer.key),
        write_timer(&Timer {
            parked: Some(why),
            ..timer.clone()
        }),
    )
}
