//! [`System`]: applications and their followers, declared once, run inline or concurrently.

mod error;
mod feed;
mod follower;
mod graph;
mod health;
mod runner;
mod stores;
mod tenure;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use error::SystemError;
pub use follower::{Follower, PolicyFollower, ProjectionFollower};
pub use graph::{ApplicationDefinition, Definition, FollowerDefinition, FollowerKind, Follows};
pub use health::{FollowerFailure, FollowerHealth, FollowerState, Health, OnFailure};
pub use runner::Runner;
pub use stores::{Applications, Stores};

use crate::application::AfterSave;
use crate::store::{EventStore, HolderId, LogId, LogQuery, Name, Position, Receipt};
use crate::{Application, Clock, IdSource, RandomIds, SystemClock};
use feed::{Feed, Status};
use follower::Route;
use runner::{Engine, Inline, Mode};
use tenure::Terms;

/// Applications and the followers between them. Written by [`#[derive(System)]`](macro@crate::System).
pub trait System: Sized + Send + Sync + 'static {
    /// What the system consists of.
    fn definition() -> Definition;

    /// Builds the services from their applications.
    fn assemble(applications: &Applications) -> Self;

    /// The policies and projections of the definition, tied to their types.
    fn followers() -> Vec<Follower<Self>>;
}

/// Starts a system, with more to choose than its `start` offers.
pub struct SystemBuilder<S> {
    stores: Stores,
    runner: Runner,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    configure: HashMap<&'static str, Configure>,
    on_failure: HashMap<&'static str, OnFailure>,
    of: std::marker::PhantomData<fn() -> S>,
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
            of: std::marker::PhantomData,
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
        let (stop, stopping) = watch::channel(false);
        let (clock, has_cycle) = (self.clock, definition.has_cycle());
        let mut running = Running { engine, inline: None, tasks: Vec::new(), stop, clock, has_cycle };
        match self.runner.0 {
            Mode::Concurrent(lease) => running.spawn(lease, &stopping),
            Mode::Inline => running.run_inline(&applications).await?,
        }
        Ok(running)
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

fn unknown_application(definition: &Definition, name: &str) -> SystemError {
    let known: Vec<_> = definition.applications.iter().map(|application| application.name).collect();
    SystemError::Invalid {
        reason: format!("{} has no application {name:?}; it has {}", definition.name, known.join(", ")),
    }
}

fn unknown_follower(definition: &Definition, name: &str) -> SystemError {
    let known: Vec<_> = definition.followers.iter().map(|follower| follower.name).collect();
    SystemError::Invalid {
        reason: format!("{} has no follower {name:?}; it has {}", definition.name, known.join(", ")),
    }
}

/// A running system: derefs to it, so `bank.accounts` is its service.
///
/// [`stop`](Self::stop) ends it gracefully. If it is dropped instead, the followers end after what they are at.
/// Nothing is lost either way: a follower goes on where it stopped when the system is started again.
pub struct Running<S> {
    engine: Arc<Engine<S>>,
    /// Kept alive while the system runs: applications only know it weakly.
    inline: Option<Arc<dyn AfterSave>>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    clock: Arc<dyn Clock>,
    has_cycle: bool,
}

impl<S: System> Running<S> {
    fn spawn(&mut self, lease: Option<Duration>, stopping: &watch::Receiver<bool>) {
        let terms = lease.map(|duration| Terms { holder: HolderId::new(), duration });
        for feed in &self.engine.feeds {
            let system = Arc::clone(&self.engine.system);
            self.tasks.push(runner::spawn(system, Arc::clone(feed), terms, stopping.clone()));
        }
    }

    async fn run_inline(&mut self, applications: &Applications) -> Result<(), SystemError> {
        let inline: Arc<dyn AfterSave> = Arc::new(Inline(Arc::clone(&self.engine)));
        for application in applications.all() {
            application.tell(Arc::downgrade(&inline));
        }
        self.inline = Some(inline);
        Ok(self.engine.catch_up().await?)
    }

