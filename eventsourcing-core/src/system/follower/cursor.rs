//! [`Cursor`]: the position of a follower as this process knows it, and the next step from there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::followed_events::{EventNames, FollowedEvents, RecordedEvents};
use crate::LogPages;
use crate::store::{
    Cut, Epoch, EventRef, FollowerStore, KnownPlace, LeaseToken, LogChecksum, LogId, LogSlice,
    Name, NotesQuery, Position, Revision, StoreError, StoredEvent, Tracking,
};
use crate::system::notes::{self, RETIRED};
use crate::system::parking::{NotesReader, ParkedChange, ParkedStreams};

/// The position of a follower, with the notes that its next step depends on.
pub(crate) struct Cursor {
    follower: Name,
    upstream: LogId,
    /// The stored position: that of an event, unless an earlier release has written it.
    stored: Position,
    /// The last event that the follower has seen, as stored; `None` if an earlier release has not
    /// stored it.
    last_event: Option<EventRef>,
    revision: Revision,
    /// The epoch of the home store in which the cursor was loaded.
    home_epoch: Epoch,
    /// The epoch of the log in which it is proven that the log still has the last event; `None` if
    /// that is not proven.
    proven: Option<Epoch>,
    /// No proof has been tried yet.
    is_fresh: bool,
    /// The position up to which all events are processed or skipped. It can be beyond the stored
    /// one.
    pub(crate) reached: Position,
    /// The lease under which the follower works, if any.
    pub(crate) lease: Option<LeaseToken>,
    /// The number of partitions that each step names, if the follower can be partitioned.
    cut: Option<Cut>,
    /// The number of events in one piece. It is halved after a failure and doubled after a success.
    pub(crate) events: usize,
    /// The checksums of the processed events in the slices that can still grow.
    checksums: BTreeMap<LogSlice, LogChecksum>,
    /// The parked streams, whose events are held back.
    pub(in crate::system) parked: ParkedStreams,
    /// An upper bound for the number of parked timers, if one is known.
    pub(in crate::system) parked_timers: Option<usize>,
    /// The recorded set of events that the follower takes.
    pub(in crate::system) recorded: Option<RecordedEvents>,
    /// The events of that set that this release does not know and would skip.
    pub(in crate::system) unknown_events: EventNames,
    /// The reader of the log, at the end of the last page.
    pub(in crate::system) pages: Option<LogPages>,
}

/// A step, and the changes of the cursor once it is made.
pub(crate) struct NextStep {
    pub(crate) tracking: Tracking,
    pub(in crate::system) checksums: BTreeMap<LogSlice, LogChecksum>,
    pub(in crate::system) parked: ParkedChange,
}

impl Cursor {
    /// Loads the cursor from the store.
    ///
    /// The position and three kinds of notes have to be of one moment. No transaction spans these
    /// reads, so the loop starts over if the position, the revision or the epoch of the home store
    /// has changed between the first and the last.
    pub(crate) async fn load(
        home: &dyn FollowerStore,
        follower: Name,
        upstream: LogId,
        events: usize,
        followed: &FollowedEvents,
    ) -> Result<Self, StoreError> {
        loop {
            let home_epoch = home.epoch();
            let stored = home.tracking(&follower, upstream).await?;
            let slice = LogSlice::of(stored);
            let follower_notes = home
                .notes(NotesQuery::new(
                    follower.clone(),
                    upstream,
                    notes::checksums(slice),
                ))
                .await?;
            let notes = NotesReader {
                home,
                follower: follower.clone(),
                upstream,
            };
            let parked = notes.parked_at(follower_notes.revision).await?;
            let event_notes = home
                .notes(NotesQuery::new(follower.clone(), upstream, notes::EVENTS).limit(1))
                .await?;
            let has_not_moved = follower_notes.position == stored
                && follower_notes.revision == event_notes.revision;
            let is_of_one_moment = has_not_moved && home.epoch() == home_epoch;
            if let (true, Some(parked)) = (is_of_one_moment, parked) {
                let recorded = event_notes
                    .notes
                    .get(notes::EVENTS)
                    .map(|note| read_events(note))
                    .transpose()?;
                let checksums = follower_notes
                    .notes
                    .into_values()
                    .map(|note| Ok((slice, read_checksum(&note)?)));
                let checksums = checksums.collect::<Result<_, StoreError>>()?;
                let revision = follower_notes.revision;
                let lease = None;
                let reached = stored;
                let pages = None;

                let mut cursor = Self {
                    follower,
                    upstream,
                    stored,
                    last_event: follower_notes.last_event,
                    revision,
                    home_epoch,
                    proven: None,
                    is_fresh: true,
                    reached,
                    lease,
                    cut: None,
                    events,
                    checksums,
                    parked,
                    parked_timers: None,
                    recorded: None,
                    unknown_events: EventNames::new(),
                    pages,
                };
                cursor.take_note_of(recorded, followed);
                return Ok(cursor);
            }
        }
    }

    /// Makes each step name this cut.
    pub(in crate::system) fn with_cut(self, cut: Option<Cut>) -> Self {
        Self { cut, ..self }
    }

    /// Takes over the recorded set of events.
    pub(in crate::system) fn take_note_of(
        &mut self,
        recorded: Option<RecordedEvents>,
        followed: &FollowedEvents,
    ) {
        self.unknown_events = recorded
            .as_ref()
            .map(|recorded| followed.unknown_in(recorded))
            .unwrap_or_default();
        self.recorded = recorded;
    }

    /// Returns the number of steps that the follower has made, as far as this process knows.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the stored position and the event there, by which the log can be checked.
    pub(in crate::system) fn place(&self) -> KnownPlace {
        KnownPlace::new(self.stored, self.last_event)
    }

