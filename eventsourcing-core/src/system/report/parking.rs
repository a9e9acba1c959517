//! Parked events of a follower, and the records of what people did about them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FollowerFailure;
use crate::store::{Name, Position, StoredEvent, StreamId, Version};

/// A stream that a follower has parked (a dead letter): the event that failed, and the number of
/// events that wait behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parked {
    /// The stream.
    #[serde(flatten)]
    pub stream: StreamId,
    /// The version of the event that failed.
    pub version: Version,
    /// The position of that event.
    pub position: Position,
    /// The name of that event.
    pub name: Name,
    /// The error, in one line.
    pub cause: String,
    /// The time at which the stream was parked, on the clock of the system.
    pub since: Timestamp,
    /// The number of attempts to process that event.
    pub attempts: u32,
    /// The number of later events of the stream that wait behind it, in order.
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

/// A record of one attempt to retry or discard a parked event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkingRecord {
    /// The time of the attempt, on the clock of the system.
    pub at: Timestamp,
    /// The person or process that made it.
    pub by: String,
    /// The stream.
    #[serde(flatten)]
    pub stream: StreamId,
    /// The version of the event.
    pub version: Version,
    /// The position of the event.
    pub position: Position,
    /// The name of the event.
    pub name: Name,
    /// The error for which it was parked.
    pub cause: String,
    /// The attempt and its result.
    pub action: ParkingAction,
}

/// The result of retrying or discarding a parked event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParkingAction {
    /// The follower has processed the event, and events that waited behind it.
    Retried {
        /// The number of processed events, the first one included.
        events: u64,
    },
    /// The follower has processed the event with this payload in place of its own. The log is
    /// unchanged.
    Edited {
        /// The payload.
        payload: serde_json::Value,
    },
    /// The follower failed to process the event once more.
    Failed {
        /// The error, in one line.
        cause: String,
    },
    /// The event was discarded: the follower never processes it.
    Dropped {
        /// The reason that was given.
        reason: String,
    },
}

/// The result of retrying a parked event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retried {
    /// The number of events of the stream that were processed.
    pub events: u64,
    /// The failure at the next event, or `None` if no event of the stream waits any more.
    pub failure: Option<FollowerFailure>,
}

/// A record of one attempt to retry or discard a parked timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimerRecord {
    /// The time of the attempt, on the clock of the system.
    pub at: Timestamp,
    /// The person or process that made it.
    pub by: String,
    /// The key of the timer.
    pub key: String,
    /// The time at which it was due.
    pub due: Timestamp,
    /// The error for which it was parked.
    pub cause: String,
    /// The attempt and its result. No events wait behind a timer, so [`ParkingAction::Retried`]
    /// counts 0 of them.
    pub action: ParkingAction,
}
