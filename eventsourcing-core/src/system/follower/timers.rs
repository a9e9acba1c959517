//! Processing the timers of a follower: those that are due come before the next events.
//!
//! The note `timer/<key>` is the timer itself. The empty note `due/<microseconds since 1970>/<key>`
//! sorts it by the time at which it is due; a [parked](crate::system::parking) timer has an empty
//! note `parked-timer/<key>` in its place. The note `timers` counts those that are pending. All of
//! these notes change only with steps of the follower, so the revision keeps two processes from
//! changing them at once.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;

use super::EVENTS_PER_PAGE_MAX;
use super::causes::is_of_newer_release;
use super::cursor::Cursor;
use super::status::Step;
use super::timer_notes::TimerNotes;
use super::worker::FollowerWorker;
use crate::policy::timers::Timer;
use crate::store::{BoxError, StoreError};
use crate::system::{StepFailure, SystemError};

/// The longest sleep of a runner while a timer is pending. The clock of the application need not be
/// that of the runner, and may jump, so the runner looks again at least this often.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// The longest sleep of a runner without a pending timer, since another process may schedule the
/// first one.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// The interval between looks at whether a due timer has been processed.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The number of pending timers of a follower, and the time at which the next one is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingTimers {
    pub(crate) timers: u64,
    pub(crate) next_due: Option<Timestamp>,
}

impl<S> FollowerWorker<S> {
    /// Processes the timers that are due, the longest overdue first. Returns `None` if none is due.
    pub(in crate::system) async fn process_due_timers(
        &self,
        system: &S,
        cursor: &mut Cursor,
    ) -> Result<Option<Step>, StoreError> {
        let Some(sink) = self.sink.timers() else {
            return Ok(None);
        };
        let due = match self.due(cursor, sink.now()).await {
            Ok(due) if due.is_empty() => return Ok(None),
            Ok(due) => due,
            Err(failure) => return self.after_failure(cursor, &[], failure).await.map(Some),
        };
        let step = cursor.step_in_place();
        match sink
            .process_timers(system, &due, step.tracking.clone())
            .await
        {
            Ok(()) => {
                cursor.done(step);
                self.clear_failure();
                cursor.events = (cursor.events * 2).min(EVENTS_PER_PAGE_MAX);
                Ok(Some(Step::Moved))
            }
            Err(failure) => self.after_failure(cursor, &due, failure).await.map(Some),
        }
    }

    /// Returns the next timers that are due, at most as many as one step processes.
    async fn due(&self, cursor: &Cursor, now: Timestamp) -> Result<Vec<Timer>, StepFailure> {
        let notes = self.timer_notes();
        let next = notes.due_keys(1).await?.pop();
        *self.next_due.lock().unwrap_or_else(PoisonError::into_inner) =
            next.as_ref().map(|(due, _)| *due);
        if next.is_none_or(|(due, _)| due > now) {
            return Ok(Vec::new());
        }
        let keys = notes
            .due_keys(cursor.events)
            .await?
            .into_iter()
            .filter(|(due, _)| *due <= now)
            .map(|(_, key)| key);
        let keys: Vec<_> = keys.collect();
        let mut timers = Vec::with_capacity(keys.len());
        for (key, timer) in keys.iter().zip(notes.timers(&keys).await?) {
            match timer {
                Some(timer) => timers.push(timer),
                // The timer may have been removed after its key was read. If the revision has not
                // changed, nothing was removed, and the notes contradict each other.
                None if notes.count().await?.0 != cursor.revision() => {
                    return Err(StepFailure::Moved);
                }
                None => return Err(missing(key)),
            }
        }
        Ok(timers)
    }

