//! [`AggregateSchema`]: what the events of one aggregate look like, taken from the types.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::lock::Sample;
use super::shape;
use crate::aggregate::names_of;
use crate::{Aggregate, CodecError, Event, EventType, System};

/// Events that say what they are stored as. Written by [`#[event(schema)]`](macro@crate::event).
#[diagnostic::on_unimplemented(
    message = "the events `{Self}` do not say what they look like when they are stored",
    label = "write `#[event(schema)]` where `{Self}` is made"
)]
pub trait DescribedEvent: Event {
    /// The JSON Schema of the payload of the event that stands at `index` of [`TYPES`](Event::TYPES).
    fn payload_schema(index: usize, generator: &mut SchemaGenerator) -> Schema;
}

/// A system of which all events say what they are stored as. Written by [`#[derive(System)]`](macro@crate::System) with
/// `#[system(schema)]`.
#[diagnostic::on_unimplemented(
    message = "the system `{Self}` does not say what its events look like when they are stored",
    label = "write `#[system(schema)]` on `{Self}`"
)]
pub trait DescribedSystem: System {
    /// Every aggregate of the system.
    fn aggregates() -> Vec<AggregateSchema>;
}

/// What the events of one aggregate look like.
#[derive(Clone)]
pub struct AggregateSchema {
    pub(super) name: &'static str,
    /// Every name under which its events may stand, the current one among them.
    pub(super) names: Vec<&'static str>,
    pub(super) types: &'static [EventType],
    pub(super) former: Vec<FormerName>,
    payload: fn(usize, &mut SchemaGenerator) -> Schema,
    read: fn(&Sample) -> Result<Vec<Value>, CodecError>,
}

/// A name under which earlier releases have stored events.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormerName {
    pub(super) name: &'static str,
    /// Which event is read in its place; `None` if it is split or retired.
    pub(super) index: Option<usize>,
}

impl AggregateSchema {
    /// What the events of `A` look like.
    #[must_use]
    pub fn of<A>() -> Self
    where
        A: Aggregate,
        A::Event: DescribedEvent,
    {
        let former = A::Event::FORMER.iter().map(|former| FormerName { name: former.name(), index: former.index() });
        Self {
            name: A::NAME,
            names: names_of::<A>().collect(),
            types: A::Event::TYPES,
            former: former.collect(),
            payload: A::Event::payload_schema,
            read: read::<A>,
        }
    }

    /// The stored name of the aggregate.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether its events may stand under this name.
    pub(super) fn is_called(&self, aggregate: &str) -> bool {
        self.names.contains(&aggregate)
    }

    /// What the type reads of the event at `index`.
    pub(super) fn described(&self, index: usize) -> Value {
        let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.meta_schema = None);
        let mut generator = settings.into_generator();
        let mut schema = (self.payload)(index, &mut generator);
        let definitions = generator.take_definitions(true);
        if !definitions.is_empty() {
            schema.insert("$defs".into(), Value::Object(definitions));
        }
        schema.to_value()
    }

    /// What is locked of it: the same without what is said of it.
    pub(super) fn shape(&self, index: usize) -> Value {
        shape::without_remarks(&self.described(index))
    }

    /// What the event at `index` is stored as, with all that is said of it.
    pub(super) fn document(&self, index: usize, generator: &mut SchemaGenerator) -> Value {
        let mut schema = (self.payload)(index, generator);
        generator.transforms_mut().for_each(|transform| transform.transform(&mut schema));
        schema.to_value()
    }

    /// What this release makes of a stored event: the names and payloads of the events it reads in its place.
    pub(super) fn read(&self, sample: &Sample) -> Result<Vec<Value>, CodecError> {
        (self.read)(sample)
    }
}

impl fmt::Debug for AggregateSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateSchema").field("name", &self.name).field("types", &self.types).finish_non_exhaustive()
    }
}

fn read<A: Aggregate>(sample: &Sample) -> Result<Vec<Value>, CodecError> {
    let written = sample.decode::<A>()?.into_iter().map(|event| {
        let name = event.event_type().name;
        let payload = event.serialize_payload(serde_json::value::Serializer);
        payload.map_err(|source| CodecError::Encode { what: format!("event {name}"), source: source.into() })
    });
    written.collect()
}
