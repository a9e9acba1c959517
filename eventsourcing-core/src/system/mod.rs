//! [`System`]: applications and their followers, declared once, run inline or concurrently.

mod error;
mod feed;
mod follower;
mod graph;
mod runner;
mod stores;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use error::{FollowerStopped, SystemError};
pub use follower::{Follower, PolicyFollower, ProjectionFollower};
pub use graph::{ApplicationDefinition, Definition, FollowerDefinition, FollowerKind, Follows};
pub use runner::Runner;
pub use stores::{Applications, Stores};

use crate::application::AfterSave;
use crate::store::{LogId, Name, Position};
use crate::{Application, Clock, IdSource, RandomIds, SystemClock};
use feed::Feed;
use follower::Route;
use runner::{Engine, Inline, Mode};

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
            feeds.extend(open_feeds(follower, &applications).await?);
        }
        let engine = Engine::new(system, feeds);
        let (stop, stopping) = watch::channel(false);
        let mut running = Running { engine, inline: None, tasks: Vec::new(), stop, has_cycle: definition.has_cycle() };
        match self.runner.0 {
            Mode::Concurrent => running.spawn(&stopping),
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
        feeds.push(Arc::new(Feed::open(name.clone(), upstream, handlers, policy.clone()).await?));
    }
    Ok(feeds)
}

fn unknown_application(definition: &Definition, name: &str) -> SystemError {
    let known: Vec<_> = definition.applications.iter().map(|application| application.name).collect();
    SystemError::Invalid {
        reason: format!("{} has no application {name:?}; it has {}", definition.name, known.join(", ")),
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
    has_cycle: bool,
}

impl<S: System> Running<S> {
    fn spawn(&mut self, stopping: &watch::Receiver<bool>) {
        for feed in &self.engine.feeds {
            let system = Arc::clone(&self.engine.system);
            self.tasks.push(runner::spawn(system, Arc::clone(feed), stopping.clone()));
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

    async fn heads(&self) -> Result<Vec<Position>, SystemError> {
        let mut heads = Vec::with_capacity(self.engine.feeds.len());
        for feed in &self.engine.feeds {
            heads.push(feed.upstream.head().await?);
        }
        Ok(heads)
    }

    /// How the followers are doing.
    #[must_use]
    pub fn followers(&self) -> Vec<FollowerStatus> {
        let status = |feed: &Arc<Feed<S>>| {
            let status = feed.status().borrow().clone();
            FollowerStatus { name: feed.name.clone(), position: status.reached, stopped: status.stopped }
        };
        self.engine.feeds.iter().map(status).collect()
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
        match self.followers().into_iter().find_map(|follower| follower.stopped) {
            Some(stopped) => Err(stopped.into()),
            None => Ok(()),
        }
    }
}

async fn reach<S>(feed: &Feed<S>, position: Position) -> Result<(), SystemError> {
    let mut status = feed.status();
    let there = status.wait_for(|status| status.reached >= position || status.stopped.is_some()).await;
    let status = there.expect("the feed is borrowed, so its sender lives").clone();
    match status.stopped {
        Some(stopped) => Err(stopped.into()),
        None => Ok(()),
    }
}

/// How a follower is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// Its name.
    pub name: Name,
    /// Everything up to here is dealt with.
    pub position: Position,
    /// Why it stopped, if it did.
    pub stopped: Option<FollowerStopped>,
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
