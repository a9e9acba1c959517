//! [`Cursor`]: where a follower is, as far as this process knows, and the next step from there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::followed_events::{EventNames, FollowedEvents, RecordedEvents};
use crate::LogPages;
use crate::store::{
    Cut, Epoch, EventRef, EventStore, KnownPlace, LeaseToken, LogChecksum, LogId, LogSlice, Name,
    NotesQuery, Position, Revision, StoreError, StoredEvent, Tracking,
};
use crate::system::notes::{self, RETIRED};
use crate::system::parking::{NotesOf, ParkedChange, ParkedStreams};

/// Where the follower is.
pub(crate) struct Cursor {
    follower: Name,
    upstream: LogId,
    /// The position the store knows: that of an event, unless an earlier release has written it.
    stored: Position,
    /// The last event it has seen, as the store knows it. `None`: it is not known which one that was.
    last_event: Option<EventRef>,
    revision: Revision,
    /// The epoch of its home in which all of this was read.
    home_epoch: Epoch,
    /// The epoch of the log in which it is proven that the log has not gone back behind it. `None`: it is not.
    proven: Option<Epoch>,
    is_fresh: bool,
    /// Everything up to here is dealt with or passed over.
    pub(crate) reached: Position,
    /// The lease under which it works, if any.
    pub(crate) lease: Option<LeaseToken>,
    /// The cut on which each step relies, if the follower may be cut.
    cut: Option<Cut>,
    /// How many events are dealt with at once. Halved when that fails, doubled when it goes well.
    pub(crate) events: usize,
    /// What has been dealt with in the slice that may still grow.
    checksums: BTreeMap<LogSlice, LogChecksum>,
    /// The streams whose events it holds back.
    pub(in crate::system) parked: ParkedStreams,
    /// How many timers are parked at most, if that is known.
    pub(in crate::system) parked_timers: Option<usize>,
    /// The events it takes, as far as they are recorded.
    pub(in crate::system) recorded: Option<RecordedEvents>,
    /// The recorded events that this release does not know and would pass over.
    pub(in crate::system) unknown_events: EventNames,
    /// The log from where the last page ended.
    pub(in crate::system) pages: Option<LogPages>,
}

/// A step, and what the cursor is after it.
pub(crate) struct NextStep {
    pub(crate) tracking: Tracking,
    pub(in crate::system) checksums: BTreeMap<LogSlice, LogChecksum>,
    pub(in crate::system) parked: ParkedChange,
}

