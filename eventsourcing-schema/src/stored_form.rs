//! [`StoredForm`]: the form in which the events of one aggregate are stored, as the lock compares it.

use eventsourcing_core::schema::{AggregateSchema, Sample};
use eventsourcing_core::store::StoredEvent;
use eventsourcing_core::{CodecError, EventType};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::lock::{ANYTHING, LockedEvent, PROBE, PROBE_IN_ORDER};
use crate::shape;

/// The number of times that a sample is written again to find out if its text has an order.
const COPIES: usize = 16;

/// The stored form of the events of an aggregate.
pub(crate) trait StoredForm {
    /// Returns `true` if its events may be stored under this name.
    fn is_called(&self, aggregate: &str) -> bool;

    /// Returns the schema of the payloads that the type reads for the event at `index`.
    fn described(&self, index: usize) -> Value;

    /// Returns the locked part of the schema: the schema without remarks.
    fn shape(&self, index: usize) -> Value {
        shape::without_remarks(&self.described(index))
    }

    /// Returns the schema of the stored form of the event at `index`, with all remarks.
    fn document(&self, index: usize, generator: &mut SchemaGenerator) -> Value;

    /// Returns the index of the event among the types, if its version is the one that is written
    /// now.
    fn current(&self, event: &LockedEvent) -> Option<usize>;

    /// Decodes a sample, and returns the names and payloads of the events that this release reads in
    /// its place.
    fn read_sample(&self, sample: &Sample) -> Result<Vec<Value>, CodecError>;

    /// Returns the text that this release writes for an event of its current version that it reads
    /// from the sample.
    fn written(&self, sample: &Sample) -> Result<String, CodecError>;

    /// Returns `true` if the sample is written as that text, in any order of the fields. Sets
    /// without an order may have another one each time.
    fn is_written_as(&self, sample: &Sample, text: &str) -> Result<bool, CodecError> {
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
}

impl StoredForm for AggregateSchema {
    fn is_called(&self, aggregate: &str) -> bool {
        self.names().contains(&aggregate)
    }

    fn described(&self, index: usize) -> Value {
        let settings = SchemaSettings::draft2020_12()
            .for_deserialize()
            .with(|settings| settings.meta_schema = None);
        let mut generator = settings.into_generator();
        let mut schema = self.payload_schema(index, &mut generator);
        let definitions = generator.take_definitions(true);
        if !definitions.is_empty() {
            schema.insert("$defs".into(), Value::Object(definitions));
        }
        schema.to_value()
    }

    fn document(&self, index: usize, generator: &mut SchemaGenerator) -> Value {
        let mut schema = self.payload_schema(index, generator);
        generator
            .transforms_mut()
            .for_each(|transform| transform.transform(&mut schema));
        schema.to_value()
    }

    fn current(&self, event: &LockedEvent) -> Option<usize> {
        let is_current =
            |known: &EventType| (known.name, known.version) == (&*event.event, event.version);
        self.types()
            .iter()
            .position(is_current)
            .filter(|_| self.name() == event.aggregate)
    }

    fn read_sample(&self, sample: &Sample) -> Result<Vec<Value>, CodecError> {
        self.read(&sample.to_stored())
    }

    fn written(&self, sample: &Sample) -> Result<String, CodecError> {
        let stored = sample.to_stored();
        // The probe shows features of `serde_json` that change how a `Value` is written. A type that
        // reads the sample in its place, but not the probe, is written as it is.
        match self.write(&StoredEvent {
            payload: probing(sample).into_bytes(),
            ..stored.clone()
        }) {
            Err(error) if !matches!(error, CodecError::Encode { .. }) => self.write(&stored),
            written => written,
        }
    }
}

/// Returns the text of the payload, with [`PROBE`] in each place where a schema allows anything.
fn probing(sample: &Sample) -> String {
    sample
        .payload
        .to_string()
        .replace(&Value::from(ANYTHING).to_string(), PROBE)
}

/// Returns the sorted characters of a text, and the number of times that a JSON value kept the
/// order of its keys. The characters tell how each value is written, independent of the order of
/// fields and of sets.
fn signature(text: &str) -> (Vec<char>, usize) {
    let mut sorted: Vec<_> = text.chars().collect();
    sorted.sort_unstable();
    (sorted, text.matches(PROBE_IN_ORDER).count())
}
