//! [`Policy`] and [`Work`]: react to another application's events by recording events.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::root::AnyRoot;
use crate::store::{Append, StoreError, StreamId, Tracking};
use crate::{Aggregate, AppError, Application, EventRef, Id, IntoEvents, Metadata, Recorded, Root};

/// Reacts to the events of `A` by recording events of its own.
///
/// Everything that `react` records through [`Work`] and the position the follower has reached are written in one
/// append, so each event is dealt with exactly once, through crashes and however many processes run the system.
/// Only what goes through `Work` has this promise: `react` may run again for an event whose append did not happen,
/// so it must not have other effects and must depend on nothing but the event and what `work` loads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` follows `{A}`, but does not say what its events lead to",
    label = "write `impl Policy<{A}> for {Self}`"
)]
pub trait Policy<A: Aggregate>: Send + Sync + 'static {
    /// Why it may fail. A failure stops the follower at the event; nothing of the event's work is written.
    type Error: Error + Send + Sync + 'static;

    /// Deals with one event.
    fn react(&self, event: &Recorded<A>, work: &mut Work) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What a policy records while it deals with events: the aggregates it has loaded or created, all saved in one
/// append together with the follower's position.
pub struct Work {
    app: Application,
    roots: Vec<Box<dyn WorkRoot>>,
    index: HashMap<StreamId, usize>,
    cause: Option<Cause>,
    met_outage: bool,
}

struct Cause {
    event: EventRef,
    metadata: Arc<Metadata>,
    new_ids: u32,
}

trait WorkRoot: AnyRoot + Any + Sync {}

impl<A: Aggregate> WorkRoot for Root<A> {}

impl Work {
    pub(crate) fn new(app: Application) -> Self {
        Self { app, roots: Vec::new(), index: HashMap::new(), cause: None, met_outage: false }
    }

    /// What is recorded from now on is because of `event`.
    pub(crate) fn begin(&mut self, event: EventRef, metadata: &Metadata) {
        let metadata = Arc::new(Metadata::caused_by(event.clone(), metadata));
        self.cause = Some(Cause { event, metadata, new_ids: 0 });
    }

    /// Loads an aggregate, as the store has it and as earlier events of this work have left it.
    ///
    /// # Errors
    /// [`AppError::NotFound`]: it has no events. Others as
    /// [`EventStore::load`](crate::store::EventStore::load).
    pub async fn load<A: Aggregate>(&mut self, id: Id<A>) -> Result<&mut Root<A>, AppError> {
        let not_found = AppError::NotFound { aggregate: A::NAME, id: id.as_uuid() };
        self.find(id).await?.ok_or(not_found)
    }

    /// Loads an aggregate, if there is one.
    ///
    /// # Errors
    /// As [`EventStore::load`](crate::store::EventStore::load).
    pub async fn find<A: Aggregate>(&mut self, id: Id<A>) -> Result<Option<&mut Root<A>>, AppError> {
        let stream = id.stream();
        if let Some(index) = self.index.get(&stream) {
            return Ok(Some(self.root(*index)));
        }
        let found = self.app.find(id).await;
        self.met_outage |= found.as_ref().is_err_and(AppError::is_unavailable);
        Ok(found?.map(|root| self.keep(stream, root)))
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
    ) -> Result<&mut Root<A>, AppError> {
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
    pub fn create<A: Aggregate>(&mut self, id: Id<A>, decision: impl IntoEvents<A::Event>) -> &mut Root<A> {
        let root = Root::caused(id, decision, self.metadata());
        self.keep(id.stream(), root)
    }

    /// An id for a new aggregate. It follows from the event that is dealt with, so that doing the work again
    /// creates the same aggregate.
    pub fn new_id<A: Aggregate>(&mut self) -> Id<A> {
        match &mut self.cause {
            None => self.app.new_id(),
            Some(cause) => {
                cause.new_ids += 1;
                let EventRef { category, id, version } = &cause.event;
                let name = format!("{}/{category}/{version}/{}", self.app.name(), cause.new_ids);
                Id::derived(*id, &name)
            }
        }
    }

    /// One append with all that was recorded and the follower's step.
    pub(crate) fn into_append(self, tracking: Tracking) -> Result<Append, StoreError> {
        self.app.encode_work(self.roots.iter().map(|root| &**root as &dyn AnyRoot), tracking)
    }

    fn keep<A: Aggregate>(&mut self, stream: StreamId, root: Root<A>) -> &mut Root<A> {
        let index = self.roots.len();
        self.index.insert(stream, index);
        self.roots.push(Box::new(root));
        self.root(index)
    }

    fn root<A: Aggregate>(&mut self, index: usize) -> &mut Root<A> {
        let cause = self.metadata();
        let root: &mut dyn Any = &mut *self.roots[index];
        let root =
            root.downcast_mut::<Root<A>>().expect("one stored name belongs to one type of aggregate within a system");
        root.set_cause(cause);
        root
    }

    fn metadata(&self) -> Option<Arc<Metadata>> {
        self.cause.as_ref().map(|cause| Arc::clone(&cause.metadata))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("app", &self.app).field("aggregates", &self.roots.len()).finish_non_exhaustive()
    }
}
