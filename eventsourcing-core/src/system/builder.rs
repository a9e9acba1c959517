//! [`SystemBuilder`]: from a declaration and stores to a running system.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::follower::FollowerTarget;
use super::import_guard::refuse_unfinished;
use super::known_followers::{Declared, DeclaredLog, KnownFollowers};
use super::runner::Engine;
use super::settings::FollowerSettings;
use super::stores::Given;
use super::wiring::Wiring;
use super::{
    Applications, Definition, Follower, OnFailure, Runner, RunningSystem, Stores, System,
    SystemError, unknown_application, unknown_follower,
};
#[cfg(feature = "zstd")]
use crate::Compression;
use crate::application::Owners;
use crate::codec::Encoding;
use crate::projection::check_tables;
use crate::store::{EventStore, LogId, Name};
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
    removed: BTreeSet<Name>,
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
            encoding: Encoding::default(),
            configure: HashMap::new(),
            followers: HashMap::new(),
            on_failure: OnFailure::default(),
            projections: Given::new(),
            lock: Ok(()),
            removed: BTreeSet::new(),
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
        self.lock = checked.map_err(|error| SystemError::Invalid {
            reason: error.to_string(),
        });
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

    /// Says that these policies and foreign projections take other events than they took up to now, on purpose.
    ///
    /// The store keeps with each follower the events it takes. A start is refused when it takes others and there are such
    /// events before its position: it has passed over them, or has processed what its declaration tells nothing of.
    /// With this it takes the other events from its position on, and what lies before stays as it is;
    /// [`verify`](RunningSystem::verify) names what of an aggregate that it did not follow before it has not processed. A read model
    /// in tables is built anew instead, by a higher [`VERSION`](crate::SqlReadModel::VERSION).
    #[must_use]
    pub fn changed_followers(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        for name in names {
            self.followers.entry(name).or_default().is_change_meant = true;
        }
        self
    }

    /// Says that these policies and foreign projections were taken out of the system on purpose.
    ///
    /// A start is refused when a policy or foreign projection that the store knows is not declared any more while
    /// another one would begin at the first event, because it may be the same one under another name, and would have every
    /// effect a second time. The names are remembered in the store, so a later release need not repeat them. A name
    /// that the store does not know is harmless.
    #[must_use]
    pub fn removed_followers<N: Into<Name>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.removed.extend(names.into_iter().map(Into::into));
        self
    }

    /// Hands over the projection `name`, which writes into something foreign
    /// (`#[projection(foreign, …)]`).
    #[must_use]
    pub fn with_projection(
        mut self,
        name: &'static str,
        projection: impl Any + Send + Sync,
    ) -> Self {
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
    pub async fn start(mut self) -> Result<RunningSystem<S>, SystemError> {
        let definition = S::definition();
        definition.check()?;
        std::mem::replace(&mut self.lock, Ok(()))?;
        self.stores.check(&definition)?;
        let followers = S::followers();
        let applications = self.applications(&definition, &followers)?;
        for application in applications.all() {
            refuse_unfinished(&**application.store()).await?;
        }
        let known_followers = self.known_followers(&definition, &followers, &applications);
        let declarations = known_followers.agree().await?;
        let system = Arc::new(S::assemble(&applications));
        let stores = &self.stores;
        let clock = &self.clock;

        let known_aggregates = definition.aggregates();
        let mut wiring = Wiring {
            applications: &applications,
            stores,
            clock,
            known_aggregates,
            read_models: Vec::new(),
        };
        let mut workers = Vec::new();
        let mut changes_meant = Vec::new();
        for follower in followers {
            let mut settings = self.followers.remove(follower.name).unwrap_or_default();
            settings.on_failure = settings.on_failure.or(Some(self.on_failure));
            workers.extend(wiring.open(follower, settings).await?);
            changes_meant.resize(workers.len(), settings.is_change_meant);
        }
        if let Some(name) = self.followers.keys().next() {
            return Err(unknown_follower(&definition, name));
        }
        // From here on nothing speaks against the start, and what the followers rely on is recorded.
        for (worker, is_change_meant) in workers.iter().zip(changes_meant) {
            worker.agree(is_change_meant).await?;
        }
        declarations.record().await?;
        let read_models = wiring.read_models;
        let engine = Engine::new(system, workers);
        RunningSystem::start(
            engine,
            self.runner,
            &applications,
            read_models,
            self.clock,
            definition.circle(),
        )
        .await
    }

    fn applications(
        &mut self,
        definition: &Definition,
        followers: &[Follower<S>],
    ) -> Result<Applications, SystemError> {
        let mut applications = Vec::new();
        let owners = Arc::new(Owners::of(definition));
        for name in definition
            .applications
            .iter()
            .map(|application| application.name)
        {
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
            None => Ok(Applications::new(
                applications,
                self.read_models(followers)?,
                self.given(definition, followers)?,
            )),
        }
    }

    fn known_followers(
        &self,
        definition: &Definition,
        followers: &[Follower<S>],
        applications: &Applications,
    ) -> KnownFollowers {
        let mut declared = Vec::new();
        for follower in followers {
            let home = match follower.target {
                FollowerTarget::Policy { .. } => {
                    Arc::clone(applications.application(follower.name).store())
                }
                FollowerTarget::Foreign { .. } => self.stores.store(),
                FollowerTarget::Memory { .. } | FollowerTarget::Sql { .. } => continue,
            };
            let mut logs = BTreeMap::<LogId, DeclaredLog>::new();
            for (aggregate, application) in follower.target.sources() {
                let upstream = Arc::clone(applications.application(application).store());
                let log = logs.entry(upstream.log_id()).or_insert(DeclaredLog {
                    upstream,
                    takes: Vec::new(),
                });
                log.takes.push(aggregate.clone());
            }
            let of_its_own = definition
                .applications
                .iter()
                .filter(|application| application.name == follower.name);
            let owns = of_its_own
                .flat_map(|application| &application.aggregates)
                .map(ToString::to_string)
                .collect();
            let logs = logs.into_values().collect();
            declared.push(Declared {
                name: Name::from_static(follower.name),
                home,
                logs,
                owns,
            });
        }
        let homes = applications
            .all()
            .map(|application| Arc::clone(application.store()));
        let stores = homes
            .chain([self.stores.store()])
            .map(|store| (store.log_id(), store));
        let stores = stores.collect::<BTreeMap<_, _>>().into_values().collect();
        KnownFollowers {
            system: definition.name,
            declared,
            removed: self.removed.clone(),
            stores,
        }
    }

    fn read_models(&self, followers: &[Follower<S>]) -> Result<Vec<ReadModel>, SystemError> {
        let mut all_tables = Vec::new();
        let mut read_models = Vec::new();
        for follower in followers {
            let FollowerTarget::Sql { tables, .. } = &follower.target else {
                continue;
            };
            all_tables.extend(*tables);
            let (_, database) = self.stores.read_models(follower.name)?;
            read_models.push(ReadModel::new(
                Name::from_static(follower.name),
                tables,
                database,
            ));
        }
        check_tables(all_tables).map_err(|reason| SystemError::Invalid { reason })?;
        Ok(read_models)
    }

    /// Every projection into something foreign, and nothing else.
    fn given(
        &mut self,
        definition: &Definition,
        followers: &[Follower<S>],
    ) -> Result<Given, SystemError> {
        let mut given = Given::new();
        for follower in followers {
            let FollowerTarget::Foreign { of_type, .. } = &follower.target else {
                continue;
            };
            let name = follower.name;
            let reason = match self.projections.remove(name) {
                Some(projection) if (*projection).type_id() == *of_type => {
                    given.insert(name, projection);
                    continue;
                }
                Some(_) => format!(
                    "with_projection({name:?}, …) hands over another type than the system declares"
                ),
                None => format!(
                    "{name} writes into something foreign; hand it over: builder(…).with_projection({name:?}, …)"
                ),
            };
            return Err(SystemError::Invalid { reason });
        }
        match self.projections.keys().next() {
            None => Ok(given),
            Some(name)
                if definition
                    .followers
                    .iter()
                    .any(|follower| follower.name == *name) =>
            {
                let reason = format!(
                    "{name} is not a foreign projection; write #[projection(foreign, …)] above it"
                );
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
