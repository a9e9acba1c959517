//! [`Feed`]: one follower on one log. Reads a page, has it dealt with, writes the work and the position together.
//!
//! It knows nothing of tasks: a runner calls [`Feed::step`] when there may be something to do.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{Mutex, watch};
use tracing::{debug, error, warn};

use super::follower::{Cause, Handler};
use super::{FollowerFailure, FollowerState, OnFailure};
use crate::retry::RetryPolicy;
use crate::store::{
    EventStore, HolderId, LeaseToken, LogPage, LogQuery, Name, Position, StoreError, StoredEvent, Tracking,
};
use crate::{Application, Work};

/// How many events a page has at most.
const EVENTS_PER_PAGE_MAX: usize = 256;
/// How far a follower passes over events it does not take before it writes that down.
const PASSED_OVER_MAX: u64 = 10_000;

/// One follower on one log.
pub(crate) struct Feed<S> {
    pub(crate) name: Name,
    pub(crate) upstream: Arc<dyn EventStore>,
    /// By the stored name of the aggregate.
    pub(crate) handlers: BTreeMap<Name, Arc<dyn Handler<S>>>,
    /// Where a policy records; a projection has none, and starts from the beginning each time.
    pub(crate) policy: Option<Application>,
    on_failure: OnFailure,
    cursor: Mutex<Cursor>,
    status: watch::Sender<Status>,
}

struct Cursor {
    /// The position the store knows.
    stored: Position,
    /// Everything up to here is dealt with or passed over.
    reached: Position,
    /// The lease under which a policy works, if any.
    lease: Option<LeaseToken>,
    /// How many events are dealt with at once. Halved when that fails, doubled when it goes well.
    events: usize,
}

/// How a follower is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) reached: Position,
    pub(crate) state: FollowerState,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more.
    Moved,
    /// Everything there is has been dealt with.
    Idle,
    /// Another process runs the follower by now.
    LeaseLost,
    /// An event could not be dealt with; it is worth trying again.
    Failing,
    /// An event cannot be dealt with.
    Stopped,
}

/// Why a piece of a page was not dealt with.
enum Failure {
    /// Somebody else runs this follower and has moved it: go on from there.
    Moved(Position),
    /// Somebody else has the lease.
    LeaseLost,
    /// The store does not answer: try again later.
    Unavailable(StoreError),
    /// An event of the piece cannot be dealt with.
    Event(Cause),
}

