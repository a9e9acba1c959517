//! [`Metadata`]: what is known about an event beyond its payload. Who, in whose name, because of what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{METADATA_BYTES_MAX, StoreError, StoredEvent, StreamId, Version};

/// What is known about an event beyond its payload. Never needed to fold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Groups all that happened because of one command, across applications. Made by the application unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// The event that a policy reacted to when it recorded this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventRef>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

/// Which event: its stream and its version there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventRef {
    /// The stored name of the aggregate.
    pub category: String,
    /// The id of the aggregate.
    pub id: Uuid,
    /// The place in the stream.
    pub version: Version,
}

impl Metadata {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who asked.
    #[must_use]
    pub fn actor(actor: impl Into<String>) -> Self {
        Self {
            actor: Some(actor.into()),
            ..Self::default()
        }
    }

    /// Adds the id that groups all that happens because of one command.
    #[must_use]
    pub fn with_correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Adds a value of your own.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.insert(key.into(), value.into());
        self
    }

    /// What is known of events that a policy records because of the event `cause`: the same command, the same actor.
    #[must_use]
    pub fn caused_by(cause: EventRef, metadata: &Self) -> Self {
        Self {
            correlation_id: metadata.correlation_id,
            causation: Some(cause),
            actor: metadata.actor.clone(),
            extra: BTreeMap::new(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let bytes =
            serde_json::to_vec(self).expect("text, numbers and a map with text keys are JSON");
        if bytes.len() > METADATA_BYTES_MAX {
            return Err(StoreError::Invalid {
                reason: format!("metadata of {} bytes", bytes.len()),
            });
        }
        Ok(bytes)
    }

    pub(crate) fn of(stored: &StoredEvent) -> Result<Self, StoreError> {
        if stored.metadata.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&stored.metadata).map_err(|source| {
            let StoredEvent {
                stream, version, ..
            } = stored;
            StoreError::corrupt(
                format!("the metadata of version {version} of {stream} cannot be decoded"),
                source,
            )
        })
    }
}

impl EventRef {
    /// The event at `version` of `stream`.
    #[must_use]
    pub fn new(stream: &StreamId, version: Version) -> Self {
        Self {
            category: stream.category.as_str().into(),
            id: stream.id,
            version,
        }
    }
}
