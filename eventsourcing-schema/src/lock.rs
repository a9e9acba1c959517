//! [`SchemaLock`]: the committed file with the shape of every released version of every event, and
//! samples.
//!
//! The file has one block for each version of each event, sorted, so that a review sees the
//! additions of a release. No block is ever removed: stored events live forever.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use eventsourcing_core::Aggregate;
use eventsourcing_core::schema::Sample;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The format of the file. A newer one is refused. The first format did not store the text of
/// samples.
const FORMAT: u32 = 2;

/// The sample for a schema that allows anything, usually that of a `serde_json::Value`.
pub(crate) const ANYTHING: &str = "anything";

/// JSON that a `serde_json::Value` writes differently if some crate has turned on a feature of
/// `serde_json`: `preserve_order` keeps the order of the keys, `arbitrary_precision` the last
/// digit.
pub(crate) const PROBE: &str = r#"{"probe":2,"of":1.50}"#;
/// The beginning of [`PROBE`] as it is written if the order is kept.
pub(crate) const PROBE_IN_ORDER: &str = r#"{"probe":2,"#;

/// The shapes of every released version of every event of a system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaLock {
    pub(crate) events: Vec<LockedEvent>,
}

/// One version of one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedEvent {
    /// The stored name of its aggregate.
    pub aggregate: String,
    /// The stored name of the event.
    pub event: String,
    /// The version of its payload, from 1.
    pub version: u16,
    /// The JSON Schema of its payload; `true` if only samples are known.
    pub payload: Value,
    /// Payloads as they are stored.
    pub samples: Vec<Value>,
    /// For each sample the exact text that is written for the event that is read from it. It
    /// changes when a dependency turns on a feature of a crate by which values are written
    /// differently, while every sample is read as before. Empty in a lock of format 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<String>,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    events: Vec<LockedEvent>,
}

/// The lock cannot be read, written or brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file cannot be read.
    #[error("the schema lock {} cannot be read; `EVENTS_LOCK=update cargo test` makes one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("the schema lock {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a schema lock.
    #[error("not a schema lock; restore the file from version control")]
    Malformed(#[source] serde_json::Error),
    /// A newer release of the framework has written the file.
    #[error(
        "the schema lock has format {found}, this program knows {FORMAT}; was it written by a newer release?"
    )]
    Format {
        /// The format of the file.
        found: u32,
    },
    /// Two blocks are about the same version of the same event.
    #[error(
        "version {version} of {event} of {aggregate} is locked twice; keep the block that was there first"
    )]
    Repeated {
        /// The stored name of the aggregate.
        aggregate: String,
        /// The stored name of the event.
        event: String,
        /// The version.
        version: u16,
    },
    /// The type cannot read the payload that was generated from its schema.
    #[error("{0}")]
    Sample(String),
    /// Stored events would be read differently, or not at all.
    #[error("{0}")]
    Broken(String),
}

impl SchemaLock {
    /// Reads the lock from a file.
    ///
    /// # Errors
    /// [`LockError`]: the file cannot be read, or is not a lock.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LockError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path);
        text.map_err(|source| LockError::Read {
            path: path.into(),
            source,
        })?
        .parse()
    }

    /// Writes the lock into a file.
    ///
    /// # Errors
    /// [`LockError::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), LockError> {
        let path = path.as_ref();
        std::fs::write(path, self.to_string()).map_err(|source| LockError::Write {
            path: path.into(),
            source,
        })
    }

    /// Returns a lock of these events, sorted.
    ///
    /// # Errors
    /// [`LockError::Repeated`].
    pub fn of_events(events: impl IntoIterator<Item = LockedEvent>) -> Result<Self, LockError> {
        let mut events: Vec<_> = events.into_iter().collect();
        events.sort_by(|one, other| one.key().cmp(&other.key()));
        if let Some(pair) = events
            .windows(2)
            .find(|pair| pair[0].key() == pair[1].key())
        {
            let LockedEvent {
                aggregate,
                event,
                version,
                ..
            } = pair[0].clone();
            return Err(LockError::Repeated {
                aggregate,
                event,
                version,
            });
        }
        Ok(Self { events })
    }

    /// Returns every version of every event, in the order of their names.
    pub fn events(&self) -> impl Iterator<Item = &LockedEvent> {
        self.events.iter()
    }

    /// Returns every golden event of the aggregate, under each of its names, in every version.
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, event};
    /// # use eventsourcing_schema::{LockedEvent, SchemaLock};
    /// # #[derive(Aggregate, serde::Serialize, serde::Deserialize)] struct Door {}
    /// # #[event] impl Door { fn opened(by: String) -> Self { Self {} } }
    /// let lock = SchemaLock::of_events([LockedEvent {
    ///     aggregate: "Door".into(),
    ///     event: "Opened".into(),
    ///     version: 1,
    ///     payload: true.into(),
    ///     samples: vec![serde_json::json!({ "by": "Alice" })],
    ///     written: vec![r#"{"by":"Alice"}"#.into()],
    /// }])?;
    /// for sample in lock.samples::<Door>() {
    ///     assert_eq!(sample.decode::<Door>()?, [DoorEvent::Opened { by: "Alice".into() }]);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn samples<A: Aggregate>(&self) -> impl Iterator<Item = Sample> {
        let is_of = |event: &&LockedEvent| is_name_of::<A>(&event.aggregate);
        self.events
            .iter()
            .filter(is_of)
            .flat_map(LockedEvent::samples)
    }
}

impl LockedEvent {
    fn key(&self) -> (&str, &str, u16) {
        (&self.aggregate, &self.event, self.version)
    }

    /// Returns the golden events of this version.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        self.samples
            .iter()
            .map(|payload| self.sample(payload.clone()))
    }

    pub(crate) fn sample(&self, payload: Value) -> Sample {
        let Self {
            aggregate,
            event,
            version,
            ..
        } = self;
        Sample {
            aggregate: aggregate.clone(),
            event: event.clone(),
            version: *version,
            payload,
        }
    }
}

impl FromStr for SchemaLock {
    type Err = LockError;

    fn from_str(text: &str) -> Result<Self, LockError> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        match serde_json::from_str(text) {
            Ok(Header { format: 1..=FORMAT }) => {}
            Ok(Header { format: found }) => return Err(LockError::Format { found }),
            Err(error) => return Err(LockError::Malformed(error)),
        }
        let File { events, .. } = serde_json::from_str(text).map_err(LockError::Malformed)?;
        Self::of_events(events)
    }
}

/// Writes the text of the file. It is the same for the same events: all keys are sorted,
/// independent of the features of `serde_json`.
impl fmt::Display for SchemaLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.events.iter().map(|event| LockedEvent {
            payload: sorted(&event.payload),
            samples: event.samples.iter().map(sorted).collect(),
            ..event.clone()
        });
        let file = File {
            format: FORMAT,
            events: events.collect(),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

/// Returns `true` if events of the aggregate may be stored under this name.
fn is_name_of<A: Aggregate>(name: &str) -> bool {
    A::NAME == name || A::OTHER_NAMES.contains(&name)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        value => value.clone(),
    }
}
