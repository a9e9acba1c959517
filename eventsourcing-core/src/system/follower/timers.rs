//! Timers of a follower: kept among its notes, dealt with when they are due, before the next events.
//!
//! Under `timer/<key>` stands what is known of a timer, under `due/<microseconds since 1970>/<key>` nothing: those keys are
//! in the order in which the timers are due. Under `timers` stands how many there are. One that is
//! [parked](crate::system::parking) stands under `parked-timer/<key>` instead of among those that are due. All of it changes with
//! the steps of the follower and so by one of its runners at a time, which the revision sees to.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::causes::is_of_newer_release;
use super::cursor::Cursor;
use super::{EVENTS_PER_PAGE_MAX, Feed, Step};
use crate::policy::timers::Timer;
use crate::store::{
    EventStore, FollowerNotes, LogId, Name, NotesQuery, Revision, StoreError, Tracking,
};
use crate::system::{Cause, Failure, SystemError, notes};

/// How long a runner sleeps at most while a timer is pending: the clock of the application may be another than that of
/// the runner, and may jump.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// And without one: another process may schedule the first.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How many notes are read at a time.
const READS_AT_ONCE: usize = 16;
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

/// Adds to a step what becomes of timers.
pub(in crate::system) async fn with_changes(
    home: &dyn EventStore,
    mut step: Tracking,
    changes: &BTreeMap<String, Option<Timer>>,
) -> Result<Tracking, Failure> {
    if changes.is_empty() {
        return Ok(step);
    }
    let notes = TimerNotes {
        home,
        follower: step.follower.clone(),
        upstream: step.upstream,
    };
    let keys: Vec<_> = changes.keys().cloned().collect();
    // If somebody changes them meanwhile the step is refused: it is one from the revision that this process knows.
    let before = notes.count().await?.1;
    let old = notes.timers(&keys).await?;

    let mut count = before;
    for ((key, timer), old) in changes.iter().zip(old) {
        if let Some(old) = old {
            step = step
                .without_note(notes::timer(key))
                .without_note(place_key(&old));
            count = count.saturating_sub(u64::from(old.parked.is_none()));
        }
        if let Some(timer) = timer {
            step = step
                .with_note(notes::timer(key), write_timer(timer))
                .with_note(notes::due(timer.due, &timer.key), "");
            count += 1;
        }
    }
    match count == before {
        true => Ok(step),
        false => Ok(step.with_note(notes::TIMER_COUNT, count.to_string())),
    }
}

/// Where a timer is found: among those that are pending, or those that are parked.
fn place_key(timer: &Timer) -> String {
    if timer.parked.is_some() {
        notes::parked_timer(&timer.key)
    } else {
        notes::due(timer.due, &timer.key)
    }
}

pub(in crate::system) fn write_timer(timer: &Timer) -> String {
    serde_json::to_string(timer).expect("a timer is made of JSON")
}

fn missing(key: &str) -> Failure {
    let reason = format!("the timer {key:?} is due, but there is no note of it");
    StoreError::Corrupt {
        reason,
        source: None,
    }
    .into()
}

/// The notes of one follower about its timers.
pub(in crate::system) struct TimerNotes<'a> {
    home: &'a dyn EventStore,
    follower: Name,
    upstream: LogId,
}

impl TimerNotes<'_> {
    pub(in crate::system) async fn read(
        &self,
        prefix: String,
        limit: usize,
    ) -> Result<FollowerNotes, StoreError> {
        self.home
            .notes(NotesQuery::new(self.follower.clone(), self.upstream, prefix).limit(limit))
            .await
    }

    /// Which timers are due next, in that order.
    async fn due_keys(&self, limit: usize) -> Result<Vec<(Timestamp, String)>, StoreError> {
        self.read(notes::DUE.into(), limit)
            .await?
            .notes
            .keys()
            .map(|note| notes::read_due(note))
            .collect()
    }

    /// The timers of these keys, as far as there are any.
    pub(in crate::system) async fn timers(
        &self,
        keys: &[String],
    ) -> Result<Vec<Option<Timer>>, StoreError> {
        let reads: Vec<_> = keys.iter().map(|key| self.timer(key)).collect();
        stream::iter(reads)
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// The key itself comes before those that it begins.
    pub(in crate::system) async fn timer(&self, key: &str) -> Result<Option<Timer>, StoreError> {
        let notes = self.read(notes::timer(key), 1).await?.notes;
        let Some(note) = notes.get(&notes::timer(key)) else {
            return Ok(None);
        };
        let timer: Timer = serde_json::from_str(note).map_err(|error| {
            StoreError::corrupt(format!("the note of the timer {key:?}"), error)
        })?;
        Ok(Some(Timer {
            key: key.into(),
            ..timer
        }))
    }

    /// How many steps the follower has made, and how many timers it has.
    pub(in crate::system) async fn count(&self) -> Result<(Revision, u64), StoreError> {
        let book = self.read(notes::TIMER_COUNT.into(), 1).await?;
        let count = book
            .notes
            .get(notes::TIMER_COUNT)
            .map_or(Ok(0), |note| note.parse());
        Ok((
            book.revision,
            count.map_err(|error| {
                StoreError::corrupt("the number of timers of a follower", error)
            })?,
        ))
    }
}
