//! [`SystemBuilder`]: from a declaration and stores to a running system.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::follower::Target;
use super::runner::Engine;
use super::stores::Given;
use super::wiring::Wiring;
use super::{
    Applications, Definition, Follower, OnFailure, Runner, Running, Stores, System, SystemError, unknown_application,
    unknown_follower,
};
#[cfg(feature = "zstd")]
use crate::Compression;
use crate::application::Owners;
use crate::archive::refuse_unfinished;
use crate::codec::Encoding;
use crate::projection::check_tables;
use crate::store::Name;
use crate::{Application, Clock, Codec, IdSource, RandomIds, ReadModel, SystemClock};

/// Starts a system, with more to choose than its `start` offers.
pub struct SystemBuilder<S> {
    stores: Stores,
    runner: Runner,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    encoding: Encoding,
    configure: HashMap<&'static str, Configure>,
    followers: HashMap<&'static str, FollowerSettings>,
    on_failure: OnFailure,
    projections: Given,
    /// An error if events would be written otherwise than they are locked.
    lock: Result<(), SystemError>,
    of: PhantomData<fn() -> S>,
}

/// What may be chosen for each follower.
#[derive(Clone, Copy, Debug)]
pub(super) struct FollowerSettings {
    /// `None`: as all others.
    on_failure: Option<OnFailure>,
    pub(super) partitions: u32,
}

impl FollowerSettings {
    pub(super) fn on_failure(self) -> OnFailure {
        self.on_failure.unwrap_or_default()
    }
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self { on_failure: None, partitions: 1 }
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
            encoding: Encoding::default(),
            configure: HashMap::new(),
            followers: HashMap::new(),
            on_failure: OnFailure::default(),
            projections: Given::new(),
            lock: Ok(()),
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

