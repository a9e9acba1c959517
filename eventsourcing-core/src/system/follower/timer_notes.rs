//! The notes of a follower about its timers, and how a step changes them.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::policy::timers::Timer;
use crate::store::{
    FollowerNotes, FollowerStore, LogId, Name, NotesQuery, Revision, StoreError, Tracking,
};
use crate::system::{StepFailure, notes};

/// The number of notes that are read concurrently.
const READS_AT_ONCE: usize = 16;

/// The notes of one follower about its timers.
pub(in crate::system) struct TimerNotes<'a> {
    pub(super) home: &'a dyn FollowerStore,
    pub(super) follower: Name,
    pub(super) upstream: LogId,
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

    /// Returns the keys of the timers that are due next, in order.
    pub(super) async fn due_keys(
        &self,
        limit: usize,
    ) -> Result<Vec<(Timestamp, String)>, StoreError> {
        self.read(notes::DUE.into(), limit)
            .await?
            .notes
            .keys()
            .map(|note| notes::read_due(note))
            .collect()
    }

    /// Returns the timer of each key, `None` where there is none.
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

    /// Returns the timer of a key. A limit of one note suffices: of all keys with this prefix, the
    /// key itself sorts first.
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

    /// Returns the revision of the follower and the number of its pending timers, as of one moment.
    pub(in crate::system) async fn count(&self) -> Result<(Revision, u64), StoreError> {
        let follower_notes = self.read(notes::TIMER_COUNT.into(), 1).await?;
        let count = follower_notes
            .notes
            .get(notes::TIMER_COUNT)
            .map_or(Ok(0), |note| note.parse());
        Ok((
            follower_notes.revision,
            count.map_err(|error| {
                StoreError::corrupt("the number of timers of a follower", error)
            })?,
        ))
    }
}

/// Adds the changes of timers to a step.
pub(in crate::system) async fn with_changes(
    home: &dyn FollowerStore,
    mut step: Tracking,
    changes: &BTreeMap<String, Option<Timer>>,
) -> Result<Tracking, StepFailure> {
    if changes.is_empty() {
        return Ok(step);
    }
    let notes = TimerNotes {
        home,
        follower: step.follower.clone(),
        upstream: step.upstream,
    };
    let keys: Vec<_> = changes.keys().cloned().collect();
    // The reads below need no lock. The step names the revision that this process knows, so the
    // store refuses it if any note has changed in between.
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

/// Returns the key of the note that lists a timer as pending or parked.
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