impl Cursor {
    /// Where the store says that the follower is.
    pub(crate) async fn load(
        home: &dyn EventStore,
        follower: Name,
        upstream: LogId,
        events: usize,
        followed: &FollowedEvents,
    ) -> Result<Self, StoreError> {
        loop {
            let home_epoch = home.epoch();
            let stored = home.tracking(&follower, upstream).await?;
            let slice = LogSlice::of(stored);
            let book = home
                .notes(NotesQuery::new(
                    follower.clone(),
                    upstream,
                    notes::checksums(slice),
                ))
                .await?;
            let notes = NotesOf {
                home,
                follower: follower.clone(),
                upstream,
            };
            let parked = notes.parked_at(book.revision).await?;
            let events_book = home
                .notes(NotesQuery::new(follower.clone(), upstream, notes::EVENTS).limit(1))
                .await?;
            let has_not_moved = book.position == stored && book.revision == events_book.revision;
            // Otherwise it moved in between.
            let is_of_one_moment = has_not_moved && home.epoch() == home_epoch;
            if let (true, Some(parked)) = (is_of_one_moment, parked) {
                let recorded = events_book
                    .notes
                    .get(notes::EVENTS)
                    .map(|note| read_events(note))
                    .transpose()?;
                let checksums = book
                    .notes
                    .into_values()
                    .map(|note| Ok((slice, read_checksum(&note)?)));
                let checksums = checksums.collect::<Result<_, StoreError>>()?;
                let revision = book.revision;
                let lease = None;
                let reached = stored;
                let pages = None;

                let mut cursor = Self {
                    follower,
                    upstream,
                    stored,
                    last_event: book.last_event,
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

    /// Has each step rely on this cut.
    pub(in crate::system) fn with_cut(self, cut: Option<Cut>) -> Self {
        Self { cut, ..self }
    }

    /// This is recorded as what the follower takes.
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

    /// How many steps the follower has made, as far as this process knows.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Where the log must not have gone back to, and the event that proves it.
    pub(in crate::system) fn place(&self) -> KnownPlace {
        KnownPlace::new(self.stored, self.last_event)
    }

    /// Returns `true` if nothing may have been lost since its place was proven, neither in the log nor at home.
    pub(in crate::system) fn is_proven(&self, home: Epoch, upstream: Epoch) -> bool {
        self.home_epoch == home && self.proven == Some(upstream)
    }

    /// Returns `true` as long as nobody has tried to prove it.
    pub(in crate::system) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Makes sure that the log has not gone back behind its place.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: it has.
    pub(in crate::system) async fn verify(
        &mut self,
        log: &dyn EventStore,
    ) -> Result<(), StoreError> {
        self.is_fresh = false;
        if self.stored == RETIRED {
            self.proven = Some(log.epoch());
            return Ok(());
        }
        let proof = self.place().verify(log).await?;
        self.proven = Some(proof.epoch);
        // A step of an earlier release has not said which event it was.
        self.last_event = self.last_event.or(proof.event);
        Ok(())
    }

    pub(in crate::system) fn proven(&self) -> Option<Epoch> {
        self.proven
    }

    /// The step to `event`, the last one that was seen, that goes with having dealt with these events.
    pub(crate) fn step_to(&self, event: &StoredEvent, dealt_with: &[StoredEvent]) -> NextStep {
        let to = EventRef::of(event, self.upstream);
        self.step_counting(Some(to), dealt_with, &self.checksums)
    }

    /// A step that stays where it is.
    pub(crate) fn step_in_place(&self) -> NextStep {
        self.step_counting(None, &[], &self.checksums)
    }

    /// A step ends at an event, so that it can be proven later that the log still has it.
    fn step_counting(
        &self,
        to: Option<EventRef>,
        dealt_with: &[StoredEvent],
        known: &BTreeMap<LogSlice, LogChecksum>,
    ) -> NextStep {
        let mut checksums = BTreeMap::new();
        for event in dealt_with {
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

    /// A step that changes notes only. It is made under no lease: the revision is the stronger guard, and whoever
    /// runs the follower may be another process.
    pub(crate) fn notes_step(&self) -> NextStep {
        let mut step = self.step_in_place();
        step.tracking.lease = None;
        step
    }

    /// As [`notes_step`](Self::notes_step), with having dealt with events that were passed over before.
    pub(crate) async fn late_step(
        &self,
        home: &dyn EventStore,
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

    /// The step has been made.
    pub(crate) fn done(&mut self, step: NextStep) {
        self.stored = step.tracking.to;
        self.last_event = step.tracking.last_event;
        self.reached = self.reached.max(self.stored);
        self.revision = self.revision.next();
        self.checksums.extend(step.checksums);
        step.parked.carry_out(&mut self.parked);
        let open = LogSlice::of(self.stored);
        self.checksums.retain(|slice, _| *slice >= open);
    }

    /// How far the follower has come since its last step.
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

/// The note of a slice: its key, and the checksums.
#[cfg(feature = "archive")]
pub(crate) fn checksum_note(slice: LogSlice, checksums: &LogChecksum) -> (String, String) {
    (notes::checksums(slice), write_checksum(checksums))
}

pub(in crate::system) fn write_checksum(checksums: &LogChecksum) -> String {
    serde_json::to_string(checksums).expect("a checksum is a number and a text")
}