    async fn after_failure(
        &self,
        cursor: &mut Cursor,
        due: &[Timer],
        failure: StepFailure,
    ) -> Result<Step, StoreError> {
        match failure {
            StepFailure::Moved => {
                if cursor.lease.is_some() {
                    // Another process may have taken over because the step took longer than the
                    // lease lasts, so the next one is smaller.
                    cursor.events = (due.len() / 2).max(1);
                }
                self.moved(cursor).await
            }
            StepFailure::LeaseLost => {
                cursor.events = (due.len() / 2).max(1);
                Ok(Step::LeaseLost)
            }
            StepFailure::Unavailable(error) => Err(error),
            StepFailure::CutChanged(refusal) => Ok(self.stop_for_cut(cursor.reached, refusal)),
            StepFailure::Event(_) if due.len() > 1 => {
                cursor.events = due.len() / 2;
                Ok(Step::Moved)
            }
            StepFailure::Event(cause) => self.after_timer(cursor, due.first(), cause).await,
        }
    }

    /// Parks a timer that has failed if the follower parks, and fails with its error otherwise.
    async fn after_timer(
        &self,
        cursor: &mut Cursor,
        timer: Option<&Timer>,
        cause: BoxError,
    ) -> Result<Step, StoreError> {
        let cause = match timer {
            Some(timer) if !is_of_newer_release(&*cause) && self.parks_timers(cursor).await? => {
                match self.park_timer(cursor, timer, cause).await {
                    Ok(()) => return Ok(Step::Moved),
                    Err(StepFailure::Moved) => return self.moved(cursor).await,
                    Err(StepFailure::LeaseLost) => return Ok(Step::LeaseLost),
                    Err(StepFailure::CutChanged(refusal)) => {
                        return Ok(self.stop_for_cut(cursor.reached, refusal));
                    }
                    Err(StepFailure::Unavailable(error)) => return Err(error),
                    Err(StepFailure::Event(cause)) => cause,
                }
            }
            _ => cause,
        };
        let what = timer.map_or_else(|| "the timers of the follower".into(), Timer::describe);
        Ok(self.fail(cursor.reached, what, cause))
    }

    /// Returns the time that decides which timers are due, or `None` if the follower is declared
    /// without timers.
    fn timers_are_due_by(&self) -> Option<Timestamp> {
        Some(self.sink.timers()?.now())
    }

    /// Waits until a timer may be due; forever if the follower is declared without timers.
    pub(crate) async fn until_due(&self) {
        let next = *self.next_due.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match (self.timers_are_due_by(), next) {
            (None, _) => return std::future::pending().await,
            (Some(_), None) => IDLE_MAX,
            (Some(now), Some(due)) => {
                SLEEP_MAX.min(due.duration_since(now).try_into().unwrap_or_default())
            }
        };
        tokio::time::sleep(pause).await;
    }

    /// Waits until none of its timers is due, no matter which process handles them.
    pub(crate) async fn until_none_is_due(&self) -> Result<(), SystemError> {
        while let Some(now) = self.timers_are_due_by() {
            if let Some(failure) = self.status.borrow().state.stopped() {
                return Err(failure.clone().into());
            }
            if self.pending().await?.next_due.is_none_or(|due| due > now) {
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Returns the number of pending timers and the time at which the next one is due.
    pub(crate) async fn pending(&self) -> Result<PendingTimers, StoreError> {
        if self.sink.timers().is_none() {
            return Ok(PendingTimers::default());
        }
        let notes = self.timer_notes();
        let next_due = notes.due_keys(1).await?.pop().map(|(due, _)| due);
        Ok(PendingTimers {
            timers: notes.count().await?.1,
            next_due,
        })
    }

    /// Returns `true` if an earlier declaration has left pending timers and the present one has
    /// none, so that they would never fire.
    pub(crate) async fn has_forgotten_timers(&self) -> Result<bool, StoreError> {
        Ok(self.sink.timers().is_none() && !self.timer_notes().due_keys(1).await?.is_empty())
    }

    pub(in crate::system) fn timer_notes(&self) -> TimerNotes<'_> {
        let (home, follower, upstream) = self.home();
        TimerNotes {
            home: &**home,
            follower,
            upstream,
        }
    }
}

fn missing(key: &str) -> StepFailure {
    let reason = format!("the timer {key:?} is due, but its note is missing");
    StoreError::Corrupt {
        reason,
        source: None,
    }
    .into()
}
