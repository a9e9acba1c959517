//! [`Feed`]: one follower on one log. Reads a page, has it dealt with, writes the work and the position together.
//!
//! It knows nothing of tasks: a runner calls [`Feed::step`] when there may be something to do. It knows nothing either
//! of what deals with the events: that is its [`Sink`].

mod agreed_events;
mod causes;
mod cursor;
mod cuts;
mod declaration;
mod event_filter;
mod failure;
mod followed_events;
mod handlers;
mod partition;
mod resume;
mod rewind;
mod sinks;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tracing::{debug, error, warn};

use super::notes::{self, HolderInfo, RETIRED};
use super::parking::sort_out;
use super::{FollowerFailure, FollowerState, Holder, OnFailure, Parked};
use crate::panics::{Panicked, catch_async};
use crate::store::{
    Cut, Epoch, EventStore, HolderId, LeaseHolder, LeaseToken, LogChecksumsQuery, LogId, LogPage,
    LogQuery, Name, NotesQuery, Position, StoreError, StoredEvent,
};
use crate::{Clock, LogPages};
use causes::is_of_newer_release;

pub(crate) use causes::described;
#[cfg(feature = "archive")]
pub(crate) use cursor::checksum_note;
pub(crate) use cursor::read_checksum;
pub(in crate::system) use cursor::{Cursor, NextStep};
pub(crate) use cuts::check_cut;
#[cfg(feature = "archive")]
pub(crate) use cuts::partitions_of;
pub use declaration::{Follower, PolicyFollower, ProjectionFollower, SqlProjectionFollower};
pub(crate) use declaration::{Routes, Target};
pub(crate) use event_filter::Needs;
pub(crate) use failure::{Cause, Failure};
pub(crate) use followed_events::FollowedEvents;
pub(crate) use handlers::HandleSqlEvent;
pub(crate) use partition::Partition;
pub(crate) use rewind::Kept;
pub(crate) use sinks::{Handlers, PlainSink, PolicySink, Sink, catching};
pub(crate) use timers::Pending;
pub(in crate::system) use timers::write_timer;

/// How many events a page has at most. Two pages are in memory: one that is dealt with, and one that was read ahead.
pub(in crate::system) const EVENTS_PER_PAGE_MAX: usize = 256;
/// How many streams a follower parks before it stops: by then it is not the events that are wrong.
pub(in crate::system) const PARKED_STREAMS_MAX: usize = 10_000;
/// How long a follower rests when somebody has done something about its parked events, so that they can go on.
const ROOM_FOR_OTHERS: Duration = Duration::from_millis(100);
/// How far a follower passes over events it does not take before it writes that down.
const PASSED_OVER_MAX: u64 = 10_000;

/// One follower on one log, or one partition of it.
pub(crate) struct Feed<S> {
    /// As it is declared.
    pub(crate) name: Name,
    pub(crate) upstream: Arc<dyn EventStore>,
    followed: FollowedEvents,
    pub(crate) partition: Partition,
    /// The cut that its steps rely on, if it may be cut.
    pub(in crate::system) cut: Option<Cut>,
    pub(in crate::system) sink: Box<dyn Sink<S>>,
    pub(in crate::system) on_failure: OnFailure,
    pub(in crate::system) clock: Arc<dyn Clock>,
    pub(in crate::system) cursor: Mutex<Cursor>,
    status: watch::Sender<Status>,
    /// When its next timer is due, as of the last step.
    next_due: std::sync::Mutex<Option<Timestamp>>,
}

/// What may be chosen for a feed.
#[derive(Clone)]
pub(crate) struct FeedSettings {
    pub(crate) on_failure: OnFailure,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How a follower is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) reached: Position,
    pub(crate) state: FollowerState,
    /// Whether it holds events back.
    pub(crate) has_parked: bool,
    /// The epoch of the log in which it was proven where it is; `None` if it was not.
    pub(crate) epoch: Option<Epoch>,
}

/// Whether an event waits for people.
#[async_trait]
pub(crate) trait Holds: Send + Sync {
    /// The parked stream because of which the event at `position` is not dealt with.
    async fn holding(&self, position: Position) -> Result<Option<Parked>, StoreError>;
}

