//! [`Policy`] and [`UnitOfWork`]: react to another application's events by recording events.
//!
//! One work follows the other, and most of them change the aggregates that the last one has changed. So each takes over
//! what the last one [carry_over](CarryOver) instead of loading it again. What was changed through it is checked by the append, what was
//! only looked at by [`UnitOfWork::is_current`].

pub(crate) mod timers;

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;
use serde::Serialize;
use uuid::Uuid;

use crate::aggregate::root::{AnyRoot, KeptRoot};
use crate::store::{Append, Epoch, EventStore, StoreError, StreamId, StreamQuery, Tracking};
use crate::{
    Aggregate, Application, ApplicationError, EventRef, Id, IntoEvents, Metadata, RecordedEvent,
    Root,
};
use timers::{Origin, Schedule, Timer, TimerType};

/// Reacts to the events of `A` by recording events of its own.
///
/// Everything that `react` records through [`UnitOfWork`] and the position the follower has reached are written in one
/// append, so each event is dealt with exactly once, through crashes and however many processes run the system.
/// Only what goes through `UnitOfWork` has this promise: `react` may run again for an event whose append did not happen,
/// so it must not have other effects and must depend on nothing but the event and what `work` loads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` follows `{A}`, but does not say what its events lead to",
    label = "write `impl Policy<{A}> for {Self}`"
)]
pub trait Policy<A: Aggregate>: Send + Sync + 'static {
    /// Why it may fail. A failure stops the follower at the event; nothing of the event's work is written.
    type Error: Error + Send + Sync + 'static;

    /// Deals with one event.
    fn react(
        &self,
        event: &RecordedEvent<A>,
        work: &mut UnitOfWork,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What a policy records while it deals with events: the aggregates it has loaded or created, all saved in one
/// append together with the follower's position.
pub struct UnitOfWork {
    app: Application,
    roots: Vec<TrackedRoot>,
    index: HashMap<StreamId, usize>,
    carry_over: CarryOver,
    trigger: Option<Trigger>,
    met_outage: bool,
    pub(crate) schedule: Schedule,
}

/// An aggregate in tracked.
struct TrackedRoot {
    root: Box<dyn KeptRoot>,
    /// It comes from the work before, and not from the store.
    is_carried_over: bool,
}

/// How many aggregates are carry_over to the next work.
const CARRIED_OVER_MAX: NonZeroUsize = NonZeroUsize::new(1_000).expect("it is not zero");

/// Aggregates as the last works have changed them.
pub(crate) struct CarryOver(LruCache<StreamId, Box<dyn KeptRoot>>);

impl Default for CarryOver {
    fn default() -> Self {
        // Most policies have few: room is made when it is needed.
        let mut aggregates = LruCache::unbounded();
        aggregates.resize(CARRIED_OVER_MAX);
        Self(aggregates)
    }
}

/// The event or the timer that is dealt with.
struct Trigger {
    metadata: Arc<Metadata>,
    /// New ids follow from these two, and from how many there were before.
    namespace: Uuid,
    name: String,
    new_ids: u32,
    timers: u32,
}

impl UnitOfWork {
    pub(crate) fn new(app: Application, timers: TimerType) -> Self {
        let schedule = Schedule::new(timers, app.encoding());
        let carry_over = CarryOver::default();
        Self {
            app,
            roots: Vec::new(),
            index: HashMap::new(),
            carry_over,
            trigger: None,
            met_outage: false,
            schedule,
        }
    }

    /// The same, with aggregates that need not be loaded.
    pub(crate) fn with_carry_over(mut self, carry_over: CarryOver) -> Self {
        self.carry_over = carry_over;
        self
    }

    /// What is recorded from now on is because of `event`.
    pub(crate) fn begin(&mut self, event: EventRef, metadata: &Metadata) {
        let EventRef {
            category,
            id: namespace,
            version,
        } = &event;
        let namespace = *namespace;
        let name = format!("{}/{category}/{version}", self.app.name());

        let metadata = Arc::new(Metadata::caused_by(event, metadata));
        self.trigger = Some(Trigger {
            metadata,
            namespace,
            name,
            new_ids: 0,
            timers: 0,
        });
    }

    /// What is recorded from now on is because of `timer`, which ends with this work.
    pub(crate) fn begin_due(&mut self, timer: &Timer) {
        let metadata = Arc::new(timer.metadata.clone());
        let name = self.app.name().to_string();

        self.trigger = Some(Trigger {
            metadata,
            namespace: timer.id,
            name,
            new_ids: 0,
            timers: 0,
        });
        self.schedule.changes.insert(timer.key.clone(), None);
    }

    /// Loads an aggregate, as the store has it and as earlier events of this work have carry_over it.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`]: it has no events. Others as
    /// [`EventStore::load`](crate::store::EventStore::load).
    pub async fn load<A: Aggregate>(
        &mut self,
        id: Id<A>,
    ) -> Result<&mut Root<A>, ApplicationError> {
        let not_found = ApplicationError::NotFound {
            aggregate: A::NAME,
            id: id.as_uuid(),
        };
        self.find(id).await?.ok_or(not_found)
    }

    /// Loads an aggregate, if there is one.
    ///
    /// # Errors
    /// As [`EventStore::load`](crate::store::EventStore::load).
    pub async fn find<A: Aggregate>(
        &mut self,
        id: Id<A>,
    ) -> Result<Option<&mut Root<A>>, ApplicationError> {
        let stream = id.stream();
        if let Some(index) = self.index.get(&stream) {
            return Ok(Some(self.root(*index)));
        }
        let epoch = Some(self.app.store().epoch());
        if let Some(root) = self
            .carry_over
            .0
            .pop(&stream)
            .filter(|root| root.epoch() == epoch)
        {
            return Ok(Some(self.keep(
                stream,
                TrackedRoot {
                    root,
                    is_carried_over: true,
                },
            )));
        }
        let found = self.app.find(id).await;
        self.met_outage |= found.as_ref().is_err_and(ApplicationError::is_unavailable);
        Ok(found?.map(|root| self.keep(stream, TrackedRoot::new(root))))
    }

    /// Whether the store did not answer when an aggregate was loaded, whatever the policy made of it.
    pub(crate) fn met_outage(&self) -> bool {
        self.met_outage
    }

    /// Loads an aggregate, or creates it with what `create` decides.
    ///
    /// # Errors
    /// As [`EventStore::load`](crate::store::EventStore::load).
    ///
    /// # Panics
    /// As [`Root::create`].
    pub async fn load_or_create<A: Aggregate, D: IntoEvents<A::Event>>(
        &mut self,
        id: Id<A>,
        create: impl FnOnce() -> D + Send,
    ) -> Result<&mut Root<A>, ApplicationError> {
        if self.find(id).await?.is_none() {
            return Ok(self.create(id, create()));
        }
        self.load(id).await
    }

    /// Creates an aggregate. Take its id from [`new_id`](Self::new_id), or use a [named](Id::named) one. If the
    /// aggregate exists already the work ends in a conflict.
    ///
    /// # Panics
    /// As [`Root::create`].
    #[track_caller]
    pub fn create<A: Aggregate>(
        &mut self,
        id: Id<A>,
        decision: impl IntoEvents<A::Event>,
    ) -> &mut Root<A> {
        let root = Root::caused(id, decision, self.metadata());
        self.keep(id.stream(), TrackedRoot::new(root))
    }

    /// An id for a new aggregate. It follows from the event or the timer that is dealt with, so that doing the work again
    /// creates the same aggregate.
    pub fn new_id<A: Aggregate>(&mut self) -> Id<A> {
        match &mut self.trigger {
            None => self.app.new_id(),
            Some(trigger) => {
                trigger.new_ids += 1;
                Id::derived(
                    trigger.namespace,
                    &format!("{}/{}", trigger.name, trigger.new_ids),
                )
            }
        }
    }

    /// Has [`Timers::due`](crate::Timers::due) called at this time, to the microsecond, with this `payload`. It replaces the
    /// timer of this key, if there is one. A time that has passed is due at once: when this event has been dealt with.
    ///
    /// Reckon the time from what the event says, such as `event.recorded_at`, and take a key that says what it is about: the
    /// id of an aggregate, or a few words. [`TIMER_KEY_BYTES_MAX`](crate::TIMER_KEY_BYTES_MAX) bytes are the most. A policy
    /// that follows several logs, or is split into partitions, has timers in each of them: a key means that which an event
    /// of the same log and partition has scheduled.
    ///
    /// A mistake fails the event, even if the policy goes on: the key is not allowed, the payload cannot be encoded or is
    /// not a [`Timers::Timer`](crate::Timers::Timer), or the system does not declare `timers` for the policy.
    pub fn schedule<T: Serialize + 'static>(
        &mut self,
        at: Timestamp,
        key: impl fmt::Display,
        payload: &T,
    ) {
        let key = key.to_string();
        let trigger = self
            .trigger
            .as_mut()
            .expect("a policy is called for an event or a timer");

        trigger.timers += 1;
        let id = Uuid::new_v5(
            &trigger.namespace,
            format!("{}/timer {}/{key}", trigger.name, trigger.timers).as_bytes(),
        );
        let metadata = Metadata::clone(&trigger.metadata);
        self.schedule.put(at, key, payload, Origin { id, metadata });
    }

    /// Cancels the timer of this key. If there is none, nothing happens.
    ///
    /// As with [`schedule`](Self::schedule), a key that is not allowed fails the event, and so does a policy for which no
    /// `timers` are declared.
    pub fn cancel(&mut self, key: impl fmt::Display) {
        self.schedule.cancel(key.to_string());
    }

    /// Whether an aggregate that was asked for is as the last work has carry_over it, and may not be so in the store any more.
    pub(crate) fn uses_carry_over(&self) -> bool {
        self.roots.iter().any(|tracked| tracked.is_carried_over)
    }

    /// Whether what was taken over and only looked at is still as it was. What was changed is checked by the append.
    pub(crate) async fn is_current(&self) -> Result<bool, StoreError> {
        for TrackedRoot { root, .. } in self
            .roots
            .iter()
            .filter(|tracked| tracked.is_carried_over && !tracked.root.has_pending())
        {
            let next = StreamQuery::new(root.stream())
                .from(root.expected().next())
                .limit(1);
            if !self.app.store().read_stream(next).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One append with all that was recorded and the follower's step.
    pub(crate) fn to_append(&self, tracking: Tracking) -> Result<Append, StoreError> {
        self.app.encode_work(
            self.roots
                .iter()
                .map(|tracked| &*tracked.root as &dyn AnyRoot),
            tracking,
        )
    }

    /// What it leaves to the next work, now that it has been written with these snapshots in this epoch.
    pub(crate) fn into_carry_over(mut self, snapshots: &[StreamId], epoch: Epoch) -> CarryOver {
        for TrackedRoot { mut root, .. } in self
            .roots
            .into_iter()
            .filter(|tracked| tracked.root.has_pending())
        {
            root.saved(snapshots, epoch);
            self.carry_over.0.put(root.key(), root);
        }
        self.carry_over
    }

    fn keep<A: Aggregate>(&mut self, stream: StreamId, tracked: TrackedRoot) -> &mut Root<A> {
        let index = self.roots.len();
        self.index.insert(stream, index);
        self.roots.push(tracked);
        self.root(index)
    }

    fn root<A: Aggregate>(&mut self, index: usize) -> &mut Root<A> {
        let cause = self.metadata();
        let root: &mut dyn Any = &mut *self.roots[index].root;
        let root = root
            .downcast_mut::<Root<A>>()
            .expect("one stored name belongs to one type of aggregate within a system");
        root.set_cause(cause);
        root
    }

    fn metadata(&self) -> Option<Arc<Metadata>> {
        self.trigger
            .as_ref()
            .map(|trigger| Arc::clone(&trigger.metadata))
    }
}

impl TrackedRoot {
    fn new(root: impl KeptRoot) -> Self {
        Self {
            root: Box::new(root),
            is_carried_over: false,
        }
    }
}

impl fmt::Debug for UnitOfWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitOfWork")
            .field("app", &self.app)
            .field("aggregates", &self.roots.len())
            .finish_non_exhaustive()
    }
}
