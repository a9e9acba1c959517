//! The notes of a follower about parked events: one for each stream with a failed event, and one
//! for each event of such a stream that waits. Retrying them is the task of `retry.rs`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Codec;
use crate::store::{
    FollowerStore, LogId, Name, NotesQuery, Position, Revision, StoreError, StoredEvent, StreamId,
    Tracking, Version,
};
use crate::system::notes;
use crate::system::{Parked, ParkingAction, ParkingRecord};

/// The number of notes that are read at once.
const NOTES_PER_PAGE: usize = 1_000;

/// The parked streams of a follower.
pub(in crate::system) type ParkedStreams = HashMap<StreamId, Parked>;

/// An event of a parked stream that waits or was discarded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeldEvent {
    #[serde(flatten)]
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) position: Position,
}

impl HeldEvent {
    pub(in crate::system) fn of(event: &StoredEvent) -> Self {
        Self {
            stream: event.stream.clone(),
            version: event.version,
            position: event.position,
        }
    }
}

/// The changes that a step makes to the parked streams.
#[derive(Default)]
pub(in crate::system) struct ParkedChange(HashMap<StreamId, Option<Parked>>);

impl ParkedChange {
    /// Applies the changes after the step was made.
    pub(in crate::system) fn carry_out(self, streams: &mut ParkedStreams) {
        for (stream, parked) in self.0 {
            match parked {
                Some(parked) => drop(streams.insert(stream, parked)),
                None => drop(streams.remove(&stream)),
            }
        }
    }

    /// Parks a stream, or changes the note of one that is parked.
    pub(in crate::system) fn put(&mut self, step: Tracking, parked: Parked) -> Tracking {
        let step = step.with_note(notes::parked(&parked.stream), write(&parked));
        self.0.insert(parked.stream.clone(), Some(parked));
        step
    }

    /// Parks the stream of an event that failed.
    pub(in crate::system) fn park(
        &mut self,
        step: Tracking,
        event: &StoredEvent,
        parked: Parked,
    ) -> Tracking {
        let held = HeldEvent::of(event);
        self.put(
            step.with_note(notes::held(&held.stream, held.version), write(&held)),
            parked,
        )
    }

    /// Lets these events wait behind the failed one of their stream.
    pub(in crate::system) fn hold<'a>(
        &mut self,
        streams: &ParkedStreams,
        mut step: Tracking,
        events: impl IntoIterator<Item = &'a StoredEvent>,
    ) -> Tracking {
        for event in events {
            let known = self
                .0
                .get(&event.stream)
                .cloned()
                .flatten()
                .or_else(|| streams.get(&event.stream).cloned());
            let mut parked = known.expect("only events of parked streams are held");
            parked.waiting += 1;
            let held = HeldEvent::of(event);
            step = self.put(
                step.with_note(notes::held(&held.stream, held.version), write(&held)),
                parked,
            );
        }
        step
    }

    /// Removes the note of an event, which no longer waits.
    pub(in crate::system) fn release(step: Tracking, event: &StoredEvent) -> Tracking {
        step.without_note(notes::held(&event.stream, event.version))
    }

    /// Ends the parking of a stream, of which no event waits any more.
    pub(in crate::system) fn end(&mut self, step: Tracking, stream: &StreamId) -> Tracking {
        self.0.insert(stream.clone(), None);
        step.without_note(notes::parked(stream))
    }
}

/// Separates the events whose streams are not parked from those whose streams are.
pub(in crate::system) fn sort_out<'a>(
    streams: &ParkedStreams,
    events: &'a [StoredEvent],
) -> (Cow<'a, [StoredEvent]>, Vec<&'a StoredEvent>) {
    if streams.is_empty() {
        return (Cow::Borrowed(events), Vec::new());
    }
    let (held, free): (Vec<_>, Vec<_>) = events
        .iter()
        .partition(|event| streams.contains_key(&event.stream));
    match held.is_empty() {
        true => (Cow::Borrowed(events), held),
        false => (Cow::Owned(free.into_iter().cloned().collect()), held),
    }
}

/// Notes that an event was discarded.
pub(in crate::system) fn note_dropped(step: Tracking, event: &StoredEvent) -> Tracking {
    let held = HeldEvent::of(event);
    step.with_note(notes::dropped(held.position), write(&held))
}

/// Notes a record of a retry or discard.
pub(in crate::system) fn note_record(step: Tracking, record: &ParkingRecord) -> Tracking {
    step.with_note(
        notes::parking_record(record.at, record.position),
        write(record),
    )
}

pub(in crate::system) fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names, numbers and texts are JSON")
}

/// Reads the notes of one follower in one log.
pub(crate) struct NotesReader<'a> {
    pub(crate) home: &'a dyn FollowerStore,
    pub(crate) follower: Name,
    pub(crate) upstream: LogId,
}