#[async_trait]
impl<S: Send + Sync> Holds for Feed<S> {
    async fn holding(&self, position: Position) -> Result<Option<Parked>, StoreError> {
        if position == Position::ZERO || !self.status.borrow().has_parked {
            return Ok(None);
        }
        let query = LogQuery::after(Position::new(position.as_u64() - 1))
            .limit(1)
            .categories(self.takes());
        let found = self
            .upstream
            .read_log(query)
            .await?
            .events
            .into_iter()
            .next();
        match found.filter(|event| event.position == position) {
            Some(event) if self.notes().holds(&event).await? => Ok(self
                .parked()
                .await?
                .into_iter()
                .find(|parked| parked.stream == event.stream)),
            _ => Ok(None),
        }
    }
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
    /// An event cannot be dealt with by this release; another process may run a newer one.
    Outdated,
    /// An event cannot be dealt with.
    Stopped,
}

impl Status {
    /// Returns `true` if everything up to `position` is dealt with, in this life of the log, and the follower has not stopped there.
    pub(crate) fn is_at(&self, position: Position, epoch: Epoch) -> bool {
        self.reached >= position && self.epoch == Some(epoch) && self.state.stopped().is_none()
    }

    fn of(cursor: &Cursor, state: FollowerState) -> Self {
        Self {
            reached: cursor.reached,
            state,
            has_parked: !cursor.parked.is_empty(),
            epoch: cursor.proven(),
        }
    }
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

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
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
    async fn prove(&self, cursor: &mut Cursor) -> Result<Option<Step>, StoreError> {
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

    /// The next events that it takes; those after them are read meanwhile.
    async fn next_page(&self, cursor: &mut Cursor) -> Result<LogPage, StoreError> {
        let reached = cursor.reached;
        let epoch = cursor.proven().unwrap_or(self.upstream.epoch());
        let pages = match &mut cursor.pages {
            Some(pages) if pages.after() == reached => pages,
            pages => pages.insert(LogPages::behind(
                Arc::clone(&self.upstream),
                self.query_after(reached),
                epoch,
            )),
        };
        Ok(self.of_partition(pages.next().await?))
    }

    /// Waits until there is an event after `position`, or another epoch has begun in the log.
    pub(crate) async fn wait_beyond(&self, position: Position) -> Result<(), StoreError> {
        let epoch = self.status.borrow().epoch;
        match self.upstream.wait_beyond(position, epoch).await {
            Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The events after any position that it takes.
    async fn page_after(&self, position: Position) -> Result<LogPage, StoreError> {
        Ok(self.of_partition(self.upstream.read_log(self.query_after(position)).await?))
    }

    fn query_after(&self, position: Position) -> LogQuery {
        LogQuery::after(position)
            .limit(EVENTS_PER_PAGE_MAX)
            .categories(self.takes())
    }

    fn of_partition(&self, mut page: LogPage) -> LogPage {
        page.events
            .retain(|event| self.partition.contains(&event.stream));
        page
    }

    /// Whether it only looks how far another version is.
    pub(crate) fn looks_on(&self) -> bool {
        self.sink.looks_on()
    }

    /// This process runs the follower from now on, from where the last one left it, and says so in its notes. False if it
    /// works under another name by now, for which it has no lease.
    pub(crate) async fn take_over(
        &self,
        token: LeaseToken,
        who: &HolderInfo,
    ) -> Result<bool, StoreError> {
        let mut cursor = self.cursor.lock().await;
        cursor.lease = Some(token);
        if self.refresh(&mut cursor).await? {
            return Ok(false);
        }
        match self.prove(&mut cursor).await? {
            None => {}
            Some(step) => return Ok(step != Step::LeaseLost),
        }
        let mut step = cursor.step_in_place();
        let note = serde_json::to_string(who).expect("an id and a text");
        step.tracking = step.tracking.with_note(notes::HOLDER, note);
        match self.sink.pass_over(step.tracking.clone()).await {
            Ok(()) => cursor.done(step),
            Err(Failure::Unavailable(error)) => return Err(error),
            Err(Failure::CutChanged(refusal)) => {
                self.stop_for_cut(cursor.reached, refusal);
                return Ok(true);
            }
            // Somebody works on its notes, or has the lease by now; the next step brings it to light.
            Err(_) => drop(self.refresh(&mut cursor).await?),
        }
        self.status.send_modify(|status| {
            // What it waits for may still not be there.
            let waits = matches!(status.state, FollowerState::WaitingForRelease(_));
            let state = if waits {
                status.state.clone()
            } else {
                FollowerState::Running
            };
            *status = Status::of(&cursor, state);
        });
        Ok(true)
    }

    /// Another process runs the follower; this one only looks where it is. Returns the head before it looked: when the
    /// other one moves, more will be written.
    pub(crate) async fn stand_by(&self, holder: Option<HolderId>) -> Result<Position, StoreError> {
        if self.looks_on() && self.sink.succeed().await? {
            self.refresh(&mut *self.cursor.lock().await).await?;
        }
        let head = self.sink.home().head().await?;
        let epoch = Some(self.upstream.epoch());
        let (mut position, mut has_parked) = self.notes().place().await?;
        if position == RETIRED && self.sink.succeed().await? {
            (position, has_parked) = self.notes().place().await?;
        }
        let reached = self.passed_over(position).await?;
        let state = FollowerState::StandingBy { holder };
        self.status.send_replace(Status {
            reached,
            state,
            has_parked,
            epoch,
        });
        Ok(head)
    }

    /// Shows how far it is.
    pub(in crate::system) fn show(&self, cursor: &Cursor) {
        let now = (cursor.reached, !cursor.parked.is_empty(), cursor.proven());
        self.status.send_if_modified(|status| {
            let before = (status.reached, status.has_parked, status.epoch);
            (status.reached, status.has_parked, status.epoch) = now;
            before != now
        });
    }

    /// How many events it has not dealt with up to `head`.
    pub(crate) async fn lag(&self, reached: Position, head: Position) -> Result<u64, StoreError> {
        if reached >= head {
            return Ok(0);
        }
        if self.partition == Partition::WHOLE {
            let query = LogChecksumsQuery::new(reached, head).categories(self.takes());
            return Ok(self
                .upstream
                .checksums(query)
                .await?
                .values()
                .map(|checksums| checksums.count)
                .sum());
        }
        let mut events = 0;
        let mut position = reached;

        while position < head {
            let page = self.page_after(position).await?;
            events += page.events.len() as u64;
            position = page.ceiling;
        }
        Ok(events)
    }

    /// Who runs it, if it is run under a lease: how it calls itself, and for how long it does if it is silent from now on.
    pub(crate) async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let (home, follower, upstream) = self.home();
        let Some(LeaseHolder {
            holder, expires_in, ..
        }) = home.lease_holder(&follower, upstream).await?
        else {
            return Ok(None);
        };
        let notes = home
            .notes(NotesQuery::new(follower, upstream, notes::HOLDER))
            .await?
            .notes;
        let who = notes
            .get(notes::HOLDER)
            .and_then(|note| serde_json::from_str::<HolderInfo>(note).ok());
        let who = who.filter(|who| who.holder == holder);
        let process = who.map_or_else(|| holder.to_string(), |who| who.process);
        Ok(Some(Holder {
            holder,
            process,
            expires_in,
        }))
    }

    /// Before the first event after `position` that the follower takes, or the end of the log: the one who runs it does not
    /// always write down what it passes over.
    async fn passed_over(&self, mut position: Position) -> Result<Position, StoreError> {
        loop {
            let page = self.page_after(position).await?;
            match page.events.first() {
                Some(next) => return Ok(Position::new(next.position.as_u64() - 1)),
                None if page.ceiling == position => return Ok(position),
                None => position = page.ceiling,
            }
        }
    }

    /// Deals with a page in pieces, which get smaller when one fails, until the one bad event stands alone.
    async fn deal_with(
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

    /// Somebody else has moved the follower.
    async fn moved(&self, cursor: &mut Cursor) -> Result<Step, StoreError> {
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

    fn fail(&self, position: Position, event: String, source: Cause) -> Step {
        let is_outdated = is_of_newer_release(&*source);
        let has_gone_back = matches!(source.downcast_ref(), Some(StoreError::LogWentBack { .. }));
        let failure = self.failure(position, event, source);
        let (state, step) = match self.on_failure {
            _ if is_outdated => {
                warn!(follower = %self.name, %position, error = %failure.cause, "follower waits for a newer release");
                (FollowerState::WaitingForRelease(failure), Step::Outdated)
            }
            // What is lost does not come back by trying again, nor does it belong to one event.
            _ if has_gone_back => {
                error!(follower = %self.name, %position, error = %failure.cause, "follower stopped: the log went back");
                (FollowerState::Stopped(failure), Step::Stopped)
            }
            OnFailure::Stop | OnFailure::Park => {
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

    pub(in crate::system) fn failure(
        &self,
        position: Position,
        event: String,
        source: Cause,
    ) -> FollowerFailure {
        let follower = self.name.clone();
        let (cause, source) = described(source);

        FollowerFailure {
            follower,
            position,
            event,
            cause,
            source,
        }
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

/// Its name, stream and version.
pub(crate) fn describe(event: &StoredEvent) -> String {
    format!(
        "{} of {}, version {}",
        event.name, event.stream, event.version
    )
}
