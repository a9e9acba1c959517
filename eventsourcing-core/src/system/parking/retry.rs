//! Retrying and discarding parked events.

use super::notes::{HeldEvent, NotesReader, ParkedChange, edited, note_dropped, note_record};
use crate::retry::{Backoff, RetryPolicy};
use crate::store::{BoxError, StoreError, StoredEvent, StreamId, StreamQuery, Written};
use crate::system::follower::{Cursor, EVENTS_PER_PAGE_MAX, FollowerWorker, NextStep, describe};
use crate::system::notes;
use crate::system::{FollowerFailure, Parked, ParkingAction, ParkingRecord, StepFailure};

/// The attempts to make a step between those of a busy follower. A follower under a lease rests for
/// 100 milliseconds when it notices such a step, so an attempt comes through long before all 200
/// have failed.
pub(in crate::system) const BUSY: RetryPolicy = RetryPolicy::new(
    200,
    std::time::Duration::from_millis(1),
    std::time::Duration::from_millis(50),
);

/// A request to retry parked events.
pub(crate) struct RetryRequest {
    /// The person or program that is recorded with the retry.
    pub(crate) by: String,
    /// The payload in place of that of the first event.
    pub(crate) payload: Option<serde_json::Value>,
}

/// The result of a retry.
pub(crate) enum RetryOutcome {
    /// The stream is not parked in this log and partition.
    NotParked,
    /// No event of the stream waits any more.
    Done { events: u64 },
    /// The next event failed.
    Failed {
        events: u64,
        failure: FollowerFailure,
    },
}

/// The next events of a parked stream.
struct Batch {
    parked: Parked,
    /// The events to process.
    now: Vec<StoredEvent>,
    /// The event after them, if it waits as well.
    next: Option<StoredEvent>,
}

impl<S> FollowerWorker<S> {
    /// Returns the parked streams.
    pub(crate) async fn parked(&self) -> Result<Vec<Parked>, StoreError> {
        self.notes().all(notes::PARKED).await
    }

    /// Returns the records of retries and discards.
    pub(crate) async fn parking_records(&self) -> Result<Vec<ParkingRecord>, StoreError> {
        self.notes().all(notes::PARKING_RECORDS).await
    }

