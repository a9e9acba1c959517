//! [`Feed`]: one follower on one log. Reads a page, has it dealt with, writes the work and the position together.
//!
//! It knows nothing of tasks: a runner calls [`Feed::step`] when there may be something to do. It knows nothing either
//! of what deals with the events: that is its [`Sink`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tracing::{debug, warn};

use super::EVENTS_PER_PAGE_MAX;
use super::cursor::Cursor;
use super::followed_events::FollowedEvents;
use super::partition::Partition;
use super::sinks::Sink;
use super::status::{Status, Step};
use crate::Clock;
use crate::panics::{Panicked, catch_async};
use crate::store::{Cut, EventStore, LogId, Name, StoreError};
use crate::system::notes::RETIRED;
use crate::system::{FollowerState, OnFailure};

/// How long a follower rests when somebody has done something about its parked events, so that they can go on.
const ROOM_FOR_OTHERS: Duration = Duration::from_millis(100);

/// One follower on one log, or one partition of it.
pub(crate) struct Feed<S> {
    /// As it is declared.
    pub(crate) name: Name,
    pub(crate) upstream: Arc<dyn EventStore>,
    pub(super) followed: FollowedEvents,
    pub(crate) partition: Partition,
    /// The cut that its steps rely on, if it may be cut.
    pub(in crate::system) cut: Option<Cut>,
    pub(in crate::system) sink: Box<dyn Sink<S>>,
    pub(in crate::system) on_failure: OnFailure,
    pub(in crate::system) clock: Arc<dyn Clock>,
    pub(in crate::system) cursor: Mutex<Cursor>,
    pub(super) status: watch::Sender<Status>,
    /// When its next timer is due, as of the last step.
    pub(super) next_due: std::sync::Mutex<Option<Timestamp>>,
}