impl NotesReader<'_> {
    /// Returns the parked streams, or `None` if the follower is not at `revision` any more, so that
    /// the pages could be of different moments.
    pub(in crate::system) async fn parked_at(
        &self,
        revision: Revision,
    ) -> Result<Option<ParkedStreams>, StoreError> {
        let mut streams = ParkedStreams::new();
        let mut after = String::new();
        loop {
            let follower_notes = self
                .home
                .notes(self.query(notes::PARKED).after(after).limit(NOTES_PER_PAGE))
                .await?;
            if follower_notes.revision != revision {
                return Ok(None);
            }
            let Some((last, _)) = follower_notes.notes.last_key_value() else {
                return Ok(Some(streams));
            };
            after = last.clone();
            for note in follower_notes.notes.values() {
                let parked: Parked = read(note)?;
                streams.insert(parked.stream.clone(), parked);
            }
        }
    }

    /// Returns all notes whose keys begin with `prefix`, in the order of their keys. Notes of
    /// different pages may be of different moments.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let follower_notes = self
                .home
                .notes(self.query(prefix).after(after).limit(NOTES_PER_PAGE))
                .await?;
            let Some((last, _)) = follower_notes.notes.last_key_value() else {
                return Ok(found);
            };
            after = last.clone();
            for note in follower_notes.notes.values() {
                found.push(read(note)?);
            }
        }
    }

    /// Returns the first waiting events of a stream.
    pub(in crate::system) async fn held(
        &self,
        stream: &StreamId,
        limit: usize,
    ) -> Result<Vec<HeldEvent>, StoreError> {
        let notes = self
            .home
            .notes(self.query(&notes::held_in(stream)).limit(limit))
            .await?
            .notes;
        let held = notes
            .values()
            .map(|note| read::<HeldEvent>(note))
            .collect::<Result<Vec<_>, _>>()?;
        // The keys of a category whose name goes on after a slash have the same prefix.
        Ok(held
            .into_iter()
            .filter(|held| held.stream == *stream)
            .collect())
    }

    /// Returns `true` if this event waits.
    pub(in crate::system) async fn holds(&self, event: &StoredEvent) -> Result<bool, StoreError> {
        let key = notes::held(&event.stream, event.version);
        Ok(self
            .home
            .notes(self.query(&key).limit(1))
            .await?
            .notes
            .contains_key(&key))
    }

    /// Returns the position of the follower, and `true` if it has parked streams.
    pub(in crate::system) async fn place(&self) -> Result<(Position, bool), StoreError> {
        let follower_notes = self.home.notes(self.query(notes::PARKED).limit(1)).await?;
        Ok((follower_notes.position, !follower_notes.notes.is_empty()))
    }

    /// Returns `true` if any stream is parked.
    pub(crate) async fn has_parked(&self) -> Result<bool, StoreError> {
        Ok(self.place().await?.1)
    }

    /// Returns the events that the follower has skipped or processed with another payload than that
    /// of the log.
    pub(crate) async fn exceptions(&self) -> Result<Exceptions, StoreError> {
        let dropped: Vec<HeldEvent> = self.all(notes::DROPPED).await?;
        let records: Vec<ParkingRecord> = self.all(notes::PARKING_RECORDS).await?;
        let edited = records
            .into_iter()
            .filter_map(|record| match record.action {
                ParkingAction::Edited { payload } => {
                    Some(((record.stream, record.version), payload))
                }
                _ => None,
            });
        let dropped = dropped
            .into_iter()
            .map(|held| (held.stream, held.version))
            .collect();
        Ok(Exceptions {
            dropped,
            edited: edited.collect(),
        })
    }

    fn query(&self, prefix: &str) -> NotesQuery {
        NotesQuery::new(self.follower.clone(), self.upstream, prefix)
    }
}

/// The discarded events, and those that were retried with an edited payload.
#[derive(Default)]
pub(crate) struct Exceptions {
    dropped: HashSet<(StreamId, Version)>,
    edited: HashMap<(StreamId, Version), serde_json::Value>,
}

impl Exceptions {
    /// Returns the event as the follower has processed it, or `None` if it was discarded.
    pub(crate) fn taken<'a>(&self, event: &'a StoredEvent) -> Option<Cow<'a, StoredEvent>> {
        if self.dropped.is_empty() && self.edited.is_empty() {
            return Some(Cow::Borrowed(event));
        }
        let key = (event.stream.clone(), event.version);
        match self.edited.get(&key) {
            _ if self.dropped.contains(&key) => None,
            None => Some(Cow::Borrowed(event)),
            Some(payload) => Some(Cow::Owned(edited(event.clone(), payload))),
        }
    }
}

/// Returns the event with another payload.
pub(in crate::system) fn edited(
    mut event: StoredEvent,
    payload: &serde_json::Value,
) -> StoredEvent {
    event.payload = serde_json::to_vec(payload).expect("a JSON value is JSON");
    event.codec = Codec::Json.id();
    event
}

/// Returns the events among these notes that wait or were discarded.
pub(crate) fn put_aside(
    kept: &BTreeMap<String, String>,
) -> impl Iterator<Item = Result<HeldEvent, StoreError>> {
    let is_wanted = |key: &String| key.starts_with(notes::HELD) || key.starts_with(notes::DROPPED);
    kept.iter()
        .filter(move |(key, _)| is_wanted(key))
        .map(|(_, note)| read(note))
}

pub(in crate::system) fn read<T: DeserializeOwned>(note: &str) -> Result<T, StoreError> {
    serde_json::from_str(note)
        .map_err(|error| StoreError::corrupt(format!("a note of a follower, {note:?}"), error))
}
