//! [`AggregateSchema`]: the schemas of the events of one aggregate, taken from the types.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::lock::{LockedEvent, PROBE_IN_ORDER, Sample};
use super::shape;
use crate::aggregate::names_of;
use crate::codec::Encoding;
use crate::store::StoredEvent;
use crate::{Aggregate, Codec, CodecError, Event, EventType, System};

/// The number of times that a sample is written again to find out if its text has an order.
const COPIES: usize = 16;

/// Events with schemas of their stored form. Written by [`#[event(schema)]`](macro@crate::event).
#[diagnostic::on_unimplemented(
    message = "the events `{Self}` do not say what they look like when they are stored",
    label = "write `#[event(schema)]` where `{Self}` is made"
)]
pub trait DescribedEvent: Event {
    /// Returns the JSON Schema of the payload of the event at `index` of [`TYPES`](Event::TYPES).
    fn payload_schema(index: usize, generator: &mut SchemaGenerator) -> Schema;
}

/// A system whose events all have schemas. Written by [`#[derive(System)]`](macro@crate::System)
/// with `#[system(schema)]`.
#[diagnostic::on_unimplemented(
    message = "the system `{Self}` does not say what its events look like when they are stored",
    label = "write `#[system(schema)]` on `{Self}`"
)]
pub trait DescribedSystem: System {
    /// Returns the schema of every aggregate of the system.
    fn aggregates() -> Vec<AggregateSchema>;
}

/// The schemas of the events of one aggregate.
#[derive(Clone)]
pub struct AggregateSchema {
    pub(super) name: &'static str,
    /// Every name under which its events may be stored, the current one among them.
    pub(super) names: Vec<&'static str>,
    pub(super) types: &'static [EventType],
    pub(super) former: Vec<FormerName>,
    payload: fn(usize, &mut SchemaGenerator) -> Schema,
    read: fn(&Sample) -> Result<Vec<Value>, CodecError>,
    write: fn(&Sample) -> Result<String, CodecError>,
}

/// A name under which earlier releases have stored events.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormerName {
    pub(super) name: &'static str,
    /// The index of the event that is read in its place; `None` if it is split or retired.
    pub(super) index: Option<usize>,
}

impl AggregateSchema {
    /// Returns the schemas of the events of `A`.
    #[must_use]
    pub fn of<A>() -> Self
    where
        A: Aggregate,
        A::Event: DescribedEvent,
    {
        let former = A::Event::FORMER.iter().map(|former| FormerName {
            name: former.name(),
            index: former.index(),
        });
        Self {
            name: A::NAME,
            names: names_of::<A>().collect(),
            types: A::Event::TYPES,
            former: former.collect(),
            payload: A::Event::payload_schema,
            read: read::<A>,
            write: write::<A>,
        }
    }

    /// Returns the stored name of the aggregate.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns `true` if its events may be stored under this name.
    pub(super) fn is_called(&self, aggregate: &str) -> bool {
        self.names.contains(&aggregate)
    }

    /// Returns the schema of the payloads that the type reads for the event at `index`.
    pub(super) fn described(&self, index: usize) -> Value {
        let settings = SchemaSettings::draft2020_12()
            .for_deserialize()
            .with(|settings| settings.meta_schema = None);
        let mut generator = settings.into_generator();
        let mut schema = (self.payload)(index, &mut generator);
        let definitions = generator.take_definitions(true);
        if !definitions.is_empty() {
            schema.insert("$defs".into(), Value::Object(definitions));
        }
        schema.to_value()
    }

    /// Returns the locked part of the schema: the schema without remarks.
    pub(super) fn shape(&self, index: usize) -> Value {
        shape::without_remarks(&self.described(index))
    }

    /// Returns the schema of the stored form of the event at `index`, with all remarks.
    pub(super) fn document(&self, index: usize, generator: &mut SchemaGenerator) -> Value {
        let mut schema = (self.payload)(index, generator);
        generator
            .transforms_mut()
            .for_each(|transform| transform.transform(&mut schema));
        schema.to_value()
    }

    /// Returns the index of the event among the types, if its version is the one that is written
    /// now.
    pub(super) fn current(&self, event: &LockedEvent) -> Option<usize> {
        let is_current =
            |known: &EventType| (known.name, known.version) == (&*event.event, event.version);
        self.types
            .iter()
            .position(is_current)
            .filter(|_| self.name == event.aggregate)
    }

    /// Returns the text that this release writes for an event of its current version that it reads
    /// from the sample.
    pub(super) fn written(&self, sample: &Sample) -> Result<String, CodecError> {
        (self.write)(sample)
    }

    /// Returns `true` if the sample is written as that text, in any order of the fields. Sets
    /// without an order may have another one each time.
    pub(super) fn is_written_as(&self, sample: &Sample, text: &str) -> Result<bool, CodecError> {
        let written = self.written(sample)?;
        if written == text {
            return Ok(true);
        }
        // A set without an order is written in a random one. Two elements come out alike in all the
        // copies with a probability of about one in 65,000, so equal copies mean that there is an
        // order.
        let mut others = Vec::new();
        for _ in 0..COPIES {
            others.push(self.written(sample)?);
        }
        let has_an_order = others.iter().all(|other| *other == written);
        let is_same = !has_an_order
            || serde_json::from_str::<Value>(&written).ok() == serde_json::from_str(text).ok();
        Ok(is_same && signature(&written) == signature(text))
    }

    /// Decodes a stored event, and returns the names and payloads of the events that this release
    /// reads in its place.
    pub(super) fn read(&self, sample: &Sample) -> Result<Vec<Value>, CodecError> {
        (self.read)(sample)
    }
}

impl fmt::Debug for AggregateSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateSchema")
            .field("name", &self.name)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

fn write<A: Aggregate>(sample: &Sample) -> Result<String, CodecError> {
    let read = |payload: String| {
        Codec::decode_events::<A::Event>(&StoredEvent {
            payload: payload.into_bytes(),
            ..sample.to_stored()
        })
    };
    // The probe shows features of `serde_json` that change how a `Value` is written. A type that
    // reads the sample in its place, but not the probe, is written as it is.
    let mut events = read(sample.probing()).or_else(|_| read(sample.payload.to_string()))?;
    let what = || {
        format!(
            "the sample of version {} of {}",
            sample.version, sample.event
        )
    };
    let none = || CodecError::Decode {
        what: what(),
        source: "it is decoded into no event".into(),
    };
    let written = Encoding::encode_event_unread(&events.next().ok_or_else(none)?)?;
    String::from_utf8(written).map_err(|source| CodecError::Encode {
        what: what(),
        source: source.into(),
    })
}

/// Returns the sorted characters of a text, and the number of times that a JSON value kept the
/// order of its keys. The characters tell how each value is written, independent of the order of
/// fields and of sets.
fn signature(text: &str) -> (Vec<char>, usize) {
    let mut sorted: Vec<_> = text.chars().collect();
    sorted.sort_unstable();
    (sorted, text.matches(PROBE_IN_ORDER).count())
}

fn read<A: Aggregate>(sample: &Sample) -> Result<Vec<Value>, CodecError> {
    let written = sample.decode::<A>()?.into_iter().map(|event| {
        let name = event.event_type().name;
        let payload = event.serialize_payload(serde_json::value::Serializer);
        payload.map_err(|source| CodecError::Encode {
            what: format!("event {name}"),
            source: source.into(),
        })
    });
    written.collect()
}
