//! [`Sink`]: what deals with the events of a feed, and how far that and the follower's step are one.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::failure::{Cause, Failure};
use super::handlers::{HandleEvent, HandlePolicyEvent, HandleTimer, ProjectedEvents};
use super::timer_notes::with_changes;
use crate::panics::{catch, catch_async, text_of};
use crate::policy::CarryOver;
use crate::policy::timers::{Timer, TimerType};
use crate::retry::RetryPolicy;
use crate::store::{Append, EventStore, Name, StoreError, StoredEvent, Tracking};
use crate::{Application, UnitOfWork};

/// Deals with the events of a feed.
#[async_trait]
pub(crate) trait Sink<S>: Send + Sync {
    /// The follower, as its position is kept under.
    fn follower(&self) -> Name;

    /// Keeps the follower's position and notes.
    fn home(&self) -> &Arc<dyn EventStore>;

    /// Whether all processes share what it writes to, so that one of them at a time should run it.
    fn is_shared(&self) -> bool {
        true
    }

    /// Its position is [retired](RETIRED), or it only looks on: finds out who has taken its place. True if it works under
    /// another name from now on.
    async fn succeed(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Returns `true` if the follower may be cut into partitions, so that each step names how many there are.
    fn is_cut(&self) -> bool {
        false
    }

    /// Whether what it writes to is built by another version, so that it only looks how far that is.
    fn looks_on(&self) -> bool {
        false
    }

    /// Deals with the events and makes the step. After an error the step has not been made, unless the store is
    /// unavailable: then it may have been.
    async fn deal_with(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), Failure>;

    /// Processes timers; `None` if the follower has none by its declaration.
    fn timers(&self) -> Option<&dyn TimerSink<S>> {
        None
    }

    /// Makes a step over events that the follower does not take.
    async fn pass_over(&self, step: Tracking) -> Result<(), Failure> {
        append(
            &**self.home(),
            Append::new(Timestamp::UNIX_EPOCH).with_tracking(step),
        )
        .await
    }
}

/// Processes the timers of a feed.
#[async_trait]
pub(crate) trait TimerSink<S>: Send + Sync {
    /// The time that says which timers are due.
    fn now(&self) -> Timestamp;

    /// Processes timers that are due and makes the step, with which they end. After an error as [`Sink::deal_with`].
    async fn process_timers(
        &self,
        system: &S,
        due: &[Timer],
        step: Tracking,
    ) -> Result<(), Failure>;
}

async fn append(home: &dyn EventStore, append: Append) -> Result<(), Failure> {
    home.append(append).await?;
    Ok(())
}

/// By the stored name of the aggregate.
pub(crate) type Handlers<H> = BTreeMap<Name, Arc<H>>;

/// A policy: what it records and the step are one append.
pub(crate) struct PolicySink<S> {
    app: Application,
    handlers: Handlers<dyn HandlePolicyEvent<S>>,
    /// What deals with its timers, if it has any.
    timers: Option<Arc<dyn HandleTimer<S>>>,
    /// What the last work has handed over to the next one; nothing while a work is under way or after it has failed.
    carry_over: Mutex<CarryOver>,
}

impl<S> PolicySink<S> {
    pub(crate) fn new(
        app: Application,
        handlers: Handlers<dyn HandlePolicyEvent<S>>,
        timers: Option<Arc<dyn HandleTimer<S>>>,
    ) -> Self {
        Self {
            app,
            handlers,
            timers,
            carry_over: Mutex::default(),
        }
    }
}

/// What there is to do for a policy.
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

    fn home(&self) -> &Arc<dyn EventStore> {
        self.app.store()
    }

    fn is_cut(&self) -> bool {
        true
    }

    async fn deal_with(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), Failure> {
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
    ) -> Result<(), Failure> {
        self.carry_out(system, Task::Timers(due), step).await
    }
}