    pub(in crate::system) fn notes(&self) -> NotesReader<'_> {
        let (home, follower, upstream) = self.home();
        NotesReader {
            home: &**home,
            follower,
            upstream,
        }
    }

    /// Processes the events of a parked stream in order, until one fails or none waits. If this
    /// future is dropped, the events that are already processed stay so.
    ///
    /// A batch that fails is retried as single events, so that the failure is that of one event.
    /// The lock on the cursor is dropped before each wait, so that this process's own follower can
    /// make its steps.
    pub(crate) async fn retry_parked(
        &self,
        system: &S,
        stream: &StreamId,
        request: &RetryRequest,
    ) -> Result<RetryOutcome, StoreError> {
        let mut backoff = BUSY.start("retry of a parked event");
        let mut events = 0;
        let mut payload = request.payload.clone();

        let mut at_once = EVENTS_PER_PAGE_MAX;
        let mut is_busy = false;

        loop {
            let mut cursor = self.cursor.lock().await;
            self.refresh(&mut cursor).await?;
            if is_busy && let Err(failure) = self.force_revision(&mut cursor).await {
                drop(cursor);
                self.yield_to_follower(failure, &mut backoff).await?;
                continue;
            }
            at_once = if payload.is_some() { 1 } else { at_once };
            let Some(mut batch) = self.batch(&cursor, stream, at_once).await? else {
                return Ok(if events == 0 {
                    RetryOutcome::NotParked
                } else {
                    RetryOutcome::Done { events }
                });
            };
            if let Some(payload) = &payload {
                batch.now = vec![edited(batch.now.remove(0), payload)];
            }
            let action = match payload.clone() {
                Some(payload) => ParkingAction::Edited { payload },
                None => ParkingAction::Retried {
                    events: batch.now.len() as u64,
                },
            };
            let step = self
                .release(&cursor, &batch, self.record(&batch, &request.by, action))
                .await?;
            match self
                .sink
                .process(system, &batch.now, step.tracking.clone())
                .await
            {
                Ok(()) => {
                    cursor.done(step);
                    self.show(&cursor);
                    events += batch.now.len() as u64;
                    (payload, at_once) = (None, (at_once * 2).min(EVENTS_PER_PAGE_MAX));
                    backoff.reset();
                }
                Err(StepFailure::Event(_)) if batch.now.len() > 1 => at_once = 1,
                Err(StepFailure::Event(cause)) => match self
                    .failed_again(&mut cursor, &batch, &request.by, cause)
                    .await
                {
                    Ok(failure) => return Ok(RetryOutcome::Failed { events, failure }),
                    Err(failure) => self.yield_to_follower(failure, &mut backoff).await?,
                },
                Err(failure) => {
                    drop(cursor);
                    is_busy = true;
                    self.yield_to_follower(failure, &mut backoff).await?;
                }
            }
        }
    }

    /// Makes a step that changes nothing but the revision. Such a step is so short that it fits
    /// between two steps of a busy follower. The process that runs the follower then finds a newer
    /// revision, and rests, which leaves room for the retry itself.
    pub(in crate::system) async fn force_revision(
        &self,
        cursor: &mut Cursor,
    ) -> Result<(), StepFailure> {
        let step = cursor.notes_step();
        self.sink.make_step(step.tracking.clone()).await?;
        cursor.done(step);
        Ok(())
    }

    /// Discards the failed event of a parked stream. Returns `false` if the stream is not parked in
    /// this log and partition.
    pub(crate) async fn discard_parked(
        &self,
        stream: &StreamId,
        reason: &str,
        by: &str,
    ) -> Result<bool, StoreError> {
        let mut backoff = BUSY.start("giving up a parked event");
        loop {
            let mut cursor = self.cursor.lock().await;
            self.refresh(&mut cursor).await?;
            let Some(batch) = self.batch(&cursor, stream, 1).await? else {
                return Ok(false);
            };
            let record = self.record(
                &batch,
                by,
                ParkingAction::Dropped {
                    reason: reason.to_owned(),
                },
            );
            let mut step = cursor.notes_step();
            step.tracking = note_record(note_dropped(step.tracking, &batch.now[0]), &record);
            let step = without_batch(step, &batch);
            match self.sink.make_step(step.tracking.clone()).await {
                Ok(()) => {
                    cursor.done(step);
                    self.show(&cursor);
                    return Ok(true);
                }
                Err(failure) => {
                    drop(cursor);
                    self.yield_to_follower(failure, &mut backoff).await?;
                }
            }
        }
    }

    /// Returns the next events of a parked stream, at most `limit`.
    async fn batch(
        &self,
        cursor: &Cursor,
        stream: &StreamId,
        limit: usize,
    ) -> Result<Option<Batch>, StoreError> {
        let Some(parked) = cursor.parked.get(stream).cloned() else {
            return Ok(None);
        };
        if cursor.proven().is_none() {
            // A log that was restored may hold other events at the same versions, so it has to
            // prove first that it still has the last event that the follower has seen.
            cursor.place().verify(&*self.upstream).await?;
        }
        let held = self.notes().held(stream, limit + 1).await?;
        let Some(first) = held.first() else {
            return Err(not_held(&parked));
        };
        let query = StreamQuery::new(stream.clone())
            .from(first.version)
            .limit(held.len());
        let mut now = self.upstream.read_stream(query).await?;
        if !now
            .iter()
            .map(|event| event.version)
            .eq(held.iter().map(|held: &HeldEvent| held.version))
        {
            return Err(not_held(&parked));
        }
        let next = if now.len() > limit { now.pop() } else { None };
        Ok(Some(Batch { parked, now, next }))
    }

    /// Returns the step that goes with processing a batch.
    async fn release(
        &self,
        cursor: &Cursor,
        batch: &Batch,
        record: ParkingRecord,
    ) -> Result<NextStep, StoreError> {
        let (home, ..) = self.home();
        let mut step = cursor.late_step(&**home, &batch.now).await?;
        step.tracking = note_record(step.tracking, &record);
        Ok(without_batch(step, batch))
    }

    /// Notes that the first event of a batch failed again.
    async fn failed_again(
        &self,
        cursor: &mut Cursor,
        batch: &Batch,
        by: &str,
        cause: BoxError,
    ) -> Result<FollowerFailure, StepFailure> {
        let failure = self.failure(batch.now[0].position, describe(&batch.now[0]), cause);
        let record = self.record(
            batch,
            by,
            ParkingAction::Failed {
                cause: failure.cause.clone(),
            },
        );
        let mut step = cursor.notes_step();
        let attempts = batch.parked.attempts.saturating_add(1);
        let parked = Parked {
            cause: failure.cause.clone(),
            attempts,
            ..batch.parked.clone()
        };
        step.tracking = step.parked.put(note_record(step.tracking, &record), parked);
        self.sink.make_step(step.tracking.clone()).await?;
        cursor.done(step);
        Ok(failure)
    }

    fn record(&self, batch: &Batch, by: &str, action: ParkingAction) -> ParkingRecord {
        let Parked {
            stream,
            version,
            position,
            name,
            cause,
            ..
        } = batch.parked.clone();
        ParkingRecord {
            at: self.clock.now(),
            by: by.to_owned(),
            stream,
            version,
            position,
            name,
            cause,
            action,
        }
    }

    /// Waits, so that the follower can make its own step first. Returns an error if the store does
    /// not answer.
    pub(in crate::system) async fn yield_to_follower(
        &self,
        failure: StepFailure,
        backoff: &mut Backoff,
    ) -> Result<(), StoreError> {
        match failure {
            StepFailure::Unavailable(error) | StepFailure::CutChanged(error) => Err(error),
            StepFailure::Event(cause) => Err(StoreError::unavailable(
                "the store refused a step of the follower",
                cause,
            )),
            StepFailure::Moved | StepFailure::LeaseLost => {
                let busy = format!("follower {} is busy; retry", self.name);
                let waited = backoff.wait(busy).await;
                waited.map_err(|reason| StoreError::Unavailable {
                    reason,
                    written: Written::Unknown,
                    source: None,
                })
            }
        }
    }
}

/// Removes the notes of the events of a batch, which no longer wait.
fn without_batch(mut step: NextStep, batch: &Batch) -> NextStep {
    let tracking = batch.now.iter().fold(step.tracking, ParkedChange::release);
    step.tracking = match &batch.next {
        None => step.parked.end(tracking, &batch.parked.stream),
        Some(next) => step.parked.put(
            tracking,
            next_in_stream(&batch.parked, next, batch.now.len() as u64),
        ),
    };
    step
}

/// Returns the note of a stream that stays parked, now for its next event, `events` further on.
fn next_in_stream(parked: &Parked, next: &StoredEvent, events: u64) -> Parked {
    Parked {
        version: next.version,
        position: next.position,
        name: next.name.clone(),
        waiting: parked.waiting.saturating_sub(events),
        attempts: 0,
        ..parked.clone()
    }
}

fn not_held(parked: &Parked) -> StoreError {
    let reason = format!(
        "the notes of the events that wait behind version {} of {}",
        parked.version, parked.stream
    );
    StoreError::corrupt(reason, "the stream does not have all of these events")
}
