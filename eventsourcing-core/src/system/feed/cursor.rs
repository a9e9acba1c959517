//! [`Cursor`]: where a follower is, as far as this process knows, and the next step from there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::parked::{NotesOf, ParkedChange, ParkedStreams};
use crate::LogPages;
use crate::store::{
    EventStore, Figures, LeaseToken, LogId, Name, NotesQuery, Position, Revision, Slice, StoreError, StoredEvent,
    Tracking,
};

/// Under which key a follower notes the figures of what it has dealt with in a slice.
pub(crate) const FIGURES_KEYS: &str = "figures/";

/// The key of a slice; the keys are in the order of the slices.
pub(crate) fn figures_key(slice: Slice) -> String {
    format!("{FIGURES_KEYS}{:015}", slice.as_u64())
}

/// Where the follower is.
pub(crate) struct Cursor {
    follower: Name,
    upstream: LogId,
    /// The position the store knows.
    stored: Position,
    revision: Revision,
    /// Everything up to here is dealt with or passed over.
    pub(crate) reached: Position,
    /// The lease under which it works, if any.
    pub(crate) lease: Option<LeaseToken>,
    /// How many events are dealt with at once. Halved when that fails, doubled when it goes well.
    pub(crate) events: usize,
    /// What has been dealt with in the slice that may still grow.
    figures: BTreeMap<Slice, Figures>,
    /// The streams whose events it holds back.
    pub(super) parked: ParkedStreams,
    /// How many timers are parked at most, if that is known.
    pub(super) parked_timers: Option<usize>,
    /// The log from where the last page ended.
    pub(super) pages: Option<LogPages>,
}

/// A step, and what the cursor is after it.
pub(crate) struct NextStep {
    pub(crate) tracking: Tracking,
    pub(super) figures: BTreeMap<Slice, Figures>,
    pub(super) parked: ParkedChange,
}

impl Cursor {
    /// Where the store says that the follower is.
    pub(crate) async fn load(
        home: &dyn EventStore,
        follower: Name,
        upstream: LogId,
        events: usize,
    ) -> Result<Self, StoreError> {
        loop {
            let stored = home.tracking(&follower, upstream).await?;
            let slice = Slice::of(stored);
            let book = home.notes(NotesQuery::new(follower.clone(), upstream, figures_key(slice))).await?;
            let notes = NotesOf { home, follower: follower.clone(), upstream };
            let parked = notes.parked_at(book.revision).await?;
            // Otherwise it moved in between.
            if let (true, Some(parked)) = (book.position == stored, parked) {
                let figures = book.notes.into_values().map(|note| Ok((slice, read_figures(&note)?)));
                let figures = figures.collect::<Result<_, StoreError>>()?;
                let (revision, lease, reached, pages) = (book.revision, None, stored, None);
                return Ok(Self {
                    follower,
                    upstream,
                    stored,
                    revision,
                    reached,
                    lease,
                    events,
                    figures,
                    parked,
                    parked_timers: None,
                    pages,
                });
            }
        }
    }

    /// How many steps the follower has made, as far as this process knows.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The step to `to` that goes with having dealt with these events.
    pub(crate) fn step(&self, to: Position, dealt_with: &[StoredEvent]) -> NextStep {
        self.step_counting(to, dealt_with, &self.figures)
    }

    fn step_counting(&self, to: Position, dealt_with: &[StoredEvent], known: &BTreeMap<Slice, Figures>) -> NextStep {
        let mut figures = BTreeMap::new();
        for event in dealt_with {
            let slice = Slice::of(event.position);
            let known = || known.get(&slice).copied().unwrap_or_default();
            figures.entry(slice).or_insert_with(known).add(&event.stream, event.version);
        }
        let step = Tracking::new(self.follower.clone(), self.upstream, self.stored, to)
            .with_lease(self.lease)
            .with_revision(self.revision);
        let tracking = figures
            .iter()
            .fold(step, |step, (slice, figures)| step.with_note(figures_key(*slice), write_figures(figures)));
        NextStep { tracking, figures, parked: ParkedChange::default() }
    }

    /// A step that changes notes only. It is made under no lease: the revision is the stronger guard, and whoever
    /// runs the follower may be another process.
    pub(crate) fn notes_step(&self) -> NextStep {
        let mut step = self.step(self.reached, &[]);
        step.tracking.lease = None;
        step
    }

    /// As [`notes_step`](Self::notes_step), with having dealt with events that were passed over before.
    pub(crate) async fn late_step(
        &self,
        home: &dyn EventStore,
        events: &[StoredEvent],
    ) -> Result<NextStep, StoreError> {
        let mut known = self.figures.clone();
        for slice in events.iter().map(|event| Slice::of(event.position)) {
            if let Entry::Vacant(entry) = known.entry(slice) {
                let query = NotesQuery::new(self.follower.clone(), self.upstream, figures_key(slice));
                let note = home.notes(query).await?.notes.into_values().next();
                entry.insert(note.map_or(Ok(Figures::default()), |note| read_figures(&note))?);
            }
        }
        let mut step = self.step_counting(self.reached, events, &known);
        step.tracking.lease = None;
        Ok(step)
    }

    /// The step has been made.
    pub(crate) fn done(&mut self, step: NextStep) {
        (self.stored, self.reached, self.revision) = (step.tracking.to, step.tracking.to, self.revision.next());
        self.figures.extend(step.figures);
        step.parked.carry_out(&mut self.parked);
        let open = Slice::of(self.stored);
        self.figures.retain(|slice, _| *slice >= open);
    }

    /// How far the follower has come since its last step.
    pub(crate) fn unwritten(&self) -> u64 {
        self.reached.as_u64() - self.stored.as_u64()
    }
}

pub(crate) fn read_figures(note: &str) -> Result<Figures, StoreError> {
    serde_json::from_str(note)
        .map_err(|error| StoreError::corrupt(format!("the figures of a follower, {note:?}"), error))
}

/// The note of a slice: its key, and the figures.
#[cfg(feature = "archive")]
pub(crate) fn figures_note(slice: Slice, figures: &Figures) -> (String, String) {
    (figures_key(slice), write_figures(figures))
}

fn write_figures(figures: &Figures) -> String {
    serde_json::to_string(figures).expect("figures are a number and a text")
}
