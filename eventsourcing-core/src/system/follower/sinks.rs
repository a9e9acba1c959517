//! [`Sink`]: the target of a follower's events. Each kind says how its effects and the follower's
//! step belong together.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::failure::StepFailure;
use super::handlers::{PolicyHandler, ProjectedEvents, ProjectionHandler, TimerHandler};
use super::timer_notes::with_changes;
use crate::panics::{catch, catch_async, text_of};
use crate::policy::CarryOver;
use crate::policy::timers::{Timer, TimerType};
use crate::retry::RetryPolicy;
use crate::store::{Append, BoxError, FollowerStore, Name, StoreError, StoredEvent, Tracking};
use crate::{Application, UnitOfWork};

/// Processes the events of a follower.
#[async_trait]
pub(crate) trait Sink<S>: Send + Sync {
    /// Returns the name under which the follower keeps its position.
    fn follower(&self) -> Name;

    /// Returns the store that keeps the follower's position and notes.
    fn home(&self) -> &Arc<dyn FollowerStore>;

    /// Returns `true` if all processes share the target, so that only one of them at a time should
    /// run the follower.
    fn is_shared(&self) -> bool {
        true
    }

    /// Looks for the generation that has replaced this one: its position is retired, or another
    /// version is live. Returns `true` if the follower works under another name from now on.
    async fn adopt_successor(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Returns `true` if the follower can run in partitions, so that each step names their number.
    fn is_partitionable(&self) -> bool {
        false
    }

    /// Returns `true` if another version writes the read model, so that this process only observes
    /// its position.
    fn is_observer(&self) -> bool {
        false
    }

    /// Processes the events and makes the step. After an error the step was not made, unless the
    /// store is unavailable: then it may have been.
    async fn process(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), StepFailure>;

    /// Processes timers; `None` if the follower has none by its declaration.
    fn timers(&self) -> Option<&dyn TimerSink<S>> {
        None
    }

    /// Makes a step over events that the follower does not take.
    async fn make_step(&self, step: Tracking) -> Result<(), StepFailure> {
        append(
            &**self.home(),
            Append::new(Timestamp::UNIX_EPOCH).with_tracking(step),
        )
        .await
    }
}

/// Processes the timers of a follower.
#[async_trait]
pub(crate) trait TimerSink<S>: Send + Sync {
    /// Returns the time that decides which timers are due.
    fn now(&self) -> Timestamp;

