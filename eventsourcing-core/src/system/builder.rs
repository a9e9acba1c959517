//! [`SystemBuilder`]: configures a system, checks that its parts fit together, and starts it.

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
use super::stores::GivenProjections;
use super::wiring::Wiring;
use super::{
    ApplicationName, Applications, Definition, Follower, FollowerName, OnFailure, PolicyName,
    ProjectionName, Runner, RunningSystem, Stores, System, SystemError, unknown_application,
    unknown_follower,
};
#[cfg(feature = "zstd")]
use crate::Compression;
use crate::application::Owners;
use crate::codec::Encoding;
use crate::projection::check_tables;
use crate::store::{LogId, Name};
use crate::{Application, Clock, Codec, IdSource, RandomIds, ReadModel, SystemClock};

/// Configures and starts a system. Offers more choices than the `start` of the system itself.
pub struct SystemBuilder<S> {
    stores: Stores,
    runner: Runner,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    encoding: Encoding,
    configure: HashMap<&'static str, Configure>,
    followers: HashMap<&'static str, FollowerSettings>,
    on_failure: OnFailure,
    projections: GivenProjections,
    /// An error if this program would write events in another form than the locked one.
    lock: Result<(), SystemError>,
    removed: BTreeSet<Name>,
    of: PhantomData<fn() -> S>,
}

type Configure = Box<dyn FnOnce(Application) -> Application + Send>;

