//! [`SystemBuilder`]: from a declaration and stores to a running system.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::feed::{Feed, Partition, PlainSink, PolicySink, Sink};
use super::follower::Route;
use super::runner::Engine;
use super::{
    Applications, Definition, Follower, FollowerKind, OnFailure, Runner, Running, Stores, System, SystemError,
    unknown_application, unknown_follower,
};
use jiff::Timestamp;

use crate::store::{Append, EventStore, LogId, Name, NotesQuery, Position, StoreError, Tracking};
use crate::{Application, Clock, IdSource, MemoryStore, RandomIds, SystemClock};

/// Starts a system, with more to choose than its `start` offers.
pub struct SystemBuilder<S> {
    stores: Stores,
    runner: Runner,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    configure: HashMap<&'static str, Configure>,
    followers: HashMap<&'static str, FollowerSettings>,
    of: PhantomData<fn() -> S>,
}

/// What may be chosen for each follower.
#[derive(Clone, Copy, Debug)]
struct FollowerSettings {
    on_failure: OnFailure,
    partitions: u32,
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self { on_failure: OnFailure::default(), partitions: 1 }
    }
}

type Configure = Box<dyn FnOnce(Application) -> Application + Send>;

impl<S: System> SystemBuilder<S> {
    /// A system on these stores, run concurrently unless told otherwise.
    #[must_use]
    pub fn new(stores: impl Into<Stores>) -> Self {
        Self {
            stores: stores.into(),
            runner: Runner::concurrent(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            configure: HashMap::new(),
            followers: HashMap::new(),
            of: PhantomData,
        }
    }

    /// Keeps the followers running in this way.
    #[must_use]
    pub fn with_runner(mut self, runner: Runner) -> Self {
        self.runner = runner;
        self
    }

    /// Takes the time of all events from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Takes all new ids from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Changes how one application works: its snapshots, its retries.
    #[must_use]
    pub fn with_application(
        mut self,
        name: &'static str,
        configure: impl FnOnce(Application) -> Application + Send + 'static,
    ) -> Self {
        self.configure.insert(name, Box::new(configure));
        self
    }

    /// What the follower `name` does about an event it cannot deal with; [`OnFailure::Stop`] unless said otherwise.
    #[must_use]
    pub fn with_on_failure(mut self, name: &'static str, on_failure: OnFailure) -> Self {
        self.followers.entry(name).or_default().on_failure = on_failure;
        self
    }

    /// Splits the work of the policy `name` into so many partitions by the ids of the aggregates it follows: each is
    /// led by a process of its own, if there are as many, and goes on when another one stops. Events of one aggregate
    /// stay in order; those of different aggregates overtake each other. One, unless said otherwise.
    ///
    /// Each partition has a position of its own, so the number stays: a system that has run with another number
    /// refuses to start.
    #[must_use]
    pub fn with_partitions(mut self, name: &'static str, partitions: u32) -> Self {
        self.followers.entry(name).or_default().partitions = partitions.max(1);
        self
    }

    /// Starts the system: every follower goes on where it stopped, also with what was recorded meanwhile. With the
    /// inline runner the followers have caught up when this returns.
    ///
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the parts do not fit together. [`SystemError::Store`]: a store does not answer.
    pub async fn start(mut self) -> Result<Running<S>, SystemError> {
        let definition = S::definition();
        definition.check()?;
        self.stores.check(&definition)?;
        let applications = self.applications(&definition)?;
        let system = Arc::new(S::assemble(&applications));
        let mut feeds = Vec::new();
        for follower in S::followers() {
            let settings = self.followers.remove(follower.name).unwrap_or_default();
            feeds.extend(open_feeds(follower, &applications, settings).await?);
        }
        if let Some(name) = self.followers.keys().next() {
            return Err(unknown_follower(&definition, name));
        }
        let engine = Engine::new(system, feeds);
        Running::start(engine, self.runner, &applications, self.clock, definition.has_cycle()).await
    }

    fn applications(&mut self, definition: &Definition) -> Result<Applications, SystemError> {
        let mut applications = Vec::new();
        for name in definition.applications.iter().map(|application| application.name) {
            let application = Application::new(Name::from_static(name), self.stores.of(name))
                .with_clock(Arc::clone(&self.clock))
                .with_ids(Arc::clone(&self.ids));
            let configured = match self.configure.remove(name) {
                Some(configure) => configure(application),
                None => application,
            };
            applications.push((name, configured));
        }
        match self.configure.keys().next() {
            Some(name) => Err(unknown_application(definition, name)),
            None => Ok(Applications::new(applications)),
        }
    }
}

/// A follower follows each log with a position of its own; one store is one log, however many applications it has.
async fn open_feeds<S: System>(
    follower: Follower<S>,
    applications: &Applications,
    settings: FollowerSettings,
) -> Result<Vec<Arc<Feed<S>>>, SystemError> {
    let name = Name::from_static(follower.name);
    let mut by_log: BTreeMap<LogId, Vec<(Name, Route<S>)>> = BTreeMap::new();
    for (aggregate, route) in follower.routes {
        let log_id = applications.application(route.application).store().log_id();
        by_log.entry(log_id).or_default().push((aggregate, route));
    }
    let mut feeds = Vec::new();
    for routes in by_log.into_values() {
        let upstream = Arc::clone(applications.application(routes[0].1.application).store());
        let handlers: BTreeMap<_, _> =
            routes.into_iter().map(|(aggregate, route)| (aggregate, route.handler)).collect();
        if follower.kind == FollowerKind::Policy {
            let home = Arc::clone(applications.application(follower.name).store());
            agree_on_partitions(&*home, &name, upstream.log_id(), settings.partitions).await?;
        }
        for partition in Partition::split(settings.partitions) {
            let takes = handlers.keys().cloned().collect();
            let handlers = handlers.clone();
            let sink: Box<dyn Sink<S>> = match follower.kind {
                FollowerKind::Policy => Box::new(PolicySink { app: applications.application(follower.name), handlers }),
                FollowerKind::Projection => {
                    Box::new(PlainSink::new(name.clone(), Arc::new(MemoryStore::new()), handlers, false))
                }
            };
            let upstream = Arc::clone(&upstream);
            let feed = Feed::open(name.clone(), upstream, takes, partition, sink, settings.on_failure).await?;
            feeds.push(Arc::new(feed));
        }
    }
    Ok(feeds)
}

/// Under which key a follower that runs in partitions notes how many there are.
const PARTITIONS_KEY: &str = "partitions";

/// Makes sure that the follower has never run in another number of partitions: their positions would not fit these.
async fn agree_on_partitions(
    home: &dyn EventStore,
    follower: &Name,
    upstream: LogId,
    partitions: u32,
) -> Result<(), SystemError> {
    loop {
        let book = home.notes(NotesQuery::new(follower.clone(), upstream, PARTITIONS_KEY)).await?;
        let noted = book.notes.get(PARTITIONS_KEY).cloned();
        match noted.or_else(|| (book.position > Position::ZERO).then(|| "1".to_owned())) {
            Some(known) if known == partitions.to_string() => return Ok(()),
            Some(known) => {
                let reason = format!(
                    "follower {follower} has run in {known} partitions and cannot go on in {partitions}; \
                     start it with_partitions({follower:?}, {known})"
                );
                return Err(SystemError::Invalid { reason });
            }
            None if partitions == 1 => return Ok(()),
            None => {}
        }
        let step = Tracking::new(follower.clone(), upstream, book.position, book.position)
            .with_revision(book.revision)
            .with_note(PARTITIONS_KEY, partitions.to_string());
        match home.append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step)).await {
            // Another process that starts at this moment was first.
            Ok(_) | Err(StoreError::TrackingConflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl<S> fmt::Debug for SystemBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("stores", &self.stores)
            .field("runner", &self.runner)
            .finish_non_exhaustive()
    }
}
