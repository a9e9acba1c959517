//! Timers of a follower: kept among its notes, dealt with when they are due, before the next events.
//!
//! Under `timer/<key>` stands what is known of a timer, under `due/<microseconds since 1970>/<key>` nothing: those keys are
//! in the order in which the timers are due. Under `timers` stands how many there are. One that is
//! [parked](crate::system::parking) stands under `parked-timer/<key>` instead of among those that are due. All of it changes with
//! the steps of the follower and so by one of its runners at a time, which the revision sees to.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;

use super::EVENTS_PER_PAGE_MAX;
use super::causes::is_of_newer_release;
use super::cursor::Cursor;
use super::status::Step;
use super::timer_notes::TimerNotes;
use super::worker::Feed;
use crate::policy::timers::Timer;
use crate::store::StoreError;
use crate::system::{Cause, Failure, SystemError};

/// How long a runner sleeps at most while a timer is pending: the clock of the application may be another than that of
/// the runner, and may jump.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// And without one: another process may schedule the first.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether a timer that is due has been dealt with.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How many timers a follower has, and when the next one is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) timers: u64,
    pub(crate) next_due: Option<Timestamp>,
}

impl<S> Feed<S> {
    /// Deals with the timers that are due, those first that have been due for longest. `None`: none is.
    pub(in crate::system) async fn deal_with_timers(
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
            Err(failure) => return self.after(cursor, &[], failure).await.map(Some),
        };
        let step = cursor.step_in_place();
        match sink
            .process_timers(system, &due, step.tracking.clone())
            .await
        {
            Ok(()) => {
                cursor.done(step);
                self.succeed();
                cursor.events = (cursor.events * 2).min(EVENTS_PER_PAGE_MAX);
                Ok(Some(Step::Moved))
            }
            Err(failure) => self.after(cursor, &due, failure).await.map(Some),
        }
    }

    /// The next timers that are due, as many as are dealt with at once.
    async fn due(&self, cursor: &Cursor, now: Timestamp) -> Result<Vec<Timer>, Failure> {
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
                // It may be gone since its key was read.
                None if notes.count().await?.0 != cursor.revision() => return Err(Failure::Moved),
                None => return Err(missing(key)),
            }
        }
        Ok(timers)
    }

    async fn after(
        &self,
        cursor: &mut Cursor,
        due: &[Timer],
        failure: Failure,
    ) -> Result<Step, StoreError> {
        match failure {
            Failure::Moved => {
                if cursor.lease.is_some() {
                    // Perhaps another process has taken over, because this takes longer than the lease lasts.
                    cursor.events = (due.len() / 2).max(1);
                }
                self.moved(cursor).await
            }
            Failure::LeaseLost => {
                cursor.events = (due.len() / 2).max(1);
                Ok(Step::LeaseLost)
            }
            Failure::Unavailable(error) => Err(error),
            Failure::CutChanged(refusal) => Ok(self.stop_for_cut(cursor.reached, refusal)),
            Failure::Event(_) if due.len() > 1 => {
                cursor.events = due.len() / 2;
                Ok(Step::Moved)
            }
            Failure::Event(cause) => self.after_timer(cursor, due.first(), cause).await,
        }
    }

    /// Puts a timer aside that cannot be dealt with, if that is wanted, and fails otherwise.
    async fn after_timer(
        &self,
        cursor: &mut Cursor,
        timer: Option<&Timer>,
        cause: Cause,
    ) -> Result<Step, StoreError> {
        let cause = match timer {
            Some(timer) if !is_of_newer_release(&*cause) && self.parks_timers(cursor).await? => {
                match self.park_timer(cursor, timer, cause).await {
                    Ok(()) => return Ok(Step::Moved),
                    Err(Failure::Moved) => return self.moved(cursor).await,
                    Err(Failure::LeaseLost) => return Ok(Step::LeaseLost),
                    Err(Failure::CutChanged(refusal)) => {
                        return Ok(self.stop_for_cut(cursor.reached, refusal));
                    }
                    Err(Failure::Unavailable(error)) => return Err(error),
                    Err(Failure::Event(cause)) => cause,
                }
            }
            _ => cause,
        };
        let what = timer.map_or_else(|| "its timers".into(), Timer::describe);
        Ok(self.fail(cursor.reached, what, cause))
    }

    /// The time by which timers are due; `None` if it has none by its declaration.
    fn timers_are_due_by(&self) -> Option<Timestamp> {
        Some(self.sink.timers()?.now())
    }

    /// Waits until a timer may be due; for ever if it has none by its declaration.
    pub(crate) async fn until_due(&self) {
        let next = *self.next_due.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = match (self.timers_are_due_by(), next) {
            (None, _) => return std::future::pending().await,
            (Some(_), None) => IDLE_MAX,
            (Some(now), Some(due)) => {
                SLEEP_MAX.min(due.duration_since(now).try_into().unwrap_or_default())
            }
        };
        tokio::time::sleep(patience).await;
    }

    /// Waits until none of its timers is due, whichever process deals with them.
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

    /// How many timers it has, and when the next one is due.
    pub(crate) async fn pending(&self) -> Result<Pending, StoreError> {
        if self.sink.timers().is_none() {
            return Ok(Pending::default());
        }
        let notes = self.timer_notes();
        let next_due = notes.due_keys(1).await?.pop().map(|(due, _)| due);
        Ok(Pending {
            timers: notes.count().await?.1,
            next_due,
        })
    }

    /// Whether it has timers that nobody will deal with: it had them when it was declared otherwise.
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

fn missing(key: &str) -> Failure {
    let reason = format!("the timer {key:?} is due, but there is no note of it");
    StoreError::Corrupt {
        reason,
        source: None,
    }
    .into()
}
