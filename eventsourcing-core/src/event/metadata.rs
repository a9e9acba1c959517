//! [`Metadata`]: the facts about an event beyond its payload, such as the actor and the cause.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{METADATA_BYTES_MAX, StoreError, StoredEvent, StreamId, Version};

/// The facts about an event beyond its payload. Folding never needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Groups everything that happened because of one command, across applications. The application
    /// generates one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// The event that a policy reacted to when it recorded this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventRef>,
    /// The user or program that sent the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Further values, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

/// A reference to an event: its stream and its version there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventRef {
    /// The stored name of the aggregate.
    pub category: String,
    /// The id of the aggregate.
    pub id: Uuid,
    /// The place of the event in the stream.
    pub version: Version,
}

impl Metadata {
    /// Returns metadata without any value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns metadata with the user or program that sent the command.
    #[must_use]
    pub fn actor(actor: impl Into<String>) -> Self {
        Self {
            actor: Some(actor.into()),
            ..Self::default()
        }
    }

    /// Sets the id that groups everything that happens because of one command.
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

    /// Returns the metadata of events that a policy records because of the event `cause`: the same
    /// correlation id and actor.
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
    /// Returns the reference to the event at `version` of `stream`.
    #[must_use]
    pub fn new(stream: &StreamId, version: Version) -> Self {
        Self {
            category: stream.category.as_str().into(),
            id: stream.id,
            version,
        }
    }
}
