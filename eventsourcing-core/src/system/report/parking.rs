//! What a follower has parked, and what people have done about it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FollowerFailure;
use crate::store::{Name, Position, StoredEvent, StreamId, Version};

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
    pub(in crate::system) fn new(event: &StoredEvent, cause: String, since: Timestamp) -> Self {
        let StoredEvent {
            stream,
            version,
            position,
            name,
            ..
        } = event.clone();
        Self {
            stream,
            version,
            position,
            name,
            cause,
            since,
            attempts: 1,
            waiting: 0,
        }
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

/// A record of what somebody did about a parked timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimerRecord {
    /// When, on the clock of the system.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The key of the timer.
    pub key: String,
    /// The time at which it was due.
    pub due: Timestamp,
    /// Why it was parked.
    pub cause: String,
    /// What was done, and what came of it. No events wait behind a timer: of those that were retried the number is 0.
    pub action: ParkingAction,
}
