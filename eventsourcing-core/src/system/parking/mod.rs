//! [`Parking`]: the parked events and timers of a follower (its dead letters): list, retry and
//! discard them.

mod notes;
mod retry;
mod timer_retry;
mod timers;

use std::sync::Arc;

use super::follower::FollowerWorker;
use super::runner::Engine;
use super::{Parked, ParkingRecord, Retried, SystemError};
use crate::store::{Name, StreamId};
use retry::{RetryOutcome, RetryRequest};

pub(crate) use notes::{Exceptions, NotesReader, put_aside};
pub(in crate::system) use notes::{HeldEvent, ParkedChange, ParkedStreams, read, sort_out, write};
pub use timers::ParkedTimer;

/// The maximum depth of a payload that a caller passes to a retry. The record of the retry contains
/// it and is read by serde_json, which stops at 128 levels; the rest is room for the record around
/// it.
const PAYLOAD_DEPTH_MAX: usize = 100;

/// The parked events and timers of a follower. From
/// [`RunningSystem::parking`](super::RunningSystem::parking).
///
/// With [`OnFailure::Park`](super::OnFailure::Park) a follower parks an event that fails, holds
/// back the later events of the same aggregate, in order, and goes on with all others. A
/// [timer](Self::timers) that fails is parked too. Parked events and timers are kept with the
/// follower's position in the store: they survive restarts, and every process sees the same ones.
///
/// Each change is one step of the follower: the effects of an event, its removal from the parked
/// ones, and a record of the person who retried it are written together or not at all, also while
/// another process runs the follower.
pub struct Parking<'a, S> {
    pub(super) engine: &'a Arc<Engine<S>>,
    pub(super) is_inline: bool,
    pub(super) follower: Name,
    pub(super) by: String,
}

impl<'a, S: Send + Sync + 'static> Parking<'a, S> {
    pub(super) fn new(
        engine: &'a Arc<Engine<S>>,
        is_inline: bool,
        follower: Name,
        by: String,
    ) -> Self {
        Self {
            engine,
            is_inline,
            follower,
            by,
        }
    }

    /// Names the person or program that is recorded with each change. The default is this process.
    #[must_use]
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = who.into();
        self
    }

    /// Returns the parked streams, oldest first.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn list(&self) -> Result<Vec<Parked>, SystemError> {
        let mut all = Vec::new();
        for worker in self.workers() {
            all.extend(worker.parked().await?);
        }
        all.sort_by_key(|parked| (parked.since, parked.position));
        Ok(all)
    }

    /// Returns the records of retries and discards of parked events, oldest first.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn records(&self) -> Result<Vec<ParkingRecord>, SystemError> {
        let mut all = Vec::new();
        for worker in self.workers() {
            all.extend(worker.parking_records().await?);
        }
        all.sort_by_key(|record| (record.at, record.position));
        Ok(all)
    }

    /// Retries the failed event of a parked stream, and after a success the events that wait behind
    /// it, in order.
    ///
    /// # Errors
    /// [`SystemError::NotParked`]: the stream is not parked. [`SystemError::Store`]: a store does not
    /// answer; the events processed before the error stay processed.
    pub async fn retry(&self, stream: &StreamId) -> Result<Retried, SystemError> {
        self.retry_with(stream, None).await
    }

    /// Retries like [`retry`](Self::retry), with this payload in place of that of the first event.
    /// The log does not change: the follower's records tell with which payload the event was
    /// processed.
    ///
    /// # Errors
    /// The same as those of [`retry`](Self::retry).
    pub async fn retry_edited(
        &self,
        stream: &StreamId,
        payload: serde_json::Value,
    ) -> Result<Retried, SystemError> {
        self.retry_with(stream, Some(payload)).await
    }

    /// Discards the failed event of a parked stream: the follower never processes it. The events
    /// behind it wait until they are [retried](Self::retry).
    ///
    /// # Errors
    /// [`SystemError::NotParked`]: the stream is not parked. [`SystemError::Invalid`]: no reason is given.
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn discard(&self, stream: &StreamId, reason: &str) -> Result<(), SystemError> {
        if reason.trim().is_empty() {
            return Err(SystemError::Invalid {
                reason: "discarding an event needs a reason; give one".to_owned(),
            });
        }
        for worker in self.workers() {
            if worker.discard_parked(stream, reason, &self.by).await? {
                return Ok(());
            }
        }
        Err(self.not_parked(stream))
    }

    async fn retry_with(
        &self,
        stream: &StreamId,
        payload: Option<serde_json::Value>,
    ) -> Result<Retried, SystemError> {
        payload.as_ref().map_or(Ok(()), check_depth)?;
        let request = RetryRequest {
            by: self.by.clone(),
            payload,
        };
        for worker in self.workers() {
            let retried = match worker
                .retry_parked(&self.engine.system, stream, &request)
                .await?
            {
                RetryOutcome::NotParked => continue,
                RetryOutcome::Done { events } => Retried {
                    events,
                    failure: None,
                },
                RetryOutcome::Failed { events, failure } => Retried {
                    events,
                    failure: Some(failure),
                },
            };
            if self.is_inline {
                self.engine.catch_up().await?;
            }
            return Ok(retried);
        }
        Err(self.not_parked(stream))
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &'a Arc<FollowerWorker<S>>> {
        self.engine
            .workers
            .iter()
            .filter(|worker| worker.name == self.follower)
    }

    fn not_parked(&self, stream: &StreamId) -> SystemError {
        SystemError::NotParked {
            follower: self.follower.clone(),
            what: stream.to_string(),
        }
    }
}

/// Refuses a payload that nests so deep that its record could not be read again.
pub(super) fn check_depth(payload: &serde_json::Value) -> Result<(), SystemError> {
    let mut left = vec![(payload, 1)];
    while let Some((value, depth)) = left.pop() {
        if depth > PAYLOAD_DEPTH_MAX {
            let reason = format!(
                "a payload nests at most {PAYLOAD_DEPTH_MAX} levels deep; write a flatter one"
            );
            return Err(SystemError::Invalid { reason });
        }
        match value {
            serde_json::Value::Array(values) => {
                left.extend(values.iter().map(|value| (value, depth + 1)));
            }
            serde_json::Value::Object(fields) => {
                left.extend(fields.values().map(|value| (value, depth + 1)));
            }
            _ => {}
        }
    }
    Ok(())
}

impl<S> std::fmt::Debug for Parking<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parking")
            .field("follower", &self.follower)
            .finish_non_exhaustive()
    }
}
