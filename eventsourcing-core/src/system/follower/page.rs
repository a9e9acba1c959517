//! Processing one page of a log in pieces. The effects of a piece and the position behind it are
//! written together.

use tracing::error;

use super::causes::is_of_newer_release;
use super::cursor::Cursor;
use super::failure::{StepFailure, describe};
use super::status::Step;
use super::worker::FollowerWorker;
use super::{EVENTS_PER_PAGE_MAX, PARKED_STREAMS_MAX};
use crate::store::{BoxError, LogPage, Position, StoreError, StoredEvent};
use crate::system::parking::sort_out;
use crate::system::{OnFailure, Parked};

/// The number of positions that a follower skips before it stores its position. Skipping them again
/// after a restart costs a few reads, while storing each skip would cost a commit for each page.
const SKIPPED_MAX: u64 = 10_000;

impl<S> FollowerWorker<S> {
    /// Processes a page in pieces. A piece that fails is halved, until the one bad event stands
    /// alone.
    pub(super) async fn process(
        &self,
        system: &S,
        cursor: &mut Cursor,
        page: LogPage,
    ) -> Result<Step, StoreError> {
        let before = cursor.reached;
        let mut rest = &page.events[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cursor.events.min(rest.len()));
            let outcome = match self.piece(system, cursor, piece).await {
                Err(StepFailure::Event(cause))
                    if piece.len() == 1 && !is_of_newer_release(&*cause) && self.parks(cursor) =>
                {
                    self.park(cursor, &piece[0], cause).await
                }
                outcome => outcome,
            };
            match outcome {
                Ok(()) => {
                    self.clear_failure();
                    cursor.events = (cursor.events * 2).min(EVENTS_PER_PAGE_MAX);
                    rest = later;
                }
                Err(StepFailure::Moved) => return self.moved(cursor).await,
                Err(StepFailure::LeaseLost) => {
                    // The piece may have taken longer than the lease lasts. A smaller one ends in
                    // time, so that the follower can advance even if each process is too slow for a
                    // whole page.
                    cursor.events = (piece.len() / 2).max(1);
                    return Ok(Step::LeaseLost);
                }
                Err(StepFailure::Unavailable(error)) => return Err(error),
                Err(StepFailure::CutChanged(refusal)) => {
                    return Ok(self.stop_for_cut(cursor.reached, refusal));
                }
                Err(StepFailure::Event(_)) if piece.len() > 1 => cursor.events = piece.len() / 2,
                Err(StepFailure::Event(cause)) => {
                    return Ok(self.fail(piece[0].position, describe(&piece[0]), cause));
                }
            }
        }
        self.skip_to(cursor, page.ceiling).await?;
        Ok(if cursor.reached == before {
            Step::Idle
        } else {
            Step::Moved
        })
    }

    /// Processes the events whose streams are not parked, and holds the others back.
    async fn piece(
        &self,
        system: &S,
        cursor: &mut Cursor,
        piece: &[StoredEvent],
    ) -> Result<(), StepFailure> {
        let (free, held) = sort_out(&cursor.parked, piece);
        let last = piece.last().expect("a piece has an event");
        let mut step = cursor.step_to(last, &free);
        step.tracking = step.parked.hold(&cursor.parked, step.tracking, held);
        match free.is_empty() {
            true => self.sink.make_step(step.tracking.clone()).await?,
            false => {
                self.sink
                    .process(system, &free, step.tracking.clone())
                    .await?;
            }
        }
        cursor.done(step);
        Ok(())
    }

    fn parks(&self, cursor: &Cursor) -> bool {
        self.on_failure == OnFailure::Park && cursor.parked.len() < PARKED_STREAMS_MAX
    }

    /// Parks an event. Later events of its stream are held back from now on.
    async fn park(
        &self,
        cursor: &mut Cursor,
        event: &StoredEvent,
        cause: BoxError,
    ) -> Result<(), StepFailure> {
        let failure = self.failure(event.position, describe(event), cause);
        error!(follower = %self.name, position = %event.position, event = failure.event, error = %failure.cause,
            "event parked; later ones of its aggregate wait behind it");
        let mut step = cursor.step_to(event, &[]);
        let parked = Parked::new(event, failure.cause, self.clock.now());
        step.tracking = step.parked.park(step.tracking, event, parked);
        self.sink.make_step(step.tracking.clone()).await?;
        cursor.done(step);
        Ok(())
    }

    /// Skips the events at the end of a page that the follower does not take. The position is
    /// stored only now and then, since skipping them again costs little.
    async fn skip_to(&self, cursor: &mut Cursor, ceiling: Position) -> Result<(), StoreError> {
        cursor.reached = ceiling.max(cursor.reached);
        if cursor.unwritten() < SKIPPED_MAX {
            return Ok(());
        }
        // A step must end at an event, so that it can be proven later that the log still has it. If
        // there is none, or the epoch has changed, the step is left out; the next page may end at
        // an event.
        let seen = self.upstream.visible(cursor.reached).await?;
        let Some(last) = seen.event.filter(|_| Some(seen.epoch) == cursor.proven()) else {
            return Ok(());
        };
        let step = cursor.step_to(&last, &[]);
        match self.sink.make_step(step.tracking.clone()).await {
            Ok(()) => cursor.done(step),
            Err(StepFailure::Moved) => drop(self.refresh(cursor).await?),
            // The step was only to save work after a restart. The next piece, or the next renewal
            // of the lease, meets the same error.
            Err(StepFailure::LeaseLost) => {}
            Err(StepFailure::CutChanged(refusal)) => {
                self.stop_for_cut(cursor.reached, refusal);
            }
            Err(StepFailure::Unavailable(error)) => return Err(error),
            Err(StepFailure::Event(cause)) => {
                return Err(StoreError::unavailable(
                    "the store refused a step of the follower",
                    cause,
                ));
            }
        }
        Ok(())
    }
}