/// What may be chosen for a feed.
#[derive(Clone)]
pub(crate) struct FeedSettings {
    pub(crate) on_failure: OnFailure,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<S> Feed<S> {
    /// The follower at the position where it stopped last time.
    pub(crate) async fn open(
        name: Name,
        upstream: Arc<dyn EventStore>,
        followed: FollowedEvents,
        partition: Partition,
        sink: Box<dyn Sink<S>>,
        settings: &FeedSettings,
    ) -> Result<Self, StoreError> {
        let follower = partition.name(&sink.follower());
        let cursor = Cursor::load(
            &**sink.home(),
            follower,
            upstream.log_id(),
            EVENTS_PER_PAGE_MAX,
            &followed,
        )
        .await?;
        let cut = sink
            .is_cut()
            .then(|| Cut::new(name.clone(), partition.count()));
        let cursor = cursor.with_cut(cut.clone());
        let status = watch::Sender::new(Status::of(&cursor, FollowerState::Running));
        let cursor = Mutex::new(cursor);
        let next_due = std::sync::Mutex::default();

        let FeedSettings { on_failure, clock } = settings.clone();
        Ok(Self {
            name,
            upstream,
            followed,
            partition,
            cut,
            sink,
            on_failure,
            clock,
            cursor,
            status,
            next_due,
        })
    }

    /// The stored names of the aggregates whose events it takes.
    pub(crate) fn takes(&self) -> impl Iterator<Item = Name> {
        self.followed.aggregates().cloned()
    }

    /// Where its position and its notes are kept, under this name.
    pub(crate) fn home(&self) -> (&Arc<dyn EventStore>, Name, LogId) {
        (
            self.sink.home(),
            self.partition.name(&self.sink.follower()),
            self.upstream.log_id(),
        )
    }

    /// Whether all processes share what it writes to, so that one of them at a time should run it.
    pub(crate) fn is_shared(&self) -> bool {
        self.sink.is_shared()
    }

    /// Deals with timers that are due, or else with the next page, if there is one. Runners never drop it half-way.
    ///
    /// # Errors
    /// The store did not answer. Try again later; nothing is lost or repeated.
    pub(crate) async fn step(&self, system: &S) -> Result<Step, StoreError> {
        match catch_async(self.take_step(system)).await {
            Ok(step) => step,
            Err(panic) => Ok(self.fail_over(panic).await),
        }
    }

    /// Fails because of a panic that belongs to no event and no timer, such as one of a clock.
    pub(crate) async fn fail_over(&self, panic: Panicked) -> Step {
        let mut cursor = self.cursor.lock().await;
        // The page that was under way may have been read ahead half-way.
        cursor.pages = None;
        self.fail(cursor.reached, "what comes next".into(), panic.into())
    }

    async fn take_step(&self, system: &S) -> Result<Step, StoreError> {
        let mut cursor = self.cursor.lock().await;
        if self.status.borrow().state.stopped().is_some() {
            return Ok(Step::Stopped);
        }
        if self.looks_on() {
            drop(cursor);
            self.stand_by(None).await?;
            return Ok(Step::Idle);
        }
        if let Some(step) = self.prove(&mut cursor).await? {
            return Ok(step);
        }
        if let Some(step) = self.wait_for_other_release(&mut cursor).await? {
            return Ok(step);
        }
        if let Some(step) = self.deal_with_timers(system, &mut cursor).await? {
            return Ok(step);
        }
        let page = match self.next_page(&mut cursor).await {
            Ok(page) if Some(page.epoch) == cursor.proven() => page,
            // Another epoch has begun: where it goes on is found out before anything else.
            Ok(_) | Err(StoreError::LogWentBack { .. }) => {
                cursor.pages = None;
                return Ok(Step::Moved);
            }
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            Err(error) => return Ok(self.fail(cursor.reached, "the log".into(), error.into())),
        };
        let step = self.deal_with(system, &mut cursor, page).await;
        if let Ok(Step::Idle) = step {
            // A failure that belonged to no event, such as one of a clock, has passed, and no event is left that would show it.
            self.succeed();
        }
        self.show(&cursor);
        step
    }

    /// Makes sure that the log still has what the follower has seen of it, and that nothing has been lost at home: at first, and
    /// whenever either may have forgotten something. Then it goes on from its stored position, for what it has passed over
    /// since may hold other events now. `Some`: it has stopped.
    pub(super) async fn prove(&self, cursor: &mut Cursor) -> Result<Option<Step>, StoreError> {
        let home = self.sink.home();
        while !cursor.is_proven(home.epoch(), self.upstream.epoch()) {
            if !cursor.is_fresh() {
                let held_lease = cursor.lease.is_some();
                let before = cursor.reached;

                if self.refresh(cursor).await? && held_lease {
                    return Ok(Some(Step::LeaseLost));
                }
                if cursor.reached < before {
                    warn!(follower = %self.name, %before, position = %cursor.reached,
                        "the store may have lost commits; the follower goes on from the position that the store has");
                }
                self.show(cursor);
                if cursor.proven().is_some() {
                    continue;
                }
            }
            match cursor.verify(&*self.upstream).await {
                Ok(()) => self.show(cursor),
                Err(error @ StoreError::LogWentBack { .. }) => {
                    let place = cursor.place().position;
                    return Ok(Some(self.fail(
                        place,
                        "what it has dealt with".into(),
                        error.into(),
                    )));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Somebody else has moved the follower.
    pub(super) async fn moved(&self, cursor: &mut Cursor) -> Result<Step, StoreError> {
        let held_lease = cursor.lease.is_some();
        if self.refresh(cursor).await? && held_lease {
            return Ok(Step::LeaseLost);
        }
        if held_lease {
            tokio::time::sleep(ROOM_FOR_OTHERS).await;
        }
        debug!(follower = %self.name, position = %cursor.reached, "moved by another process");
        Ok(Step::Moved)
    }

    /// Reads again where the follower is: somebody else has moved it. True if it works under another name from now on.
    pub(in crate::system) async fn refresh(&self, cursor: &mut Cursor) -> Result<bool, StoreError> {
        let mut lease = cursor.lease;
        let events = cursor.events;

        let mut has_succeeded = false;
        *cursor = self.load_cursor(events).await?;
        if cursor.reached == RETIRED && self.sink.succeed().await? {
            (has_succeeded, lease) = (true, None);
            *cursor = self.load_cursor(events).await?;
        }
        cursor.lease = lease;
        match cursor.verify(&*self.upstream).await {
            // It stays unproven: whoever goes on from here finds out as well, and says so.
            Ok(()) | Err(StoreError::LogWentBack { .. }) => Ok(has_succeeded),
            Err(error) => Err(error),
        }
    }

    async fn load_cursor(&self, events: usize) -> Result<Cursor, StoreError> {
        let (home, follower, upstream) = self.home();
        let cursor = Cursor::load(&**home, follower, upstream, events, &self.followed).await?;
        Ok(cursor.with_cut(self.cut.clone()))
    }
}
