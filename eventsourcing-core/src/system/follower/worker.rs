//! [`FollowerWorker`]: one follower on one log. A step reads a page, has it processed, and writes
//! the effects and the position together.
//!
//! The worker has no task of its own: a runner calls [`FollowerWorker::step`] when there may be
//! something to do. The effects of events are not its business either: they are those of its
//! [`Sink`].

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
use crate::store::{Cut, FollowerStore, LogId, Name, StoreError};
use crate::system::notes::RETIRED;
use crate::system::{FollowerState, OnFailure};

/// The pause of a follower after another process has changed its notes, for example to retry a
/// parked event. Without the pause a busy follower would make step after step, and each further
/// change would fail because of a newer revision.
const ROOM_FOR_OTHERS: Duration = Duration::from_millis(100);

/// One follower on one log, or one partition of it.
pub(crate) struct FollowerWorker<S> {
    /// The name by which the follower is declared.
    pub(crate) name: Name,
    pub(crate) upstream: Arc<dyn FollowerStore>,
    pub(super) followed: FollowedEvents,
    pub(crate) partition: Partition,
    /// The number of partitions that each step names, if the follower can be partitioned.
    pub(in crate::system) cut: Option<Cut>,
    pub(in crate::system) sink: Box<dyn Sink<S>>,
    pub(in crate::system) on_failure: OnFailure,
    pub(in crate::system) clock: Arc<dyn Clock>,
    pub(in crate::system) cursor: Mutex<Cursor>,
    pub(super) status: watch::Sender<Status>,
    /// The time at which the next timer is due, as of the last step.
    pub(super) next_due: std::sync::Mutex<Option<Timestamp>>,
}

/// The settings of a worker.
#[derive(Clone)]
pub(crate) struct WorkerSettings {
    pub(crate) on_failure: OnFailure,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<S> FollowerWorker<S> {
    /// Opens the follower at its stored position.
    pub(crate) async fn open(
        name: Name,
        upstream: Arc<dyn FollowerStore>,
        followed: FollowedEvents,
        partition: Partition,
        sink: Box<dyn Sink<S>>,
        settings: &WorkerSettings,
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
            .is_partitionable()
            .then(|| Cut::new(name.clone(), partition.count()));
        let cursor = cursor.with_cut(cut.clone());
        let status = watch::Sender::new(Status::of(&cursor, FollowerState::Running));
        let cursor = Mutex::new(cursor);
        let next_due = std::sync::Mutex::default();

        let WorkerSettings { on_failure, clock } = settings.clone();
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

    /// Returns the stored names of the aggregates whose events it takes.
    pub(crate) fn takes(&self) -> impl Iterator<Item = Name> {
        self.followed.aggregates().cloned()
    }

    /// Returns the store that keeps its position and notes, the name they are kept under, and the
    /// followed log.
    pub(crate) fn home(&self) -> (&Arc<dyn FollowerStore>, Name, LogId) {
        (
            self.sink.home(),
            self.partition.name(&self.sink.follower()),
            self.upstream.log_id(),
        )
    }

    /// Returns `true` if all processes share the target of the follower, so that only one of them
    /// at a time should run it.
    pub(crate) fn is_shared(&self) -> bool {
        self.sink.is_shared()
    }

    /// Processes the timers that are due, or else the next page, if there is one. Runners never
    /// drop this future before it is ready.
    ///
    /// # Errors
    /// The store did not answer. Retry later; no event is lost or processed twice.
    pub(crate) async fn step(&self, system: &S) -> Result<Step, StoreError> {
        match catch_async(self.take_step(system)).await {
            Ok(step) => step,
            Err(panic) => Ok(self.fail_over(panic).await),
        }
    }

    /// Fails because of a panic that belongs to no event and no timer, such as one of a clock.
    pub(crate) async fn fail_over(&self, panic: Panicked) -> Step {
        let mut cursor = self.cursor.lock().await;
        // The panic may have interrupted the reader of pages between two of its own steps, so a new
        // one starts at the position.
        cursor.pages = None;
        self.fail(cursor.reached, "the next step".into(), panic.into())
    }

    async fn take_step(&self, system: &S) -> Result<Step, StoreError> {
        let mut cursor = self.cursor.lock().await;
        if self.status.borrow().state.stopped().is_some() {
            return Ok(Step::Stopped);
        }
        if self.is_observer() {
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
        if let Some(step) = self.process_due_timers(system, &mut cursor).await? {
            return Ok(step);
        }
        let page = match self.next_page(&mut cursor).await {
            Ok(page) if Some(page.epoch) == cursor.proven() => page,
            // The log was restored or promoted meanwhile. The page may hold events of another
            // history, so it is discarded, and the next step first proves the position in the new
            // epoch.
            Ok(_) | Err(StoreError::LogWentBack { .. }) => {
                cursor.pages = None;
                return Ok(Step::Moved);
            }
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            Err(error) => return Ok(self.fail(cursor.reached, "the log".into(), error.into())),
        };
        let step = self.process(system, &mut cursor, page).await;
        if let Ok(Step::Idle) = step {
            // A failure outside the events, such as a panic of the clock, has passed. No event is
            // left whose success would clear it.
            self.clear_failure();
        }
        self.show(&cursor);
        step
    }

    /// Proves that the log still has the last event that the follower has seen, and that its home
    /// has lost no step: at the start, and whenever a new epoch of either begins. After that the
    /// follower continues at its stored position, because the range that it has skipped since may
    /// hold other events in the new epoch. Returns the step to end with if there is no proof.
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
                        "the events it has processed".into(),
                        error.into(),
                    )));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Continues where another process has moved the follower.
    pub(super) async fn moved(&self, cursor: &mut Cursor) -> Result<Step, StoreError> {
        let held_lease = cursor.lease.is_some();
        if self.refresh(cursor).await? && held_lease {
            return Ok(Step::LeaseLost);
        }
        if held_lease {
            tokio::time::sleep(ROOM_FOR_OTHERS).await;
        }
        debug!(follower = %self.name, position = %cursor.reached, "follower moved by another process");
        Ok(Step::Moved)
    }

    /// Reloads the cursor, because another process may have made a step. Returns `true` if the
    /// follower works under another name from now on.
    pub(in crate::system) async fn refresh(&self, cursor: &mut Cursor) -> Result<bool, StoreError> {
        let mut lease = cursor.lease;
        let events = cursor.events;

        let mut has_new_name = false;
        *cursor = self.load_cursor(events).await?;
        if cursor.reached == RETIRED && self.sink.adopt_successor().await? {
            (has_new_name, lease) = (true, None);
            *cursor = self.load_cursor(events).await?;
        }
        cursor.lease = lease;
        match cursor.verify(&*self.upstream).await {
            // The cursor stays unproven, so the next step runs into the same error and reports it.
            Ok(()) | Err(StoreError::LogWentBack { .. }) => Ok(has_new_name),
            Err(error) => Err(error),
        }
    }

    async fn load_cursor(&self, events: usize) -> Result<Cursor, StoreError> {
        let (home, follower, upstream) = self.home();
        let cursor = Cursor::load(&**home, follower, upstream, events, &self.followed).await?;
        Ok(cursor.with_cut(self.cut.clone()))
    }
}
