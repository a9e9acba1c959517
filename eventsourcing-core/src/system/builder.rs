//! [`SystemBuilder`]: from a declaration and stores to a running system.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::feed::Feed;
use super::follower::Route;
use super::runner::Engine;
use super::{
    Applications, Definition, Follower, FollowerKind, OnFailure, Runner, Running, Stores, System, SystemError,
    unknown_application, unknown_follower,
};
use crate::store::{EventStore, LogId, Name};
use crate::{Application, Clock, IdSource, RandomIds, SystemClock};

/// Starts a system, with more to choose than its `start` offers.
pub struct SystemBuilder<S> {
    stores: Stores,
    runner: Runner,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    configure: HashMap<&'static str, Configure>,
    on_failure: HashMap<&'static str, OnFailure>,
    of: PhantomData<fn() -> S>,
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
            on_failure: HashMap::new(),
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
        self.on_failure.insert(name, on_failure);
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
            let on_failure = self.on_failure.remove(follower.name).unwrap_or_default();
            feeds.extend(open_feeds(follower, &applications, on_failure).await?);
        }
        if let Some(name) = self.on_failure.keys().next() {
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
    on_failure: OnFailure,
) -> Result<Vec<Arc<Feed<S>>>, SystemError> {
    let name = Name::from_static(follower.name);
    let policy = (follower.kind == FollowerKind::Policy).then(|| applications.application(follower.name));
    let mut by_log: BTreeMap<LogId, Vec<(Name, Route<S>)>> = BTreeMap::new();
    for (aggregate, route) in follower.routes {
        let log_id = applications.application(route.application).store().log_id();
        by_log.entry(log_id).or_default().push((aggregate, route));
    }
    let mut feeds = Vec::new();
    for routes in by_log.into_values() {
        let upstream = Arc::clone(applications.application(routes[0].1.application).store());
        let handlers = routes.into_iter().map(|(aggregate, route)| (aggregate, route.handler)).collect();
        feeds.push(Arc::new(Feed::open(name.clone(), upstream, handlers, policy.clone(), on_failure).await?));
    }
    Ok(feeds)
}

impl<S> fmt::Debug for SystemBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("stores", &self.stores)
            .field("runner", &self.runner)
            .finish_non_exhaustive()
    }
}