    /// Returns `true` if the position is proven in the present epochs of the log and of the home
    /// store.
    pub(in crate::system) fn is_proven(&self, home: Epoch, upstream: Epoch) -> bool {
        self.home_epoch == home && self.proven == Some(upstream)
    }

    /// Returns `true` until the first attempt at a proof.
    pub(in crate::system) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Proves that the log still has the last event that the follower has seen.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: the log has lost that event.
    pub(in crate::system) async fn verify(
        &mut self,
        log: &dyn FollowerStore,
    ) -> Result<(), StoreError> {
        self.is_fresh = false;
        if self.stored == RETIRED {
            self.proven = Some(log.epoch());
            return Ok(());
        }
        let proof = self.place().verify(log).await?;
        self.proven = Some(proof.epoch);
        // A step of an earlier release did not store the event. The one that is there now is what
        // later proofs rely on.
        self.last_event = self.last_event.or(proof.event);
        Ok(())
    }

    pub(in crate::system) fn proven(&self) -> Option<Epoch> {
        self.proven
    }

    /// Returns the step to `event`, the last one seen, together with the checksums of the processed
    /// events.
    pub(crate) fn step_to(&self, event: &StoredEvent, processed: &[StoredEvent]) -> NextStep {
        let to = EventRef::of(event, self.upstream);
        self.step_counting(Some(to), processed, &self.checksums)
    }

    /// Returns a step that leaves the position where it is.
    pub(crate) fn step_in_place(&self) -> NextStep {
        self.step_counting(None, &[], &self.checksums)
    }

    /// Returns a step that ends at an event, so that it can be proven later that the log still has
    /// it.
    fn step_counting(
        &self,
        to: Option<EventRef>,
        processed: &[StoredEvent],
        known: &BTreeMap<LogSlice, LogChecksum>,
    ) -> NextStep {
        let mut checksums = BTreeMap::new();
        for event in processed {
            let slice = LogSlice::of(event.position);
            let known = || known.get(&slice).copied().unwrap_or_default();
            checksums
                .entry(slice)
                .or_insert_with(known)
                .add(&event.stream, event.version);
        }
        let end = to.map_or(self.stored, |event| event.position);
        let step = Tracking::new(self.follower.clone(), self.upstream, self.stored, end)
            .with_last_event(to.or(self.last_event))
            .with_lease(self.lease)
            .with_cut(self.cut.clone())
            .with_revision(self.revision)
            .in_epoch(self.home_epoch);
        let tracking = checksums.iter().fold(step, |step, (slice, checksums)| {
            step.with_note(notes::checksums(*slice), write_checksum(checksums))
        });
        NextStep {
            tracking,
            checksums,
            parked: ParkedChange::default(),
        }
    }

    /// Returns a step that changes notes only. It names no lease, since another process may hold
    /// it; the revision is the stronger guard.
    pub(crate) fn notes_step(&self) -> NextStep {
        let mut step = self.step_in_place();
        step.tracking.lease = None;
        step
    }

    /// Like [`notes_step`](Self::notes_step), and counts events that are processed after the
    /// position has passed them. Their slices may be closed, so the checksums of those are read
    /// first.
    pub(crate) async fn late_step(
        &self,
        home: &dyn FollowerStore,
        events: &[StoredEvent],
    ) -> Result<NextStep, StoreError> {
        let mut known = self.checksums.clone();
        for slice in events.iter().map(|event| LogSlice::of(event.position)) {
            if let Entry::Vacant(entry) = known.entry(slice) {
                let query = NotesQuery::new(
                    self.follower.clone(),
                    self.upstream,
                    notes::checksums(slice),
                );
                let note = home.notes(query).await?.notes.into_values().next();
                entry.insert(note.map_or(Ok(LogChecksum::default()), |note| read_checksum(&note))?);
            }
        }
        let mut step = self.step_counting(None, events, &known);
        step.tracking.lease = None;
        Ok(step)
    }

    /// Advances the cursor over a step that the store has accepted.
    pub(crate) fn done(&mut self, step: NextStep) {
        self.stored = step.tracking.to;
        self.last_event = step.tracking.last_event;
        self.reached = self.reached.max(self.stored);
        self.revision = self.revision.next();
        self.checksums.extend(step.checksums);
        step.parked.carry_out(&mut self.parked);
        // Only late steps add to slices before that of the stored position, and those read the
        // checksums from the store.
        let open = LogSlice::of(self.stored);
        self.checksums.retain(|slice, _| *slice >= open);
    }

    /// Returns the number of positions that the follower has skipped since its last stored step.
    pub(crate) fn unwritten(&self) -> u64 {
        self.reached.as_u64() - self.stored.as_u64()
    }
}

fn read_events(note: &str) -> Result<RecordedEvents, StoreError> {
    serde_json::from_str(note).map_err(|error| {
        StoreError::corrupt(format!("the events that a follower takes, {note:?}"), error)
    })
}

pub(crate) fn read_checksum(note: &str) -> Result<LogChecksum, StoreError> {
    serde_json::from_str(note).map_err(|error| {
        StoreError::corrupt(format!("the checksums of a follower, {note:?}"), error)
    })
}

/// Returns the key and the text of the note of a slice.
#[must_use]
pub fn checksum_note(slice: LogSlice, checksums: &LogChecksum) -> (String, String) {
    (notes::checksums(slice), write_checksum(checksums))
}

pub(in crate::system) fn write_checksum(checksums: &LogChecksum) -> String {
    serde_json::to_string(checksums).expect("a checksum is a number and a text")
}
