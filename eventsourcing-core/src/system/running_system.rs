//! [`RunningSystem`]: a running system. It waits for followers, rebuilds read models, and stops.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::follower::FollowerWorker;
use super::leasing::{LeaseConfig, LeaseKeeper, Membership, this_process};
use super::part_name::POLICY_IS_NOT_REBUILT;
use super::read_model::{GenerationIndex, Rebuild, RebuildTask};
use super::runner::{self, Engine, Inline, Mode};
use super::waiting::{FollowerWait, reach, reach_inline, unless_lost};
use super::wiring::{SqlFollower, refused};
use super::{
    Applications, FollowerKind, FollowerName, FollowerState, Parking, ProjectionName, Runner,
    System, SystemError, unknown_follower,
};
use crate::Clock;
use crate::application::AfterSave;
use crate::projection::WaitForFollower as _;
use crate::store::{FollowerStore, HolderId, LogId, Name, Position, Receipt, StoreError};

/// A running system. It derefs to the system, so `bank.accounts` is its service.
///
/// [`stop`](Self::stop) ends it gracefully. If it is dropped instead, each follower ends after its
/// present step. Nothing is lost either way: a follower continues where it stopped when the system
/// is started again, or when it is [resumed](Self::resume).
pub struct RunningSystem<S> {
    pub(super) engine: Arc<Engine<S>>,
    /// The inline runner. Applications hold it weakly, so it is kept alive here.
    pub(super) inline: Option<Arc<dyn AfterSave>>,
    /// The logs that its applications write to.
    logs: Arc<[LogId]>,
    /// The stores of its applications, each once.
    pub(super) stores: Vec<Arc<dyn FollowerStore>>,
    tasks: Vec<JoinHandle<()>>,
    pub(super) read_models: Vec<SqlFollower<S>>,
    /// The builds of this process by the name of the read model.
    builds: Mutex<BTreeMap<Name, (Rebuild, JoinHandle<()>)>>,
    lease_config: Option<LeaseConfig>,
    stop: watch::Sender<bool>,
    pub(super) clock: Arc<dyn Clock>,
    /// The policies among which events can go round in a cycle.
    policy_cycles: Vec<&'static str>,
}

impl<S: System> RunningSystem<S> {
    pub(super) async fn start(
        engine: Arc<Engine<S>>,
        runner: Runner,
        applications: &Applications,
        read_models: Vec<SqlFollower<S>>,
        clock: Arc<dyn Clock>,
        policy_cycles: Vec<&'static str>,
    ) -> Result<Self, SystemError> {
        let (stop, stopping) = watch::channel(false);
        let lease = if let Mode::Concurrent(lease) = runner.0 {
            lease
        } else {
            None
        };
        let lease_config = lease.map(|duration| LeaseConfig {
            holder: HolderId::new(),
            duration,
        });
        let logs = applications
            .all()
            .map(|application| application.store().log_id())
            .collect();
        let stores = applications.stores().to_vec();
        let inline = None;
        let tasks = Vec::new();
        let builds = Mutex::default();

        let mut running = Self {
            engine,
            inline,
            logs,
            stores,
            tasks,
            read_models,
            builds,
            lease_config,
            stop,
            clock,
            policy_cycles,
        };
        running.go_on_building().await?;
        match runner.0 {
            Mode::Concurrent(_) => {
                running.attach(applications);
                running.spawn(&stopping);
            }
            Mode::Inline => running.run_inline(applications).await?,
        }
        Ok(running)
    }

    /// Lets read models wait for their followers.
    fn attach(&self, applications: &Applications) {
        for read_model in applications.read_models() {
            read_model.attach(self.waiting(read_model.name().clone()));
        }
    }

    /// Starts builds for read models of an older version, and continues those that this version has
    /// begun.
    async fn go_on_building(&self) -> Result<(), SystemError> {
        for read_model in &self.read_models {
            let GenerationIndex { live, building, .. } = read_model.generations.read().await?;
            let own = read_model.generations.version();

            let is_newer = live.is_some_and(|live| live.version < own);
            if is_newer || building.is_some_and(|building| building.version == own) {
                self.begin_build(read_model).await?;
            }
        }
        Ok(())
    }

