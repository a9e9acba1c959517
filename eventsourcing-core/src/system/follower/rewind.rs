//! Rewinding the position and the notes of a follower whose log was restored to an earlier moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::cursor::write_checksum;
use super::worker::FollowerWorker;
use crate::store::{
    EventRef, FollowerNotes, FollowerStore, KnownPlace, LogChecksum, LogQuery, LogSlice,
    NotesQuery, Position, StoreError, StoredEvent, StreamId, Tracking,
};
use crate::system::notes::{self, RETIRED};
use crate::system::parking::{HeldEvent, put_aside, read, write};
use crate::system::{Parked, ParkingRecord};

/// The interval at which a follower that has stopped because its log went back looks whether the
/// restored log was accepted.
const ACCEPTED_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A follower as it continues in a restored log.
pub(crate) struct Rewound {
    /// The step back.
    pub(crate) step: Tracking,
    /// Its position and its notes after the step.
    pub(crate) notes: FollowerNotes,
}

impl<S> FollowerWorker<S> {
    /// Returns the end of the log if the log has lost the last event that the follower has seen
    /// according to `follower_notes`.
    pub(crate) async fn end_of_restored_log(
        &self,
        follower_notes: &FollowerNotes,
    ) -> Result<Option<Position>, StoreError> {
        match KnownPlace::new(follower_notes.position, follower_notes.last_event)
            .verify(&*self.upstream)
            .await
        {
            Ok(_) => Ok(None),
            Err(StoreError::LogWentBack { end, .. }) => Ok(Some(end)),
            Err(error) => Err(error),
        }
    }

    /// Removes everything after `kept` from the notes of the follower in `follower_notes`.
    pub(crate) async fn kept_in_restored_log(
        &self,
        follower_notes: &FollowerNotes,
        kept: Position,
    ) -> Result<Rewound, StoreError> {
        let (_, follower, upstream) = self.home();
        let last_events = self.last_events(kept).await?;
        let last = last_events.last();
        let to = last.map_or(Position::ZERO, |event| event.position);
        let mut notes = follower_notes.notes.clone();
        forget_parked(&mut notes, to)?;
        notes.retain(|key, _| {
            !key.starts_with(notes::CHECKSUMS)
                || last.is_some() && *key < notes::checksums(LogSlice::of(to))
        });
        // The checksum of the last slice also counts events that the log has lost, and those cannot
        // be subtracted, since nothing tells which they were. So the checksum is computed anew from
        // the events that are left.
        let checksums = self.checksums_of(&last_events, &notes)?;
        if checksums != LogChecksum::default() {
            notes.insert(
                notes::checksums(LogSlice::of(to)),
                write_checksum(&checksums),
            );
        }
        let step = Tracking::new(follower, upstream, follower_notes.position, to)
            .going_back()
            .with_revision(follower_notes.revision)
            .with_last_event(last.map(|event| EventRef::of(event, upstream)));
        let step = step_between(step, &follower_notes.notes, &notes);
        Ok(Rewound {
            step,
            notes: FollowerNotes {
                position: to,
                notes,
                ..follower_notes.clone()
            },
        })
    }

    /// Returns the events up to `kept` of the last slice that has any, no matter which follower
    /// takes them. All of them are read, because the step must end at the last event of the log up
    /// to there, whether or not this follower takes it.
    async fn last_events(&self, kept: Position) -> Result<Vec<StoredEvent>, StoreError> {
        let mut end = kept;
        while end > Position::ZERO {
            let start = LogSlice::of(end).start();
            let mut events = Vec::new();
            let mut after = start;

            while after < end {
                let page = self.upstream.read_log(LogQuery::after(after)).await?;
                if page.ceiling == after {
                    let reason = format!(
                        "the log is not decided up to position {end} because an append is under way; retry in a moment"
                    );
                    return Err(StoreError::unavailable(
                        reason,
                        "the end of the log may still change",
                    ));
                }
                events.extend(
                    page.events
                        .into_iter()
                        .filter(|event| event.position <= end),
                );
                after = page.ceiling;
            }
            if !events.is_empty() {
                return Ok(events);
            }
            end = start;
        }
        Ok(Vec::new())
    }

