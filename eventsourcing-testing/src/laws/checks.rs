//! The checks of the laws: each function checks one law on one history.

use std::error::Error;

use eventsourcing_core::private::testing::{
    LoadError, check_read_back, encode_pending, encode_snapshot, encode_unread, fold_loaded,
};
use eventsourcing_core::store::{
    Loaded, LoadedEvent, Name, NewEvent, Position, StoredEvent, StoredSnapshot, Version,
};
use eventsourcing_core::{Aggregate, Codec, CodecError, Event, Id, Root};
use serde_json::Value;

use super::sample::stored;
use super::view::{Printer, View, is_same, sorted};

/// A history that was recorded, encoded as it would be stored.
pub(super) struct Recording {
    /// The state of the root that has recorded the events.
    pub(super) view: View,
    stored: Vec<StoredEvent>,
}

impl Recording {
    pub(super) fn of<A: Aggregate>(
        events: &[A::Event],
        printer: Option<Printer<A>>,
    ) -> Result<Self, String> {
        let root = Root::<A>::with_id(
            id(),
            events.iter().map(Event::duplicate).collect::<Vec<_>>(),
        );
        let encoded = encode_pending(&root).map_err(|error| with_causes(&error))?;
        let stored = encoded
            .into_iter()
            .zip(1..)
            .map(|(event, version)| to_stored::<A>(event, version))
            .collect();
        Ok(Self {
            view: View::of(&*root, printer)?,
            stored,
        })
    }

    /// Checks that a replay gives the recorded state.
    pub(super) fn check_replay<A: Aggregate>(
        &self,
        printer: Option<Printer<A>>,
    ) -> Result<(), String> {
        for _ in 0..2 {
            let replayed = self.replay::<A>(printer)?;
            if !self.view.is_same(&replayed) {
                let recorded = self.view.shown(&replayed);
                let replayed = replayed.shown(&self.view);

                return Err(format!(
                    "the state that recorded them is {recorded}, and the state replayed is {replayed}"
                ));
            }
        }
        Ok(())
    }

    fn replay<A: Aggregate>(&self, printer: Option<Printer<A>>) -> Result<View, String> {
        View::of(&*load::<A>(None, &self.stored)?, printer)
    }

    /// Checks at every version that a snapshot and the events after it give the same state as all events.
    pub(super) fn check_snapshots<A: Aggregate>(
        &self,
        printer: Option<Printer<A>>,
    ) -> Result<(), String> {
        let whole = self.replay::<A>(printer)?;
        for at in 1..=self.stored.len() {
            let (before, after) = self.stored.split_at(at);
            let root = load::<A>(None, before)?;
            let snapshot = encode_snapshot(&root).map_err(|error| with_causes(&error))?;
            let view = View::of(&*load::<A>(Some(snapshot), after)?, printer)?;
            if !view.is_same(&whole) {
                let shown_view = view.shown(&whole);
                let shown_whole = whole.shown(&view);
                return Err(format!(
                    "a snapshot at version {at} and the events after it make {shown_view}, and all events make {shown_whole}"
                ));
            }
        }
        Ok(())
    }
}

/// Checks that every event is read as it was written.
pub(super) fn check_codec<A: Aggregate>(events: &[A::Event]) -> Result<(), String> {
    for event in events {
        let event_type = event.event_type();
        let name = Name::from_static(event_type.name);
        let payload = encode_unread(event).map_err(|error| with_causes(&error))?;
        let written = stored(A::NAME, name, event_type.version, Codec::Json, payload);
        let read = read_twice::<A::Event>(&written)?;
        let [(index, payload)] = &*read else {
            return Err(format!("{} is read as {} events", written.name, read.len()));
        };
        let value = Codec::decode_value(&written).map_err(|error| with_causes(&error))?;
        let again = || {
            read_once::<A::Event>(&written)
                .ok()
                .and_then(|mut read| Some(read.pop()?.1))
        };
        if *index != event.index() || !is_same(payload, &value, again) {
            let read = A::Event::TYPES[*index].name;
            return Err(format!(
                "{} {value} is written, and {read} {payload} is read",
                written.name
            ));
        }
        read_back(event)?;
    }
    Ok(())
}

/// Checks that every codec reads the event back. The comparison is not only of JSON values, in which `Some(None)` looks like
/// `None`.
fn read_back<E: Event>(event: &E) -> Result<(), String> {
    Codec::ALL.iter().try_for_each(|codec| {
        check_read_back(*codec, event)
            .map_err(|error| format!("by the codec {codec:?}, {}", with_causes(&error)))
    })
}

/// Reads a stored event twice and returns the types and fields of the result.
///
/// # Errors
/// The event cannot be read, or is read differently the second time.
pub(super) fn read_twice<E: Event>(stored: &StoredEvent) -> Result<Vec<(usize, Value)>, String> {
    let once = read_once::<E>(stored)?;
    let again = read_once::<E>(stored)?;

    let is_same =
        |((index, payload), (index_again, payload_again)): (&(usize, Value), &(usize, Value))| {
            index == index_again && sorted(payload) == sorted(payload_again)
        };
    match once.len() == again.len() && once.iter().zip(&again).all(is_same) {
        true => Ok(once),
        false => Err(format!(
            "{} is read as {}, and read again as {}",
            stored.name,
            shown(&once),
            shown(&again)
        )),
    }
}

fn read_once<E: Event>(stored: &StoredEvent) -> Result<Vec<(usize, Value)>, String> {
    let read = || -> Result<Vec<_>, CodecError> {
        let values = Codec::decode_events::<E>(stored)?.map(|event| {
            let payload = stored_as_json(stored, encode_unread(&event)?);
            Ok((event.index(), Codec::decode_value(&payload)?))
        });
        values.collect()
    };
    read().map_err(|error| with_causes(&error))
}

fn shown(read: &[(usize, Value)]) -> String {
    read.iter()
        .map(|(_, payload)| payload.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn stored_as_json(of: &StoredEvent, payload: Vec<u8>) -> StoredEvent {
    StoredEvent {
        codec: Codec::Json.id(),
        payload,
        ..of.clone()
    }
}

fn id<A: Aggregate>() -> Id<A> {
    Id::from_uuid(super::texts::known_id(0))
}

fn to_stored<A: Aggregate>(event: NewEvent, version: u64) -> StoredEvent {
    let NewEvent {
        name,
        schema_version,
        codec,
        payload,
        metadata,
    } = event;
    let position = Position::new(version);
    let stream = id::<A>().stream();

    let version = Version::new(version);
    let recorded_at = jiff::Timestamp::UNIX_EPOCH;

    StoredEvent {
        position,
        stream,
        version,
        recorded_at,
        name,
        schema_version,
        codec,
        payload,
        metadata,
    }
}

fn load<A: Aggregate>(
    snapshot: Option<StoredSnapshot>,
    events: &[StoredEvent],
) -> Result<Root<A>, String> {
    let loaded = Loaded {
        snapshot,
        events: events.iter().map(LoadedEvent::from).collect(),
    };
    match fold_loaded(id(), loaded) {
        Ok(Some(root)) => Ok(root),
        Ok(None) => Err("nothing is there to load".into()),
        Err(LoadError::Store(error)) => {
            Err(format!("they cannot be loaded: {}", with_causes(&error)))
        }
        Err(LoadError::Snapshot(error)) => Err(format!(
            "the snapshot cannot be read: {}",
            with_causes(&error)
        )),
    }
}

/// An error and what caused it.
pub(super) fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}