    fn spawn(&mut self, stopping: &watch::Receiver<bool>) {
        let lease_config = self.lease_config;
        let mut memberships: Vec<Arc<Membership>> = Vec::new();
        for worker in &self.engine.workers {
            let known = memberships
                .iter()
                .find(|membership| membership.is_of(worker))
                .cloned();
            let membership = known.or_else(|| {
                lease_config.and_then(|lease_config| Membership::of(worker, lease_config))
            });
            memberships.extend(membership.clone());
            let lease = LeaseKeeper::new(lease_config, membership);
            let system = Arc::clone(&self.engine.system);
            self.tasks.push(runner::spawn(
                system,
                Arc::clone(worker),
                lease,
                stopping.clone(),
            ));
        }
    }

    async fn run_inline(&mut self, applications: &Applications) -> Result<(), SystemError> {
        let inline: Arc<dyn AfterSave> = Arc::new(Inline(Arc::clone(&self.engine)));
        for application in applications.all() {
            application.tell(Arc::downgrade(&inline));
        }
        self.inline = Some(inline);
        self.attach(applications);
        for build in self.builds() {
            // A failure does not fail the start: `health` reports it, as that of every follower.
            let _ = build.finished().await;
        }
        Ok(self.engine.catch_up().await?)
    }

    /// Waits until every follower has processed all events that are written by now, the events that
    /// followers record because of them, and the timers that are due by now.
    ///
    /// An event is written when it can be [seen](crate::store::EventStore::newest_position), even if
    /// the log does not show it yet because an append with a smaller position is under way. This
    /// method waits until that append has ended.
    ///
    /// Builds are not waited for, nor are read models of which another version is live.
    /// [Parked](Self::parking) events count as processed; [`health`](Self::health) tells their
    /// number.
    ///
    /// Events that others write meanwhile are not waited for, with one exception: where policies
    /// follow each other in a cycle, the wait ends when no event goes round any more. The wait goes
    /// on while a store does not answer, unless the store can [never be used again](Self::fault);
    /// limit it with `tokio::time::timeout` where that matters.
    ///
    /// # Errors
    /// [`SystemError::FollowerStopped`]: a follower has stopped, or, with the inline runner, waits
    /// for a newer release. [`SystemError::Store`]: a store does not answer.
    pub async fn wait_until_caught_up(&self) -> Result<(), SystemError> {
        // In each round one follower may record events for the next one. Without cycles a chain has
        // at most as many links as there are followers, so this number of rounds in which nothing
        // goes round is enough.
        let rounds = self.engine.workers.len() + 1;
        let mut since = 0;

        let mut before = Vec::new();
        'settling: while since < rounds {
            let heads = self.heads().await?;
            if heads == before {
                break;
            }
            since = if self.cycle_has_events(&before, &heads).await? {
                0
            } else {
                since + 1
            };
            if self.inline.is_some() {
                self.engine.catch_up().await?;
                self.refuse_to_wait_for_a_release()?;
            }
            for (worker, head) in self.engine.workers.iter().zip(&heads) {
                if worker.is_observer() {
                    continue;
                }
                match self.reach(worker, *head).await {
                    // The log was restored while this waited, so the positions to wait for are read
                    // again.
                    Err(SystemError::Store(StoreError::LogWentBack { .. })) => {
                        since = 0;
                        before.clear();
                        continue 'settling;
                    }
                    reached => reached?,
                }
                if self.inline.is_none() {
                    worker.until_none_is_due().await?;
                }
            }
            before = heads;
        }
        Ok(())
    }

    async fn reach(&self, worker: &FollowerWorker<S>, head: Position) -> Result<(), SystemError> {
        if worker
            .status()
            .borrow()
            .is_at(head, worker.upstream.epoch())
        {
            return Ok(());
        }
        unless_lost(&*worker.upstream, head, self.reach_at_last(worker, head)).await
    }

    async fn reach_at_last(
        &self,
        worker: &FollowerWorker<S>,
        head: Position,
    ) -> Result<(), SystemError> {
        if self.inline.is_none() {
            return reach(&*worker.upstream, worker.status(), head).await;
        }
        let catch_up = || async {
            self.engine.catch_up().await?;
            self.refuse_to_wait_for_a_release()
        };
        reach_inline(&*worker.upstream, worker.status(), head, catch_up).await
    }

    /// Returns the failure of a follower that waits for a newer release. The inline runner has no
    /// other processes to wait for.
    fn refuse_to_wait_for_a_release(&self) -> Result<(), SystemError> {
        let waits = |worker: &Arc<FollowerWorker<S>>| match &worker.status().borrow().state {
            FollowerState::WaitingForRelease(failure) => Some(failure.clone()),
            _ => None,
        };
        self.engine
            .workers
            .iter()
            .find_map(waits)
            .map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Waits until `follower` has processed the events of `receipt`, at most `timeout`, so that a
    /// caller reads its own writes. [`DEFAULT_TIMEOUT`](crate::DEFAULT_TIMEOUT) suits most callers.
    ///
    /// The follower may run in any process. Events that it skips count as processed. On PostgreSQL
    /// a follower may have to wait for other appends that are under way.
    ///
    /// The wait is for the [log](Receipt::log) and the position of the receipt, of each kind of
    /// receipt. If the follower does not follow that log, the wait ends at once; for events that
    /// reach it by way of other followers, use
    /// [`wait_until_caught_up`](Self::wait_until_caught_up). A receipt of an earlier release does
    /// not say its log, and is waited for in each log that the follower follows, at most to the end
    /// of the log.
    ///
    /// # Errors
    /// [`SystemError::TimedOut`]: not within `timeout`. [`SystemError::FollowerStopped`]: the
    /// follower has stopped before the position. [`SystemError::Parked`]: the follower has parked
    /// the last event of the receipt. [`SystemError::Invalid`]: the receipt is
    /// of a log that no application of this system writes to. [`SystemError::Store`]: a store does
    /// not answer.
    pub async fn wait_for(
        &self,
        receipt: &Receipt,
        follower: impl Into<FollowerName<S>>,
        timeout: Duration,
    ) -> Result<(), SystemError> {
        let waiting = self.waiting(self.known(follower)?);
        if self.inline.is_some() {
            self.engine.catch_up().await?;
        }
        waiting.until(receipt, timeout).await
    }

    /// Returns the stores that the applications write to, each once, in the order in which the
    /// system declares the applications. The positions, notes and leases of followers can be read
    /// there.
    #[must_use]
    pub fn stores(&self) -> &[Arc<dyn FollowerStore>] {
        &self.stores
    }

    /// Returns the policy or projection with this stored name, for names that come from outside;
    /// those in the program are constants of the system.
    ///
    /// # Errors
    /// [`SystemError::UnknownFollower`]: the system has no such follower.
    pub fn find_follower(&self, name: &str) -> Result<FollowerName<S>, SystemError> {
        FollowerName::find(name)
    }

    /// Returns the stored name of `follower` if the system has it. A name that the derive has not
    /// written may not exist.
    pub(super) fn known(&self, follower: impl Into<FollowerName<S>>) -> Result<Name, SystemError> {
        let follower = follower.into().as_str();
        match self
            .engine
            .workers
            .iter()
            .find(|worker| worker.name == *follower)
        {
            Some(worker) => Ok(worker.name.clone()),
            None => Err(unknown_follower(&S::definition(), follower)),
        }
    }

    fn waiting(&self, follower: Name) -> FollowerWait {
        FollowerWait::new(
            follower,
            &self.engine.workers,
            Arc::clone(&self.logs),
            self.inline.as_ref().map(Arc::downgrade),
        )
    }

    /// Returns `true` if there are new events for the policies of a cycle.
    async fn cycle_has_events(
        &self,
        before: &[Position],
        heads: &[Position],
    ) -> Result<bool, SystemError> {
        for (worker, (before, head)) in self.engine.workers.iter().zip(before.iter().zip(heads)) {
            if self.policy_cycles.contains(&worker.name.as_str())
                && worker.lag(*before, *head).await? > 0
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the newest position of each worker's log, visible to followers yet or not.
    async fn heads(&self) -> Result<Vec<Position>, SystemError> {
        let mut heads = Vec::with_capacity(self.engine.workers.len());
        for worker in &self.engine.workers {
            heads.push(worker.upstream.newest_position().await?);
        }
        Ok(heads)
    }

    /// Rebuilds the read model `name` from the first event, for example after a mistake in its code
    /// was fixed. Joins the build that is under way, if there is one. The live generation goes on
    /// answering meanwhile.
    ///
    /// # Errors
    /// [`SystemError::NotARebuildableReadModel`]: `name` is not a read model in a SQL database.
    /// [`SystemError::Invalid`]: the database refuses its tables. [`SystemError::Store`]: a store
    /// does not answer.
    pub async fn rebuild(&self, name: ProjectionName<S>) -> Result<Rebuild, SystemError> {
        let name = name.as_str();
        if let Some(read_model) = self
            .read_models
            .iter()
            .find(|read_model| *read_model.generations.name() == *name)
        {
            return self.begin_build(read_model).await;
        }
        let definition = S::definition();
        let Some(follower) = definition
            .followers
            .iter()
            .find(|follower| follower.name == name)
        else {
            return Err(unknown_follower(&definition, name));
        };
        let why = match follower.kind {
            FollowerKind::Policy => POLICY_IS_NOT_REBUILT,
            FollowerKind::Projection => {
                "not in a SQL database: start the system again, or empty its target"
            }
        };
        Err(SystemError::NotARebuildableReadModel {
            follower: name.into(),
            why,
        })
    }

    /// Returns the build of the read model `name` that is under way in this process, such as that
    /// of a new version.
    #[must_use]
    pub fn build(&self, name: ProjectionName<S>) -> Option<Rebuild> {
        self.build_of(name.as_str())
    }

    pub(super) fn build_of(&self, name: &str) -> Option<Rebuild> {
        self.builds()
            .into_iter()
            .find(|build| *build.name() == *name)
    }

    /// Returns the builds that are under way.
    fn builds(&self) -> Vec<Rebuild> {
        let builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds
            .values()
            .map(|(build, _)| build.clone())
            .filter(Rebuild::is_going_on)
            .collect()
    }

    async fn begin_build(&self, read_model: &SqlFollower<S>) -> Result<Rebuild, SystemError> {
        let generations = &read_model.generations;
        let building = generations
            .begin_build()
            .await
            .map_err(|error| refused(generations, error))?;
        let workers = read_model.building(&building).await?;
        // Two calls can get here at once, each with workers for the same generation. The second one
        // finds the build of the first and drops its own workers, which have made no step.
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((build, _)) = builds
            .get(generations.name())
            .filter(|(build, _)| build.is_going_on())
        {
            return Ok(build.clone());
        }
        let system = Arc::clone(&self.engine.system);
        let generations = Arc::clone(generations);

        let name = generations.name().clone();
        let builder = RebuildTask {
            system,
            generations,
            building,
            workers,
            lease_config: self.lease_config,
        };
        let (build, task) = builder.spawn(self.stop.subscribe());
        builds.insert(name, (build.clone(), task));
        Ok(build)
    }

    /// Returns the parked events and timers of `follower`, to be retried or discarded.
    ///
    /// # Errors
    /// [`SystemError::UnknownFollower`]: the system has no such follower.
    pub fn parking(
        &self,
        follower: impl Into<FollowerName<S>>,
    ) -> Result<Parking<'_, S>, SystemError> {
        let name = self.known(follower)?;
        Ok(Parking::new(
            &self.engine,
            self.inline.is_some(),
            name,
            this_process(),
        ))
    }

    /// Returns why a store of the system can never be used again in this process, or `None`; see
    /// [`EventStore::fault`](crate::store::EventStore::fault). The program has to be started again
    /// then.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.engine
            .workers
            .iter()
            .find_map(|worker| worker.upstream.fault())
    }

    /// Ends each follower after its present step. The events that are left are processed after the
    /// next start.
    ///
    /// # Errors
    /// [`SystemError::FollowerStopped`]: a follower had stopped before. All others have ended
    /// gracefully.
    pub async fn stop(mut self) -> Result<(), SystemError> {
        self.stop.send_replace(true);
        let builds =
            std::mem::take(&mut *self.builds.lock().unwrap_or_else(PoisonError::into_inner));
        for task in self
            .tasks
            .drain(..)
            .chain(builds.into_values().map(|(_, task)| task))
        {
            task.await.map_err(|error| SystemError::Invalid {
                reason: format!("a follower's task failed: {error}"),
            })?;
        }
        let stopped =
            |worker: &Arc<FollowerWorker<S>>| worker.status().borrow().state.stopped().cloned();
        match self.engine.workers.iter().find_map(stopped) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }
}

impl<S> Deref for RunningSystem<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.engine.system
    }
}

impl<S> fmt::Debug for RunningSystem<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningSystem")
            .field("followers", &self.engine.workers.len())
            .finish_non_exhaustive()
    }
}
