//! Processing one page of a log: in pieces, and each piece written together with the position behind it.

use tracing::error;

use super::causes::is_of_newer_release;
use super::cursor::Cursor;
use super::failure::{Cause, Failure, describe};
use super::status::Step;
use super::worker::Feed;
use super::{EVENTS_PER_PAGE_MAX, PARKED_STREAMS_MAX};
use crate::store::{LogPage, Position, StoreError, StoredEvent};
use crate::system::parking::sort_out;
use crate::system::{OnFailure, Parked};

/// How far a follower passes over events it does not take before it writes that down.
const PASSED_OVER_MAX: u64 = 10_000;

impl<S> Feed<S> {
    /// Deals with a page in pieces, which get smaller when one fails, until the one bad event stands alone.
    pub(super) async fn deal_with(
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
                Err(Failure::Event(cause))
                    if piece.len() == 1 && !is_of_newer_release(&*cause) && self.parks(cursor) =>
                {
                    self.park(cursor, &piece[0], cause).await
                }
                outcome => outcome,
            };
            match outcome {
                Ok(()) => {
                    self.succeed();
                    cursor.events = (cursor.events * 2).min(EVENTS_PER_PAGE_MAX);
                    rest = later;
                }
                Err(Failure::Moved) => return self.moved(cursor).await,
                Err(Failure::LeaseLost) => {
                    // Perhaps the page took longer than the lease lasts.
                    cursor.events = (piece.len() / 2).max(1);
                    return Ok(Step::LeaseLost);
                }
                Err(Failure::Unavailable(error)) => return Err(error),
                Err(Failure::CutChanged(refusal)) => {
                    return Ok(self.stop_for_cut(cursor.reached, refusal));
                }
                Err(Failure::Event(_)) if piece.len() > 1 => cursor.events = piece.len() / 2,
                Err(Failure::Event(cause)) => {
                    return Ok(self.fail(piece[0].position, describe(&piece[0]), cause));
                }
            }
        }
        self.pass_over(cursor, page.ceiling).await?;
        Ok(if cursor.reached == before {
            Step::Idle
        } else {
            Step::Moved
        })
    }

    /// Deals with the events whose streams are not parked, and holds the others back.
    async fn piece(
        &self,
        system: &S,
        cursor: &mut Cursor,
        piece: &[StoredEvent],
    ) -> Result<(), Failure> {
        let (free, held) = sort_out(&cursor.parked, piece);
        let last = piece.last().expect("a piece has an event");
        let mut step = cursor.step_to(last, &free);
        step.tracking = step.parked.hold(&cursor.parked, step.tracking, held);
        match free.is_empty() {
            true => self.sink.pass_over(step.tracking.clone()).await?,
            false => {
                self.sink
                    .deal_with(system, &free, step.tracking.clone())
                    .await?
            }
        }
        cursor.done(step);
        Ok(())
    }

    fn parks(&self, cursor: &Cursor) -> bool {
        self.on_failure == OnFailure::Park && cursor.parked.len() < PARKED_STREAMS_MAX
    }

    /// Puts an event aside, and with it what follows in its stream.
    async fn park(
        &self,
        cursor: &mut Cursor,
        event: &StoredEvent,
        cause: Cause,
    ) -> Result<(), Failure> {
        let failure = self.failure(event.position, describe(event), cause);
        error!(follower = %self.name, position = %event.position, event = failure.event, error = %failure.cause,
            "event parked; later ones of its aggregate wait behind it");
        let mut step = cursor.step_to(event, &[]);
        let parked = Parked::new(event, failure.cause, self.clock.now());
        step.tracking = step.parked.park(step.tracking, event, parked);
        self.sink.pass_over(step.tracking.clone()).await?;
        cursor.done(step);
        Ok(())
    }

    /// Moves over events at the end of a page that the follower does not take. Written down only now and then:
    /// passing over them again costs little.
    async fn pass_over(&self, cursor: &mut Cursor, ceiling: Position) -> Result<(), StoreError> {
        cursor.reached = ceiling.max(cursor.reached);
        if cursor.unwritten() < PASSED_OVER_MAX {
            return Ok(());
        }
        // Without an event to end at the step would prove nothing later. The next page may end at one.
        let seen = self.upstream.visible(cursor.reached).await?;
        let Some(last) = seen.event.filter(|_| Some(seen.epoch) == cursor.proven()) else {
            return Ok(());
        };
        let step = cursor.step_to(&last, &[]);
        match self.sink.pass_over(step.tracking.clone()).await {
            Ok(()) => cursor.done(step),
            Err(Failure::Moved) => drop(self.refresh(cursor).await?),
            // The next event, or the next renewal of the lease, brings it to light.
            Err(Failure::LeaseLost) => {}
            Err(Failure::CutChanged(refusal)) => drop(self.stop_for_cut(cursor.reached, refusal)),
            Err(Failure::Unavailable(error)) => return Err(error),
            Err(Failure::Event(cause)) => {
                return Err(StoreError::unavailable("a step was refused", cause));
            }
        }
        Ok(())
    }
}