    /// Processes timers that are due, and makes the step that removes them. Errors mean the same as
    /// those of [`Sink::process`].
    async fn process_timers(
        &self,
        system: &S,
        due: &[Timer],
        step: Tracking,
    ) -> Result<(), StepFailure>;
}

async fn append(home: &dyn FollowerStore, append: Append) -> Result<(), StepFailure> {
    home.append(append).await?;
    Ok(())
}

/// The handlers by the stored name of the aggregate.
pub(crate) type Handlers<H> = BTreeMap<Name, Arc<H>>;

/// A policy. The events that it records and the step are one append.
pub(crate) struct PolicySink<S> {
    app: Application,
    /// The store of `app`.
    home: Arc<dyn FollowerStore>,
    handlers: Handlers<dyn PolicyHandler<S>>,
    /// The handler of its timers, if it has any.
    timers: Option<Arc<dyn TimerHandler<S>>>,
    /// The aggregates that the last unit of work hands to the next one. Empty while a unit of work
    /// runs and after one has failed.
    carry_over: Mutex<CarryOver>,
}

impl<S> PolicySink<S> {
    pub(crate) fn new(
        app: Application,
        home: Arc<dyn FollowerStore>,
        handlers: Handlers<dyn PolicyHandler<S>>,
        timers: Option<Arc<dyn TimerHandler<S>>>,
    ) -> Self {
        Self {
            app,
            home,
            handlers,
            timers,
            carry_over: Mutex::default(),
        }
    }
}

/// The work of one step of a policy.
#[derive(Clone, Copy)]
enum Task<'a> {
    Events(&'a [StoredEvent]),
    Timers(&'a [Timer]),
}

#[async_trait]
impl<S: Send + Sync> Sink<S> for PolicySink<S> {
    fn follower(&self) -> Name {
        self.app.name().clone()
    }

    fn home(&self) -> &Arc<dyn FollowerStore> {
        &self.home
    }

    fn is_partitionable(&self) -> bool {
        true
    }

    async fn process(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), StepFailure> {
        self.carry_out(system, Task::Events(events), step).await
    }

    fn timers(&self) -> Option<&dyn TimerSink<S>> {
        self.timers.is_some().then_some(self as &dyn TimerSink<S>)
    }
}

#[async_trait]
impl<S: Send + Sync> TimerSink<S> for PolicySink<S> {
    fn now(&self) -> Timestamp {
        self.app.now()
    }

    async fn process_timers(
        &self,
        system: &S,
        due: &[Timer],
        step: Tracking,
    ) -> Result<(), StepFailure> {
        self.carry_out(system, Task::Timers(due), step).await
    }
}

impl<S: Send + Sync> PolicySink<S> {
    async fn carry_out(
        &self,
        system: &S,
        task: Task<'_>,
        step: Tracking,
    ) -> Result<(), StepFailure> {
        let mut carry_over = self.carry_over.lock().await;
        let mut backoff = RetryPolicy::default().start("follower");
        loop {
            let mut work = UnitOfWork::new(self.app.clone(), self.timer_type())
                .with_carry_over(std::mem::take(&mut *carry_over));
            let handled = self.handle(system, task, &mut work).await;
            // An aggregate that was carried over from the last unit of work may be stale. Neither
            // an error nor a step may rest on it, so both are discarded, and the next attempt loads
            // from the store: `carry_over` is empty by now.
            if work.uses_carry_over() && (handled.is_err() || !work.is_current().await?) {
                continue;
            }
            handled?;
            let step = with_changes(&*self.home, step.clone(), &work.schedule.changes).await?;
            let append = encode(&work, step)?;
            let snapshots: Vec<_> = append
                .snapshots
                .iter()
                .map(|snapshot| snapshot.stream.clone())
                .collect();
            let epoch = append.decided_in().unwrap_or(self.home.epoch());
            match self.home.append(append).await {
                Ok(_) => {
                    *carry_over = work.into_carry_over(&snapshots, epoch);
                    return Ok(());
                }
                // The conflict may come from a stale aggregate alone, so the next attempt loads it,
                // without a wait.
                Err(StoreError::Conflict { .. }) if work.uses_carry_over() => {}
                Err(error @ StoreError::Conflict { .. }) => {
                    backoff
                        .wait(error)
                        .await
                        .map_err(|error| StepFailure::Event(error.into()))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn timer_type(&self) -> TimerType {
        self.timers
            .as_ref()
            .map_or(TimerType::None, |timers| timers.timer_type())
    }

    async fn handle(
        &self,
        system: &S,
        task: Task<'_>,
        work: &mut UnitOfWork,
    ) -> Result<(), StepFailure> {
        match task {
            Task::Events(events) => self.react(system, events, work).await,
            Task::Timers(due) => self.be_due(system, due, work).await,
        }
    }

    async fn react(
        &self,
        system: &S,
        events: &[StoredEvent],
        work: &mut UnitOfWork,
    ) -> Result<(), StepFailure> {
        for event in events {
            let handler = &self.handlers[&event.stream.category];
            let handled = catching(handler.react(system, event, work)).await;
            outcome(work, handled)?;
        }
        Ok(())
    }

    async fn be_due(
        &self,
        system: &S,
        due: &[Timer],
        work: &mut UnitOfWork,
    ) -> Result<(), StepFailure> {
        let handler = self
            .timers
            .as_ref()
            .expect("a timer is due only if the policy has timers");
        for timer in due {
            // A timer processed earlier in this step may have cancelled or replaced this one.
            if !work.schedule.changes.contains_key(&timer.key) {
                let handled = catching(handler.due(system, timer, work)).await;
                outcome(work, handled)?;
            }
        }
        Ok(())
    }
}

/// Encodes a unit of work. Encoding runs code of the user too (events, states for snapshots, the
/// clock), so panics are caught.
fn encode(work: &UnitOfWork, step: Tracking) -> Result<Append, StepFailure> {
    let encoded =
        catch(|| work.to_append(step)).map_err(|panic| StepFailure::Event(panic.into()))?;
    encoded.map_err(|error| StepFailure::Event(error.into()))
}

/// Sorts the result of a handler. An outage of the store that the policy met through its unit of
/// work is not a failure of the event, and a mistake about timers is a failure even if the policy
/// ignored it.
fn outcome(work: &mut UnitOfWork, handled: Result<(), BoxError>) -> Result<(), StepFailure> {
    match (handled, work.schedule.take_mistake()) {
        (Err(cause), _) if work.met_outage() => {
            let reason = text_of(&*cause)
                .unwrap_or_else(|| "a policy met an outage of the store".to_owned());
            Err(StepFailure::Unavailable(StoreError::unavailable(
                reason, cause,
            )))
        }
        (Err(cause), _) => Err(StepFailure::Event(cause)),
        (Ok(()), Some(mistake)) => Err(StepFailure::Event(mistake.into())),
        (Ok(()), None) => Ok(()),
    }
}

/// A projection whose target knows nothing of steps: its effects come before the step and cannot be
/// undone with it.
pub(crate) struct PlainSink<S> {
    follower: Name,
    home: Arc<dyn FollowerStore>,
    handlers: Handlers<dyn ProjectionHandler<S>>,
    is_shared: bool,
    projected: ProjectedEvents,
}

impl<S> PlainSink<S> {
    pub(crate) fn new(
        follower: Name,
        home: Arc<dyn FollowerStore>,
        handlers: Handlers<dyn ProjectionHandler<S>>,
        is_shared: bool,
    ) -> Self {
        Self {
            follower,
            home,
            handlers,
            is_shared,
            projected: ProjectedEvents::default(),
        }
    }
}

#[async_trait]
impl<S: Send + Sync> Sink<S> for PlainSink<S> {
    fn follower(&self) -> Name {
        self.follower.clone()
    }

    fn home(&self) -> &Arc<dyn FollowerStore> {
        &self.home
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn is_partitionable(&self) -> bool {
        self.is_shared
    }

    async fn process(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), StepFailure> {
        for event in events {
            let handler = &self.handlers[&event.stream.category];
            catching(handler.project(system, event, &self.projected))
                .await
                .map_err(StepFailure::Event)?;
        }
        let to = step.to;
        self.make_step(step).await?;
        self.projected.forget_up_to(to);
        Ok(())
    }
}

/// Turns a panic of user code into an error, so that a follower never ends silently.
pub(crate) async fn catching(
    handling: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), BoxError> {
    catch_async(handling)
        .await
        .unwrap_or_else(|panic| Err(panic.into()))
}