    /// Has all applications write by `codec`; see [`Application::with_codec`].
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.encoding.codec = codec;
        self
    }

    /// Has all applications compress what is large; see [`Application::with_compression`].
    #[cfg(feature = "zstd")]
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.encoding.compression = Some(compression);
        self
    }

    /// Has all applications read again what they write; see [`Application::with_read_back`].
    #[must_use]
    pub fn with_read_back(mut self, reads_back: bool) -> Self {
        self.encoding.reads_back = reads_back;
        self
    }

    /// Has [`start`](Self::start) compare what this program writes with the lock on its events, to the byte. A test that
    /// compares the two may have been built with other features of other crates than the program that is released.
    ///
    /// ```ignore
    /// Bank::builder(stores).with_lock(include_str!("../events.lock.json")).start().await?
    /// ```
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn with_lock(mut self, lock: &str) -> Self
    where
        S: crate::schema::DescribedSystem,
    {
        let schema = crate::schema::SystemSchema::of::<S>();
        let checked = lock.parse().and_then(|lock| schema.check_written(&lock));
        self.lock = checked.map_err(|error| SystemError::Invalid { reason: error.to_string() });
        self
    }

    /// Changes how one application works: its codec, its snapshots, its retries.
    #[must_use]
    pub fn with_application(
        mut self,
        name: &'static str,
        configure: impl FnOnce(Application) -> Application + Send + 'static,
    ) -> Self {
        self.configure.insert(name, Box::new(configure));
        self
    }

    /// What the follower `name` does about an event it cannot deal with.
    #[must_use]
    pub fn with_on_failure(mut self, name: &'static str, on_failure: OnFailure) -> Self {
        self.followers.entry(name).or_default().on_failure = Some(on_failure);
        self
    }

    /// What followers do about an event they cannot deal with, unless [something else](Self::with_on_failure) is chosen for
    /// one; [`OnFailure::Stop`] unless said otherwise.
    #[must_use]
    pub fn with_on_failure_default(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
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

    /// Hands over the projection `name`, which writes into something foreign
    /// (`#[projection(foreign, …)]`).
    #[must_use]
    pub fn with_projection(mut self, name: &'static str, projection: impl Any + Send + Sync) -> Self {
        self.projections.insert(name, Box::new(projection));
        self
    }

    /// Starts the system: every follower goes on where it stopped, also with what was recorded meanwhile. With the
    /// inline runner the followers have caught up when this returns.
    ///
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the parts do not fit together, what would be stored is not as [locked](Self::with_lock), or
    /// something is being imported into a store.
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn start(mut self) -> Result<Running<S>, SystemError> {
        let definition = S::definition();
        definition.check()?;
        std::mem::replace(&mut self.lock, Ok(()))?;
        self.stores.check(&definition)?;
        let followers = S::followers();
        let applications = self.applications(&definition, &followers)?;
        for application in applications.all() {
            refuse_unfinished(&**application.store()).await?;
        }
        let system = Arc::new(S::assemble(&applications));
        let (stores, clock) = (&self.stores, &self.clock);
        let mut wiring = Wiring { applications: &applications, stores, clock, read_models: Vec::new() };
        let mut feeds = Vec::new();
        for follower in followers {
            let mut settings = self.followers.remove(follower.name).unwrap_or_default();
            settings.on_failure = settings.on_failure.or(Some(self.on_failure));
            feeds.extend(wiring.open(follower, settings).await?);
        }
        if let Some(name) = self.followers.keys().next() {
            return Err(unknown_follower(&definition, name));
        }
        let read_models = wiring.read_models;
        let engine = Engine::new(system, feeds);
        Running::start(engine, self.runner, &applications, read_models, self.clock, definition.circle()).await
    }

    fn applications(
        &mut self,
        definition: &Definition,
        followers: &[Follower<S>],
    ) -> Result<Applications, SystemError> {
        let mut applications = Vec::new();
        let owners = Arc::new(Owners::of(definition));
        for name in definition.applications.iter().map(|application| application.name) {
            let application = Application::new(Name::from_static(name), self.stores.of(name))
                .with_clock(Arc::clone(&self.clock))
                .with_ids(Arc::clone(&self.ids))
                .with_encoding(self.encoding);
            let configured = match self.configure.remove(name) {
                Some(configure) => configure(application),
                None => application,
            };
            applications.push((name, configured.with_owners(Arc::clone(&owners))));
        }
        match self.configure.keys().next() {
            Some(name) => Err(unknown_application(definition, name)),
            None => {
                Ok(Applications::new(applications, self.read_models(followers)?, self.given(definition, followers)?))
            }
        }
    }

    fn read_models(&self, followers: &[Follower<S>]) -> Result<Vec<ReadModel>, SystemError> {
        let mut all_tables = Vec::new();
        let mut read_models = Vec::new();
        for follower in followers {
            let Target::Sql { tables, .. } = follower.target else { continue };
            all_tables.extend(tables);
            let (_, database) = self.stores.read_models(follower.name)?;
            read_models.push(ReadModel::new(Name::from_static(follower.name), tables, database));
        }
        check_tables(all_tables).map_err(|reason| SystemError::Invalid { reason })?;
        Ok(read_models)
    }

    /// Every projection into something foreign, and nothing else.
    fn given(&mut self, definition: &Definition, followers: &[Follower<S>]) -> Result<Given, SystemError> {
        let mut given = Given::new();
        for follower in followers {
            let Target::Foreign(of_type) = follower.target else { continue };
            let name = follower.name;
            let reason = match self.projections.remove(name) {
                Some(projection) if (*projection).type_id() == of_type => {
                    given.insert(name, projection);
                    continue;
                }
                Some(_) => format!("with_projection({name:?}, …) hands over another type than the system declares"),
                None => format!(
                    "{name} writes into something foreign; hand it over: builder(…).with_projection({name:?}, …)"
                ),
            };
            return Err(SystemError::Invalid { reason });
        }
        match self.projections.keys().next() {
            None => Ok(given),
            Some(name) if definition.followers.iter().any(|follower| follower.name == *name) => {
                let reason = format!("{name} is not a foreign projection; write #[projection(foreign, …)] above it");
                Err(SystemError::Invalid { reason })
            }
            Some(name) => Err(unknown_follower(definition, name)),
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
