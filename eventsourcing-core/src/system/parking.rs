//! [`Parking`]: the events a follower could not deal with and has put aside, and what people do about them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::feed::{Feed, Order, Retry};
use super::runner::Engine;
use super::{FollowerFailure, SystemError};
use crate::store::{Name, Position, StoredEvent, StreamId, Version};

/// How deep a payload may nest that somebody gives to a retry. The record of it is read by serde_json, which reads 128 levels.
const PAYLOAD_DEPTH_MAX: usize = 100;

/// A stream that a follower has parked: the event it could not deal with, and how many wait behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parked {
    /// The stream.
    #[serde(flatten)]
    pub stream: StreamId,
    /// The version of the event that it could not deal with.
    pub version: Version,
    /// The position of that event.
    pub position: Position,
    /// The name of that event.
    pub name: Name,
    /// Why it could not, in one line.
    pub cause: String,
    /// Since when it has been parked, on the clock of the system.
    pub since: Timestamp,
    /// How often that event was tried.
    pub attempts: u32,
    /// How many later events of the stream wait behind it, in order.
    pub waiting: u64,
}

impl Parked {
    pub(super) fn new(event: &StoredEvent, cause: String, since: Timestamp) -> Self {
        let StoredEvent { stream, version, position, name, .. } = event.clone();
        Self { stream, version, position, name, cause, since, attempts: 1, waiting: 0 }
    }
}

/// What somebody did about a parked event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkingRecord {
    /// When, on the clock of the system.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The stream.
    #[serde(flatten)]
    pub stream: StreamId,
    /// The version of the event.
    pub version: Version,
    /// Its position.
    pub position: Position,
    /// Its name.
    pub name: Name,
    /// Why it was parked.
    pub cause: String,
    /// What was done, and what came of it.
    pub action: ParkingAction,
}

/// What was done about a parked event, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParkingAction {
    /// The follower has dealt with it, and with so many events behind it.
    Retried {
        /// How many, the first one included.
        events: u64,
    },
    /// The follower has dealt with it as if its payload were this one. The log is as it was.
    Edited {
        /// The payload.
        payload: serde_json::Value,
    },
    /// It could not deal with it again.
    Failed {
        /// Why, in one line.
        cause: String,
    },
    /// The follower will never deal with it.
    Dropped {
        /// Why it need not.
        reason: String,
    },
}

/// What came of trying a parked event again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retried {
    /// How many events of the stream were dealt with.
    pub events: u64,
    /// Why it stopped before the end, or `None` if nothing of the stream waits any more.
    pub failure: Option<FollowerFailure>,
}

/// What a follower has parked. From [`Running::parking`](super::Running::parking).
///
/// With [`OnFailure::Park`](super::OnFailure::Park) a follower puts an event that it cannot deal with aside, holds back the
/// later events of the same aggregate, in order, and goes on with all others. So it does with a [timer](Self::timers). What is parked is kept with the follower's
/// position, in the store: it survives restarts and is the same seen from every process.
///
/// Each change is one step of the follower: what is recorded or written for an event, the event's leaving the
/// parked ones, and a record of who did it happen together or not at all, also while another process runs the follower.
pub struct Parking<'a, S> {
    pub(super) engine: &'a Arc<Engine<S>>,
    pub(super) is_inline: bool,
    pub(super) follower: Name,
    pub(super) by: String,
}

impl<'a, S: Send + Sync + 'static> Parking<'a, S> {
    pub(super) fn new(engine: &'a Arc<Engine<S>>, is_inline: bool, follower: Name, by: String) -> Self {
        Self { engine, is_inline, follower, by }
    }

    /// Records `who` as the one who does what follows; otherwise it is the process.
    #[must_use]
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = who.into();
        self
    }

    /// The streams that are parked, oldest first.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn list(&self) -> Result<Vec<Parked>, SystemError> {
        let mut all = Vec::new();
        for feed in self.feeds() {
            all.extend(feed.parked().await?);
        }
        all.sort_by_key(|parked| (parked.since, parked.position));
        Ok(all)
    }

    /// What people did about parked events, oldest first.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn records(&self) -> Result<Vec<ParkingRecord>, SystemError> {
        let mut all = Vec::new();
        for feed in self.feeds() {
            all.extend(feed.parking_records().await?);
        }
        all.sort_by_key(|record| (record.at, record.position));
        Ok(all)
    }

    /// Deals again with the event that a stream is parked for, and if that goes well with those behind it, in order.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the stream is not parked. [`SystemError::Store`]: a store does not answer; what was dealt
    /// with before stands.
    pub async fn retry(&self, stream: &StreamId) -> Result<Retried, SystemError> {
        self.try_again(stream, None).await
    }

    /// As [`retry`](Self::retry), but the follower sees this payload in place of the one of the first event. The log stays as
    /// it is: it says what was recorded, the follower's records say what was made of it.
    ///
    /// # Errors
    /// As [`retry`](Self::retry).
    pub async fn retry_edited(&self, stream: &StreamId, payload: serde_json::Value) -> Result<Retried, SystemError> {
        self.try_again(stream, Some(payload)).await
    }

    /// Gives up the event that a stream is parked for: the follower never deals with it. The events behind it wait until
    /// they are [retried](Self::retry).
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the stream is not parked, or no reason is given. [`SystemError::Store`]: a store does not
    /// answer.
    pub async fn give_up(&self, stream: &StreamId, reason: &str) -> Result<(), SystemError> {
        if reason.trim().is_empty() {
            return Err(SystemError::Invalid { reason: "an event is given up for a reason; say which".to_owned() });
        }
        for feed in self.feeds() {
            if feed.give_up_parked(stream, reason, &self.by).await? {
                return Ok(());
            }
        }
        Err(self.not_parked(stream))
    }

    async fn try_again(&self, stream: &StreamId, payload: Option<serde_json::Value>) -> Result<Retried, SystemError> {
        payload.as_ref().map_or(Ok(()), check_depth)?;
        let order = Order { by: self.by.clone(), payload };
        for feed in self.feeds() {
            let retried = match feed.retry_parked(&self.engine.system, stream, &order).await? {
                Retry::NotParked => continue,
                Retry::Done { events } => Retried { events, failure: None },
                Retry::Failed { events, failure } => Retried { events, failure: Some(failure) },
            };
            if self.is_inline {
                self.engine.catch_up().await?;
            }
            return Ok(retried);
        }
        Err(self.not_parked(stream))
    }

    pub(super) fn feeds(&self) -> impl Iterator<Item = &'a Arc<Feed<S>>> {
        self.engine.feeds.iter().filter(|feed| feed.name == self.follower)
    }

    fn not_parked(&self, stream: &StreamId) -> SystemError {
        SystemError::Invalid { reason: format!("{} has not parked {stream}", self.follower) }
    }
}

/// Refuses a payload that nests deeper than what a record of it can be read back with.
pub(super) fn check_depth(payload: &serde_json::Value) -> Result<(), SystemError> {
    let mut left = vec![(payload, 1)];
    while let Some((value, depth)) = left.pop() {
        if depth > PAYLOAD_DEPTH_MAX {
            let reason = format!("a payload nests at most {PAYLOAD_DEPTH_MAX} levels deep; write a flatter one");
            return Err(SystemError::Invalid { reason });
        }
        match value {
            serde_json::Value::Array(values) => left.extend(values.iter().map(|value| (value, depth + 1))),
            serde_json::Value::Object(fields) => left.extend(fields.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

impl<S> std::fmt::Debug for Parking<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parking").field("follower", &self.follower).finish_non_exhaustive()
    }
}