impl<S> Feed<S> {
    /// The follower at the position where it stopped last time.
    pub(crate) async fn open(
        name: Name,
        upstream: Arc<dyn EventStore>,
        handlers: BTreeMap<Name, Arc<dyn Handler<S>>>,
        policy: Option<Application>,
        on_failure: OnFailure,
    ) -> Result<Self, StoreError> {
        let stored = match &policy {
            Some(app) => app.store().tracking(&name, upstream.log_id()).await?,
            None => Position::ZERO,
        };
        let status = watch::Sender::new(Status { reached: stored, state: FollowerState::Running });
        let cursor = Mutex::new(Cursor { stored, reached: stored, lease: None, events: EVENTS_PER_PAGE_MAX });
        Ok(Self { name, upstream, handlers, policy, on_failure, cursor, status })
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Deals with the next page, if there is one. Runners never drop it half-way, so a projection takes an event once.
    ///
    /// # Errors
    /// The store did not answer. Try again later; nothing is lost or repeated.
    pub(crate) async fn step(&self, system: &S) -> Result<Step, StoreError> {
        let mut cursor = self.cursor.lock().await;
        if self.status.borrow().state.stopped().is_some() {
            return Ok(Step::Stopped);
        }
        let query = LogQuery::after(cursor.reached).limit(EVENTS_PER_PAGE_MAX).categories(self.takes());
        let page = match self.upstream.read_log(query).await {
            Ok(page) => page,
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            Err(error) => return Ok(self.fail(cursor.reached, "the log".into(), error.into())),
        };
        let step = self.deal_with(system, &mut cursor, page).await;
        self.status.send_if_modified(|status| std::mem::replace(&mut status.reached, cursor.reached) != cursor.reached);
        step
    }

    /// This process runs the follower from now on, from where the last one left it.
    pub(crate) async fn take_over(&self, token: LeaseToken, position: Position) {
        let mut cursor = self.cursor.lock().await;
        cursor.lease = Some(token);
        cursor.move_to(position);
        self.status.send_modify(|status| *status = Status { reached: position, state: FollowerState::Running });
    }

    /// Another process runs the follower; this one only looks where it is. Returns the head before it looked: when the
    /// other one moves, more will be written.
    pub(crate) async fn stand_by(&self, holder: HolderId) -> Result<Position, StoreError> {
        let Some(app) = &self.policy else { return Ok(Position::ZERO) };
        let head = app.store().head().await?;
        let position = app.store().tracking(&self.name, self.upstream.log_id()).await?;
        let passed_over = self.passed_over(position).await?;
        let reached = passed_over.unwrap_or(position);
        self.status.send_modify(|status| *status = Status { reached, state: FollowerState::StandingBy { holder } });
        Ok(head)
    }

    /// The end of the log, if there is nothing between `position` and it that the follower takes: the one who runs
    /// it does not write down what it passes over.
    async fn passed_over(&self, position: Position) -> Result<Option<Position>, StoreError> {
        let next = LogQuery::after(position).limit(1).categories(self.takes());
        let page = self.upstream.read_log(next).await?;
        Ok(page.events.is_empty().then_some(page.ceiling))
    }

    /// The stored names of the aggregates whose events it takes.
    pub(crate) fn takes(&self) -> impl Iterator<Item = Name> {
        self.handlers.keys().cloned()
    }

    /// Deals with a page in pieces, which get smaller when one fails, until the one bad event stands alone.
    async fn deal_with(&self, system: &S, cursor: &mut Cursor, page: LogPage) -> Result<Step, StoreError> {
        let (before, empty) = (cursor.reached, page.events.is_empty());
        let mut rest = &page.events[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cursor.events.min(rest.len()));
            let to = if later.is_empty() { page.ceiling } else { piece[piece.len() - 1].position };
            match self.piece(system, cursor, piece, to).await {
                Ok(()) => {
                    self.succeed();
                    cursor.events = (cursor.events * 2).min(EVENTS_PER_PAGE_MAX);
                    rest = later;
                }
                Err(Failure::Moved(actual)) => {
                    debug!(follower = %self.name, %actual, "moved by another process");
                    cursor.move_to(actual);
                    return Ok(Step::Moved);
                }
                Err(Failure::LeaseLost) => {
                    // Perhaps the page took longer than the lease lasts.
                    cursor.events = (piece.len() / 2).max(1);
                    return Ok(Step::LeaseLost);
                }
                Err(Failure::Unavailable(error)) => return Err(error),
                Err(Failure::Event(_)) if piece.len() > 1 => cursor.events = piece.len() / 2,
                Err(Failure::Event(cause)) => return Ok(self.fail(piece[0].position, describe(&piece[0]), cause)),
            }
        }
        self.pass_over(cursor, page.ceiling).await?;
        Ok(if empty && cursor.reached == before { Step::Idle } else { Step::Moved })
    }

    async fn piece(&self, system: &S, cursor: &mut Cursor, piece: &[StoredEvent], to: Position) -> Result<(), Failure> {
        match &self.policy {
            Some(app) => self.react(system, app, cursor, piece, to).await,
            None => self.project(system, cursor, piece).await,
        }
    }

    /// Has the policy deal with the events, and writes what it recorded together with the new position.
    async fn react(
        &self,
        system: &S,
        app: &Application,
        cursor: &mut Cursor,
        piece: &[StoredEvent],
        to: Position,
    ) -> Result<(), Failure> {
        let mut backoff = RetryPolicy::default().start("follower");
        loop {
            let mut work = Work::new(app.clone());
            for event in piece {
                let handled = self.handle(system, event, Some(&mut work)).await;
                handled.map_err(|cause| failure(&work, cause))?;
            }
            let append = work.into_append(self.tracking(cursor, to)).map_err(|error| Failure::Event(error.into()))?;
            match app.store().append(append).await {
                Ok(_) => {
                    cursor.move_to(to);
                    return Ok(());
                }
                Err(StoreError::TrackingConflict { actual, .. }) => return Err(Failure::Moved(actual)),
                Err(StoreError::LeaseLost { .. }) => return Err(Failure::LeaseLost),
                Err(error @ StoreError::Unavailable { .. }) => return Err(Failure::Unavailable(error)),
                Err(error @ StoreError::Conflict { .. }) => {
                    backoff.wait(error).await.map_err(|error| Failure::Event(error.into()))?;
                }
                Err(error) => return Err(Failure::Event(error.into())),
            }
        }
    }