impl<S: Send + Sync> PolicySink<S> {
    async fn carry_out(&self, system: &S, task: Task<'_>, step: Tracking) -> Result<(), Failure> {
        let mut carry_over = self.carry_over.lock().await;
        let mut backoff = RetryPolicy::default().start("follower");
        loop {
            let mut work = UnitOfWork::new(self.app.clone(), self.timer_type())
                .with_carry_over(std::mem::take(&mut *carry_over));
            let handled = self.handle(system, task, &mut work).await;
            // Nothing may come of what others have changed meanwhile, neither a failure nor a step.
            if work.uses_carry_over() && (handled.is_err() || !work.is_current().await?) {
                continue;
            }
            handled?;
            let step =
                with_changes(&**self.app.store(), step.clone(), &work.schedule.changes).await?;
            let append = encode(&work, step)?;
            let snapshots: Vec<_> = append
                .snapshots
                .iter()
                .map(|snapshot| snapshot.stream.clone())
                .collect();
            let epoch = append.decided_in().unwrap_or(self.app.store().epoch());
            match self.app.store().append(append).await {
                Ok(_) => {
                    *carry_over = work.into_carry_over(&snapshots, epoch);
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) if work.uses_carry_over() => {}
                Err(error @ StoreError::Conflict { .. }) => {
                    backoff
                        .wait(error)
                        .await
                        .map_err(|error| Failure::Event(error.into()))?;
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
    ) -> Result<(), Failure> {
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
    ) -> Result<(), Failure> {
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
    ) -> Result<(), Failure> {
        let handler = self.timers.as_ref().expect("what is due was scheduled");
        for timer in due {
            // Unless one that was due before it has cancelled or replaced it.
            if !work.schedule.changes.contains_key(&timer.key) {
                let handled = catching(handler.due(system, timer, work)).await;
                outcome(work, handled)?;
            }
        }
        Ok(())
    }
}

/// Encoding is code of the user as well: of events, of states for snapshots, of the clock.
fn encode(work: &UnitOfWork, step: Tracking) -> Result<Append, Failure> {
    let encoded = catch(|| work.to_append(step)).map_err(|panic| Failure::Event(panic.into()))?;
    encoded.map_err(|error| Failure::Event(error.into()))
}

/// An outage of the store that the policy met through its work is not the fault of the event, and a mistake about timers
/// is one even if the policy went on.
fn outcome(work: &mut UnitOfWork, handled: Result<(), Cause>) -> Result<(), Failure> {
    match (handled, work.schedule.take_mistake()) {
        (Err(cause), _) if work.met_outage() => {
            let reason = text_of(&*cause).unwrap_or_else(|| "a policy met an outage".to_owned());
            Err(Failure::Unavailable(StoreError::unavailable(reason, cause)))
        }
        (Err(cause), _) => Err(Failure::Event(cause)),
        (Ok(()), Some(mistake)) => Err(Failure::Event(mistake.into())),
        (Ok(()), None) => Ok(()),
    }
}

/// A projection whose target knows nothing of steps: what is done there cannot be undone, and is done before the step.
pub(crate) struct PlainSink<S> {
    follower: Name,
    home: Arc<dyn EventStore>,
    handlers: Handlers<dyn HandleEvent<S>>,
    is_shared: bool,
    projected: ProjectedEvents,
}

impl<S> PlainSink<S> {
    pub(crate) fn new(
        follower: Name,
        home: Arc<dyn EventStore>,
        handlers: Handlers<dyn HandleEvent<S>>,
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

    fn home(&self) -> &Arc<dyn EventStore> {
        &self.home
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn is_cut(&self) -> bool {
        self.is_shared
    }

    async fn deal_with(
        &self,
        system: &S,
        events: &[StoredEvent],
        step: Tracking,
    ) -> Result<(), Failure> {
        for event in events {
            let handler = &self.handlers[&event.stream.category];
            catching(handler.project(system, event, &self.projected))
                .await
                .map_err(Failure::Event)?;
        }
        let to = step.to;
        self.pass_over(step).await?;
        self.projected.forget_up_to(to);
        Ok(())
    }
}

/// Turns a panic of user code into an error, so that a follower never ends silently.
pub(crate) async fn catching(
    handling: impl Future<Output = Result<(), Cause>>,
) -> Result<(), Cause> {
    catch_async(handling)
        .await
        .unwrap_or_else(|panic| Err(panic.into()))
}