impl<S: System> SystemBuilder<S> {
    /// Returns a builder for a system on these stores. The default runner is the concurrent one.
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
            projections: GivenProjections::new(),
            lock: Ok(()),
            removed: BTreeSet::new(),
            of: PhantomData,
        }
    }

    /// Runs the followers with this runner.
    #[must_use]
    pub fn with_runner(mut self, runner: Runner) -> Self {
        self.runner = runner;
        self
    }

    /// Uses `clock` for the times of all events.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Uses `ids` for all new ids.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Makes all applications write with `codec`; see [`Application::with_codec`].
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.encoding.codec = codec;
        self
    }

    /// Makes all applications compress large payloads; see [`Application::with_compression`].
    #[cfg(feature = "zstd")]
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.encoding.compression = Some(compression);
        self
    }

    /// Makes all applications decode the bytes that they are about to write; see
    /// [`Application::with_read_back`].
    #[must_use]
    pub fn with_read_back(mut self, reads_back: bool) -> Self {
        self.encoding.reads_back = reads_back;
        self
    }

    /// Makes [`start`](Self::start) fail with the error, if there is one: `with_lock` of
    /// `eventsourcing-schema` has compared the events of this program with the lock on them.
    #[doc(hidden)]
    #[must_use]
    pub fn with_checked_lock(mut self, checked: Result<(), SystemError>) -> Self {
        self.lock = checked;
        self
    }

    /// Configures one application: its codec, its snapshots, its retries.
    #[must_use]
    pub fn with_application(
        mut self,
        name: impl Into<ApplicationName<S>>,
        configure: impl FnOnce(Application) -> Application + Send + 'static,
    ) -> Self {
        self.configure
            .insert(name.into().as_str(), Box::new(configure));
        self
    }

    /// Sets the reaction of the follower `name` to an event that fails.
    #[must_use]
    pub fn with_on_failure(
        mut self,
        name: impl Into<FollowerName<S>>,
        on_failure: OnFailure,
    ) -> Self {
        self.followers
            .entry(name.into().as_str())
            .or_default()
            .on_failure = Some(on_failure);
        self
    }

    /// Sets the reaction to an event that fails, for all followers for which
    /// [`with_on_failure`](Self::with_on_failure) sets no other. The default is
    /// [`OnFailure::Stop`].
    #[must_use]
    pub fn with_on_failure_default(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Runs the policy `name` in `partitions` partitions, assigned by aggregate id. Each partition
    /// runs in one process at a time; partitions spread over the available processes and fail
    /// independently. Events of one aggregate stay in order; those of different aggregates can
    /// overtake each other. The default is one partition.
    ///
    /// Each partition has a position of its own, so the number cannot change: a system that has run
    /// with another number refuses to start.
    #[must_use]
    pub fn with_partitions(mut self, name: PolicyName<S>, partitions: u32) -> Self {
        self.followers.entry(name.as_str()).or_default().partitions = partitions.max(1);
        self
    }

    /// Confirms that these policies and foreign projections take other events than before.
    ///
    /// The store keeps with each follower the events it takes. If a follower takes others, and
    /// there are such events before its position, a start is refused: it has skipped events that it
    /// takes now, or has processed events that it takes no more. After this confirmation it takes
    /// the new set from its position on, and everything before stays as it is;
    /// [`verify`](RunningSystem::verify) then reports the events of newly followed aggregates that
    /// it has not processed. A read model in tables is rebuilt instead: raise its
    /// [`VERSION`](crate::SqlReadModel::VERSION).
    #[must_use]
    pub fn changed_followers<N: Into<FollowerName<S>>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        for name in names {
            self.followers
                .entry(name.into().as_str())
                .or_default()
                .is_change_confirmed = true;
        }
        self
    }

    /// Confirms that these policies and foreign projections were removed from the system.
    ///
    /// A start is refused when a policy or foreign projection that the store knows is not declared
    /// any more while another one would begin at the first event, because that may be the same
    /// follower under another name, and would have every effect a second time. The store remembers
    /// the names, so later releases need not repeat them. A name that the store does not know is
    /// harmless.
    #[must_use]
    pub fn removed_followers<N: Into<Name>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.removed.extend(names.into_iter().map(Into::into));
        self
    }

    /// Passes the projection `name`, which writes into a foreign target
    /// (`#[projection(foreign, …)]`).
    #[must_use]
    pub fn with_projection(
        mut self,
        name: ProjectionName<S>,
        projection: impl Any + Send + Sync,
    ) -> Self {
        self.projections.insert(name.as_str(), Box::new(projection));
        self
    }

    /// Starts the system: every follower continues where it stopped. With the inline runner the
    /// followers have caught up when this returns.
    ///
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: the parts do not fit together, or events would not be written as
    /// `with_lock` asks. [`SystemError::ImportUnfinished`]: an import into a store is not finished.
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn start(mut self) -> Result<RunningSystem<S>, SystemError> {
        let definition = S::definition();
        definition.check()?;
        std::mem::replace(&mut self.lock, Ok(()))?;
        self.stores.check(&definition)?;
        let followers = S::followers();
        let applications = self.applications(&definition, &followers)?;
        for store in applications.stores() {
            refuse_unfinished(&**store).await?;
        }
        let known_followers = self.known_followers(&definition, &followers);
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
        let mut changes_confirmed = Vec::new();
        for follower in followers {
            let mut settings = self.followers.remove(follower.name).unwrap_or_default();
            settings.on_failure = settings.on_failure.or(Some(self.on_failure));
            workers.extend(wiring.open(follower, settings).await?);
            changes_confirmed.resize(workers.len(), settings.is_change_confirmed);
        }
        if let Some(name) = self.followers.keys().next() {
            return Err(unknown_follower(&definition, name));
        }
        // All checks have passed. Only now is anything recorded, so that a refused start leaves no
        // trace in the store. A crash between two of these records leaves only notes that the same
        // start would write again.
        for (worker, is_change_confirmed) in workers.iter().zip(changes_confirmed) {
            worker.agree(is_change_confirmed).await?;
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
            definition.policy_cycles(),
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
                self.stores.of_all(definition),
                self.read_models(followers)?,
                self.given(definition, followers)?,
            )),
        }
    }

    fn known_followers(
        &self,
        definition: &Definition,
        followers: &[Follower<S>],
    ) -> KnownFollowers {
        let mut declared = Vec::new();
        for follower in followers {
            let home = match follower.target {
                FollowerTarget::Policy { .. } => self.stores.of(follower.name),
                FollowerTarget::Foreign { .. } => self.stores.store(),
                FollowerTarget::Memory { .. } | FollowerTarget::Sql { .. } => continue,
            };
            let mut logs = BTreeMap::<LogId, DeclaredLog>::new();
            for (aggregate, application) in follower.target.sources() {
                let upstream = self.stores.of(application);
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
        let stores = self
            .stores
            .of_all(definition)
            .into_iter()
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

    /// Returns the foreign projections that were passed to the builder, and refuses a missing or
    /// superfluous one.
    fn given(
        &mut self,
        definition: &Definition,
        followers: &[Follower<S>],
    ) -> Result<GivenProjections, SystemError> {
        let mut given = GivenProjections::new();
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
                    "with_projection({name:?}, …) passes another type than the system declares"
                ),
                None => format!(
                    "{name} writes into a foreign target; pass it to the builder: builder(…).with_projection({name:?}, …)"
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