    async fn project(&self, system: &S, cursor: &mut Cursor, piece: &[StoredEvent]) -> Result<(), Failure> {
        for event in piece {
            if event.position > cursor.reached {
                self.handle(system, event, None).await.map_err(Failure::Event)?;
                cursor.reached = event.position;
            }
        }
        Ok(())
    }

    async fn handle(&self, system: &S, event: &StoredEvent, work: Option<&mut Work>) -> Result<(), Cause> {
        let handler = &self.handlers[&event.stream.category];
        catching(handler.handle(system, event, work)).await
    }

    /// Moves over events at the end of a page that the follower does not take. Written down only now and then:
    /// passing over them again costs little.
    async fn pass_over(&self, cursor: &mut Cursor, ceiling: Position) -> Result<(), StoreError> {
        cursor.reached = ceiling.max(cursor.reached);
        let Some(app) = &self.policy else { return Ok(()) };
        if cursor.reached.as_u64() - cursor.stored.as_u64() < PASSED_OVER_MAX {
            return Ok(());
        }
        let append = app.encode_work(std::iter::empty(), self.tracking(cursor, cursor.reached))?;
        match app.store().append(append).await {
            Ok(_) => cursor.stored = cursor.reached,
            Err(StoreError::TrackingConflict { actual, .. }) => cursor.move_to(actual),
            // The next event, or the next renewal of the lease, brings it to light.
            Err(StoreError::LeaseLost { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn tracking(&self, cursor: &Cursor, to: Position) -> Tracking {
        Tracking::new(self.name.clone(), self.upstream.log_id(), cursor.stored, to).with_lease(cursor.lease)
    }

    fn fail(&self, position: Position, event: String, source: Cause) -> Step {
        let (follower, source) = (self.name.clone(), Arc::from(source));
        let failure = FollowerFailure { follower, position, event, cause: chain(&source), source };
        let (state, step) = match self.on_failure {
            OnFailure::Stop => {
                error!(follower = %self.name, %position, error = %failure.cause, "follower stopped");
                (FollowerState::Stopped(failure), Step::Stopped)
            }
            OnFailure::Retry => {
                warn!(follower = %self.name, %position, error = %failure.cause, "follower failed and tries again");
                (FollowerState::Retrying(failure), Step::Failing)
            }
        };
        self.status.send_modify(|status| status.state = state);
        step
    }

    /// Whatever was wrong is mended.
    fn succeed(&self) {
        self.status.send_if_modified(|status| {
            let mended = status.state.failure().is_some();
            status.state = FollowerState::Running;
            mended
        });
    }
}

impl Cursor {
    /// What the store says it is.
    fn move_to(&mut self, position: Position) {
        (self.stored, self.reached) = (position, position);
    }
}

/// An outage of the store that the policy met through its work is not the fault of the event.
fn failure(work: &Work, cause: Cause) -> Failure {
    match work.met_outage() {
        true => Failure::Unavailable(StoreError::unavailable(cause.to_string(), cause)),
        false => Failure::Event(cause),
    }
}

fn describe(event: &StoredEvent) -> String {
    format!("{} of {}, version {}", event.name, event.stream, event.version)
}

/// An error and its sources in one line.
fn chain(error: &Arc<dyn std::error::Error + Send + Sync>) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Turns a panic of user code into an error, so that a follower never ends silently.
async fn catching(handling: impl Future<Output = Result<(), Cause>>) -> Result<(), Cause> {
    let mut handling = pin!(handling);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(format!("panicked: {}", panic_message(&*panic)).into())),
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        _ => "no message",
    }
}
