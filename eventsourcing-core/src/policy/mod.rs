//! [`Policy`] and [`UnitOfWork`]: react to another application's events by recording events.
//!
//! Units of work follow each other, and most change the aggregates that the last one changed. So
//! each starts with the [carry-over](CarryOver) of the last one instead of loading these aggregates
//! again. The append checks an aggregate that was changed; [`UnitOfWork::is_current`] checks one
//! that was only read.

pub(crate) mod timers;

use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;
use serde::Serialize;
use uuid::Uuid;

use crate::aggregate::decision::certain_events;
use crate::aggregate::root::{AnyRoot, KeptRoot};
use crate::store::{Append, Epoch, EventStore, StoreError, StreamId, StreamQuery, Tracking};
use crate::{
    Aggregate, Application, ApplicationError, Decision, EventRef, Id, Metadata, RecordedEvent, Root,
};
use timers::{Origin, Schedule, Timer, TimerType};

/// Reacts to the events of `A` by recording events of its own.
///
/// Everything that `react` records through [`UnitOfWork`] and the position of the follower are
/// written in one append, so each event is processed exactly once, through crashes and with any
/// number of processes running the system. Only the effects of `UnitOfWork` have this promise:
/// `react` may run again for an event whose append did not happen, so it must have no other effects
/// and must depend on nothing but the event and the aggregates that `work` loads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` follows `{A}`, but does not say what its events lead to",
    label = "write `impl Policy<{A}> for {Self}`"
)]
pub trait Policy<A: Aggregate>: Send + Sync + 'static {
    /// The error of `react`. A failure stops the follower at the event; nothing of the event's work
    /// is written.
    type Error: Error + Send + Sync + 'static;

    /// Processes one event.
    fn react(
        &self,
        event: &RecordedEvent<A>,
        work: &mut UnitOfWork,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The aggregates that a policy loads, creates and changes while it processes events. All are saved
/// in one append, together with the follower's position.
pub struct UnitOfWork {
    app: Application,
    roots: Vec<TrackedRoot>,
    index: HashMap<StreamId, usize>,
    carry_over: CarryOver,
    trigger: Option<Trigger>,
    met_outage: bool,
    pub(crate) schedule: Schedule,
}

/// An aggregate that this unit of work has loaded or created.
struct TrackedRoot {
    root: Box<dyn KeptRoot>,
    /// `true` if the aggregate comes from the unit of work before, and not from the store.
    is_carried_over: bool,
}

/// The number of aggregates that are carried over to the next unit of work.
const CARRIED_OVER_MAX: NonZeroUsize = NonZeroUsize::new(1_000).expect("it is not zero");

/// Aggregates as the last units of work changed them, the most recently used first.
pub(crate) struct CarryOver(LruCache<StreamId, Box<dyn KeptRoot>>);

impl Default for CarryOver {
    fn default() -> Self {
        // Most policies use few aggregates, so capacity is allocated only as it is needed.
        let mut aggregates = LruCache::unbounded();
        aggregates.resize(CARRIED_OVER_MAX);
        Self(aggregates)
    }
}

/// The event or the timer that is being processed.
struct Trigger {
    metadata: Arc<Metadata>,
    /// The UUID namespace of new ids. With `name` and the number of ids before, it makes a retry
    /// create the same ids.
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

    /// Sets aggregates that need not be loaded.
    pub(crate) fn with_carry_over(mut self, carry_over: CarryOver) -> Self {
        self.carry_over = carry_over;
        self
    }

    /// Makes `event` the cause of the events recorded from now on.
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

    /// Makes `timer` the cause of the events recorded from now on, and ends the timer with this
    /// unit of work.
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

    /// Loads an aggregate: its stored events and the changes made earlier in this unit of work.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`]: the aggregate has no events. Others as
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

    /// Loads an aggregate, if it exists.
    ///
    /// # Errors
    /// The errors of [`EventStore::load`](crate::store::EventStore::load).
    pub async fn find<A: Aggregate>(
        &mut self,
        id: Id<A>,
    ) -> Result<Option<&mut Root<A>>, ApplicationError> {
        let stream = id.stream();
        if let Some(index) = self.index.get(&stream) {
            return Ok(Some(self.root(*index)));
        }
        let epoch = Some(self.app.store().epoch());
        // A carried-over root of another epoch may contain events that the store has lost since. It
        // is dropped here, before the policy decides on it.
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

    /// Returns `true` if the store was unavailable when an aggregate was loaded, even if the policy
    /// ignored the error.
    pub(crate) fn met_outage(&self) -> bool {
        self.met_outage
    }

    /// Loads an aggregate, or creates it with the decision of `create`.
    ///
    /// # Errors
    /// The errors of [`EventStore::load`](crate::store::EventStore::load).
    ///
    /// # Panics
    /// The same as [`Root::create`].
    pub async fn load_or_create<
        A: Aggregate,
        D: Decision<Event = A::Event, Failure = Infallible>,
    >(
        &mut self,
        id: Id<A>,
        create: impl FnOnce() -> D + Send,
    ) -> Result<&mut Root<A>, ApplicationError> {
        if self.find(id).await?.is_none() {
            return Ok(self.create(id, create()));
        }
        self.load(id).await
    }

    /// Creates an aggregate. Take its id from [`new_id`](Self::new_id), or use a [named](Id::named)
    /// one. If the aggregate exists already, the unit of work ends in a conflict.
    ///
    /// # Panics
    /// The same as [`Root::create`].
    #[track_caller]
    pub fn create<A: Aggregate>(
        &mut self,
        id: Id<A>,
        decision: impl Decision<Event = A::Event, Failure = Infallible>,
    ) -> &mut Root<A> {
        let root = Root::caused(id, certain_events(decision), self.metadata());
        self.keep(id.stream(), TrackedRoot::new(root))
    }

    /// Returns an id for a new aggregate. The id is derived from the event or timer that is being
    /// processed, so that processing it again creates the same aggregate.
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

    /// Schedules a call of [`Timers::due`](crate::Timers::due) at this time, to the microsecond,
    /// with this `payload`. It replaces the timer of this key, if there is one. A time in the past
    /// is due at once: when this event has been processed.
    ///
    /// Compute the time from the event, for example from `event.recorded_at`, and use a key that
    /// identifies the matter: the id of an aggregate, or a few words, at most
    /// [`TIMER_KEY_BYTES_MAX`](crate::TIMER_KEY_BYTES_MAX) bytes. A policy that follows several
    /// logs, or is split into partitions, has timers in each of them: a key means the timer that an
    /// event of the same log and partition has scheduled.
    ///
    /// A mistake fails the event, even if the policy goes on: the key is not allowed, the payload
    /// cannot be encoded or is not a [`Timers::Timer`](crate::Timers::Timer), or the system does
    /// not declare `timers` for the policy.
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

        // The number tells apart two timers that one event schedules under the same key: ids of
        // what they record are derived from the id of the timer.
        trigger.timers += 1;
        let id = Uuid::new_v5(
            &trigger.namespace,
            format!("{}/timer {}/{key}", trigger.name, trigger.timers).as_bytes(),
        );
        let metadata = Metadata::clone(&trigger.metadata);
        self.schedule.put(at, key, payload, Origin { id, metadata });
    }

    /// Cancels the timer of this key, if there is one.
    ///
    /// As with [`schedule`](Self::schedule), a key that is not allowed fails the event, and so does
    /// a policy for which no `timers` are declared.
    pub fn cancel(&mut self, key: impl fmt::Display) {
        self.schedule.cancel(key.to_string());
    }

    /// Returns `true` if the policy used an aggregate that was carried over, which may differ from
    /// the one in the store.
    pub(crate) fn uses_carry_over(&self) -> bool {
        self.roots.iter().any(|tracked| tracked.is_carried_over)
    }

    /// Returns `true` if no aggregate that was carried over and only read has been changed in the
    /// store. The append checks the ones that were changed.
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

    /// Returns one append with all recorded events and the follower's step.
    pub(crate) fn to_append(&self, tracking: Tracking) -> Result<Append, StoreError> {
        self.app.encode_work(
            self.roots
                .iter()
                .map(|tracked| &*tracked.root as &dyn AnyRoot),
            tracking,
        )
    }

    /// Returns the carry-over for the next unit of work, after the append has written `snapshots`
    /// in `epoch`.
    pub(crate) fn into_carry_over(mut self, snapshots: &[StreamId], epoch: Epoch) -> CarryOver {
        for TrackedRoot { mut root, .. } in self
            .roots
            .into_iter()
            .filter(|tracked| tracked.root.has_pending())
        {
            // The append expected the version that the root was changed at, so the root equals the
            // stored aggregate at this moment. A later change by another process ends in a
            // conflict.
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
