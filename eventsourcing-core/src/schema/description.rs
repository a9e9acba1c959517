//! [`AggregateSchema`]: the schemas of the events of one aggregate, taken from the types.

use std::fmt;

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::aggregate::names_of;
use crate::codec::Encoding;
use crate::store::StoredEvent;
use crate::{Aggregate, Codec, CodecError, Event, EventType, System};

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

/// The schemas of the events of one aggregate, and functions that read and write these events
/// without naming their types.
#[derive(Clone)]
pub struct AggregateSchema {
    name: &'static str,
    names: Vec<&'static str>,
    types: &'static [EventType],
    former: Vec<FormerName>,
    payload: fn(usize, &mut SchemaGenerator) -> Schema,
    read: fn(&StoredEvent) -> Result<Vec<Value>, CodecError>,
    write: fn(&StoredEvent) -> Result<String, CodecError>,
}

/// A name under which earlier releases have stored events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormerName {
    /// The stored name.
    pub name: &'static str,
    /// The index among the types of the event that is read in its place; `None` if it is split or
    /// retired.
    pub index: Option<usize>,
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

    /// Returns every name under which its events may be stored, the current one among them.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Returns the stored names and current versions of its events.
    #[must_use]
    pub fn types(&self) -> &'static [EventType] {
        self.types
    }

    /// Returns the names of events that are no longer recorded, or not under that name.
    #[must_use]
    pub fn former_names(&self) -> &[FormerName] {
        &self.former
    }

    /// Returns the schema of the payload of the event at `index` of [`types`](Self::types).
    ///
    /// # Panics
    /// There is no such type.
    pub fn payload_schema(&self, index: usize, generator: &mut SchemaGenerator) -> Schema {
        (self.payload)(index, generator)
    }

    /// Decodes a stored event, and returns the names and payloads of the events that this release
    /// reads in its place.
    ///
    /// # Errors
    /// The error that an application gets when it loads the event; [`CodecError::Encode`] if an
    /// event that was read cannot be written again.
    pub fn read(&self, stored: &StoredEvent) -> Result<Vec<Value>, CodecError> {
        (self.read)(stored)
    }

    /// Decodes a stored event, and returns the JSON text that this release writes for the event
    /// that it reads in its place; for the first, if it reads several.
    ///
    /// # Errors
    /// The error that an application gets when it loads the event; [`CodecError::Decode`] if it is
    /// read as no event; [`CodecError::Encode`] if the event cannot be written again.
    pub fn write(&self, stored: &StoredEvent) -> Result<String, CodecError> {
        (self.write)(stored)
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

fn read<A: Aggregate>(stored: &StoredEvent) -> Result<Vec<Value>, CodecError> {
    let written = Codec::decode_events::<A::Event>(stored)?.map(|event| {
        let name = event.event_type().name;
        let payload = event.serialize_payload(serde_json::value::Serializer);
        payload.map_err(|source| CodecError::Encode {
            what: format!("event {name}"),
            source: source.into(),
        })
    });
    written.collect()
}

fn write<A: Aggregate>(stored: &StoredEvent) -> Result<String, CodecError> {
    let what = || {
        format!(
            "the sample of version {} of {}",
            stored.schema_version, stored.name
        )
    };
    let none = || CodecError::Decode {
        what: what(),
        source: "it is decoded into no event".into(),
    };
    let event = Codec::decode_events::<A::Event>(stored)?
        .next()
        .ok_or_else(none)?;
    let written = Encoding::encode_event_unread(&event)?;
    String::from_utf8(written).map_err(|source| CodecError::Encode {
        what: what(),
        source: source.into(),
    })
}