    /// Returns the checksum of those events that the follower takes, without the parked and the
    /// discarded ones.
    fn checksums_of(
        &self,
        events: &[StoredEvent],
        notes: &BTreeMap<String, String>,
    ) -> Result<LogChecksum, StoreError> {
        let aside = put_aside(notes)
            .map(|held| Ok(held?.position))
            .collect::<Result<BTreeSet<_>, StoreError>>()?;
        let takes: Vec<_> = self.takes().collect();
        let mut checksums = LogChecksum::default();
        for event in events {
            let is_its =
                takes.contains(&event.stream.category) && self.partition.contains(&event.stream);
            if is_its && !aside.contains(&event.position) {
                checksums.add(&event.stream, event.version);
            }
        }
        Ok(checksums)
    }

    /// Waits until the restored log is accepted, in any process. Waits forever if the follower has
    /// stopped for another reason.
    pub(crate) async fn until_restored_log_is_accepted(&self) {
        let stopped = self.status.borrow().state.stopped().cloned();
        let went_back = stopped.filter(|failure| {
            matches!(
                failure.source.downcast_ref::<StoreError>(),
                Some(StoreError::LogWentBack { .. })
            )
        });
        if went_back.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(ACCEPTED_LOOK_INTERVAL).await;
            // An error only means that the store does not answer now; the loop asks again.
            if let Ok(true) = self.has_accepted_its_log().await {
                self.resume();
                return;
            }
        }
    }

    /// Returns `true` if the follower was moved to a position that the log has, or if another
    /// generation has replaced that of a read model. A log that has grown beyond the position is
    /// not enough: an earlier release did not store which event it saw there.
    async fn has_accepted_its_log(&self) -> Result<bool, StoreError> {
        let stopped_at = self.cursor.lock().await.revision();
        let (home, follower, upstream) = self.home();
        let follower_notes = home
            .notes(NotesQuery::new(follower, upstream, "").limit(0))
            .await?;
        let is_moved = follower_notes.revision != stopped_at;
        Ok(follower_notes.position == RETIRED
            || is_moved && self.end_of_restored_log(&follower_notes).await?.is_none())
    }
}

/// Removes the notes about parked and discarded events after `to`, and the records about them.
fn forget_parked(notes: &mut BTreeMap<String, String>, to: Position) -> Result<(), StoreError> {
    let mut waiting: HashMap<StreamId, u64> = HashMap::new();
    let mut forgotten = Vec::new();
    for (key, note) in &*notes {
        let is_lost = if key.starts_with(notes::HELD) {
            let held: HeldEvent = read(note)?;
            let is_lost = held.position > to;
            *waiting.entry(held.stream).or_default() += u64::from(!is_lost);
            is_lost
        } else if key.starts_with(notes::DROPPED) {
            read::<HeldEvent>(note)?.position > to
        } else if key.starts_with(notes::PARKING_RECORDS) {
            read::<ParkingRecord>(note)?.position > to
        } else {
            key.starts_with(notes::PARKED) && read::<Parked>(note)?.position > to
        };
        if is_lost {
            forgotten.push(key.clone());
        }
    }
    forgotten.iter().for_each(|key| drop(notes.remove(key)));
    for (_, note) in notes
        .iter_mut()
        .filter(|(key, _)| key.starts_with(notes::PARKED))
    {
        let parked: Parked = read(note)?;
        // The first held event of a stream is the one that failed; the others wait behind it.
        let waiting = waiting
            .get(&parked.stream)
            .map_or(0, |held| held.saturating_sub(1));
        *note = write(&Parked { waiting, ..parked });
    }
    Ok(())
}

/// Adds to a step the changes that turn the notes `before` into those `after`.
fn step_between(
    mut step: Tracking,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Tracking {
    for (key, note) in after
        .iter()
        .filter(|(key, note)| before.get(*key) != Some(note))
    {
        step = step.with_note(key, note);
    }
    before
        .keys()
        .filter(|key| !after.contains_key(*key))
        .fold(step, Tracking::without_note)
}