    /// Waits until every follower has dealt with everything that is written now, and with what followers record
    /// because of it.
    ///
    /// While a store does not answer it waits; give it a time limit with `tokio::time::timeout` where that matters.
    ///
    /// # Errors
    /// [`SystemError::FollowerStopped`]: a follower stopped and will not get there. [`SystemError::Store`]: a store
    /// does not answer.
    pub async fn settled(&self) -> Result<(), SystemError> {
        let rounds = if self.has_cycle { usize::MAX } else { self.engine.feeds.len() + 1 };
        let mut before = Vec::new();
        for _ in 0..rounds {
            let heads = self.heads().await?;
            if heads == before {
                break;
            }
            if self.inline.is_some() {
                self.engine.catch_up().await?;
            }
            for (feed, head) in self.engine.feeds.iter().zip(&heads) {
                reach(feed, *head).await?;
            }
            before = heads;
        }
        Ok(())
    }

    /// Waits until `follower` has dealt with what `receipt` stands for, so that whoever wrote can read what came of it.
    ///
    /// It does not matter which process runs the follower, nor whether it takes the events at all: it has dealt with
    /// what it passes over.
    ///
    /// # Errors
    /// [`SystemError::Late`]: not within `patience`. [`SystemError::FollowerStopped`]: it will not get there.
    /// [`SystemError::Invalid`]: there is no such follower. [`SystemError::Store`]: a store does not answer.
    pub async fn after(&self, receipt: &Receipt, follower: &str, patience: Duration) -> Result<(), SystemError> {
        let feeds: Vec<_> = self.engine.feeds.iter().filter(|feed| feed.name == *follower).collect();
        if feeds.is_empty() {
            return Err(unknown_follower(&S::definition(), follower));
        }
        let there = async {
            for feed in &feeds {
                // A receipt may be of another of the logs it follows; to the end of this one is then far enough.
                let position = receipt.position.min(feed.upstream.head().await?);
                if self.inline.is_some() {
                    self.engine.catch_up().await?;
                }
                reach(feed, position).await?;
            }
            Ok(())
        };
        let late = || SystemError::Late {
            follower: feeds[0].name.clone(),
            position: receipt.position,
            reached: feeds.iter().map(|feed| feed.status().borrow().reached).min().unwrap_or_default(),
        };
        tokio::time::timeout(patience, there).await.unwrap_or_else(|_| Err(late()))
    }

    async fn heads(&self) -> Result<Vec<Position>, SystemError> {
        let mut heads = Vec::with_capacity(self.engine.feeds.len());
        for feed in &self.engine.feeds {
            heads.push(feed.upstream.head().await?);
        }
        Ok(heads)
    }

    /// How the followers are doing: where each is, how far behind, and what is wrong with it.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn health(&self) -> Result<Health, SystemError> {
        let mut followers = Vec::with_capacity(self.engine.feeds.len());
        for feed in &self.engine.feeds {
            let Status { reached, state } = feed.status().borrow().clone();
            let head = feed.upstream.head().await?;
            let behind = self.behind(feed, reached).await?;
            followers.push(FollowerHealth { name: feed.name.clone(), position: reached, head, behind, state });
        }
        Ok(Health { followers })
    }

    /// How long the first event that is not dealt with has been waiting.
    async fn behind(&self, feed: &Feed<S>, reached: Position) -> Result<Duration, SystemError> {
        let next = feed.upstream.read_log(LogQuery::after(reached).limit(1).categories(feed.takes())).await?;
        let since = next.events.first().map(|event| self.clock.now().duration_since(event.recorded_at));
        Ok(since.and_then(|since| since.try_into().ok()).unwrap_or_default())
    }

    /// Ends the followers after the page they are at. What they have not reached waits for the next start.
    ///
    /// # Errors
    /// [`SystemError::FollowerStopped`]: a follower had stopped before. All others have ended as they should.
    pub async fn stop(mut self) -> Result<(), SystemError> {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            task.await
                .map_err(|error| SystemError::Invalid { reason: format!("a follower's task failed: {error}") })?;
        }
        let stopped = |feed: &Arc<Feed<S>>| feed.status().borrow().state.stopped().cloned();
        match self.engine.feeds.iter().find_map(stopped) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }
}

async fn reach<S>(feed: &Feed<S>, position: Position) -> Result<(), SystemError> {
    let mut status = feed.status();
    let there = status.wait_for(|status| status.reached >= position || status.state.stopped().is_some()).await;
    let status = there.expect("the feed is borrowed, so its sender lives").clone();
    match status.state.stopped() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(()),
    }
}

impl<S> Deref for Running<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.engine.system
    }
}

impl<S> fmt::Debug for Running<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("followers", &self.engine.feeds.len()).finish_non_exhaustive()
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
