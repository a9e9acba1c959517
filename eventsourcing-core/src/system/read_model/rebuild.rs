//! [`Rebuild`]: a new generation of a read model, built beside the live one, which it replaces when
//! it has caught up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use super::generation_index::Generation;
use super::generations::Generations;
use crate::sql::SqlError;
use crate::store::{KnownPlace, Name, StoreError};
use crate::system::follower::FollowerWorker;
use crate::system::leasing::{LeaseConfig, LeaseKeeper};
use crate::system::report::{RebuildProgress, RebuildState};
use crate::system::{SystemError, runner};

/// The interval between looks at the progress of a build.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The attempts in a row to become live while the live generation makes steps. After them the build
/// goes on catching up for one interval, so that a busy read model does not keep the two
/// generations in a tight loop of refused switches.
const SWITCH_ATTEMPTS: usize = 10;

/// The build of a new generation of a read model. Dropping this handle does not stop the build.
/// Clones watch the same build.
///
/// The live generation answers queries until the new one has caught up, and is then replaced within
/// one transaction. If the process ends before that, the build continues where it stopped when a
/// system of the same version starts.
#[derive(Clone)]
pub struct Rebuild {
    name: Name,
    progress: watch::Receiver<RebuildProgress>,
}

impl Rebuild {
    /// Returns the name of the read model.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the progress of the build.
    #[must_use]
    pub fn progress(&self) -> RebuildProgress {
        self.progress.borrow().clone()
    }

    /// Waits until readers see the new generation.
    ///
    /// # Errors
    /// [`SystemError::FollowerStopped`]: the read model failed to process an event.
    /// [`SystemError::Invalid`]: another version is built in its place, or the system was stopped.
    pub async fn finished(&self) -> Result<(), SystemError> {
        let mut progress = self.progress.clone();
        let _ = progress
            .wait_for(|progress| !matches!(progress.state, RebuildState::Building))
            .await;
        let reason = match self.progress().state {
            RebuildState::Live => return Ok(()),
            RebuildState::Failed(failure) => return Err(failure.into()),
            RebuildState::Superseded => "was replaced by the build of another version",
            RebuildState::Building | RebuildState::Interrupted => {
                "was interrupted; start the system again to continue it"
            }
        };
        Err(SystemError::Invalid {
            reason: format!("the build of {} {reason}", self.name),
        })
    }

    pub(in crate::system) fn is_going_on(&self) -> bool {
        matches!(self.progress.borrow().state, RebuildState::Building)
            && self.progress.has_changed().is_ok()
    }
}

impl fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rebuild")
            .field("name", &self.name)
            .field("progress", &*self.progress.borrow())
            .finish()
    }
}

/// The task that builds a generation.
pub(in crate::system) struct RebuildTask<S> {
    pub(in crate::system) system: Arc<S>,
    pub(in crate::system) generations: Arc<Generations>,
    pub(in crate::system) building: Generation,
    /// One worker for each log.
    pub(in crate::system) workers: Vec<Arc<FollowerWorker<S>>>,
    pub(in crate::system) lease_config: Option<LeaseConfig>,
}

impl<S: Send + Sync + 'static> RebuildTask<S> {
    /// Starts the build in tasks of its own. It ends when the generation is live, when it fails, or
    /// when `stopping` says so.
    pub(in crate::system) fn spawn(
        self,
        mut stopping: watch::Receiver<bool>,
    ) -> (Rebuild, tokio::task::JoinHandle<()>) {
        let beginning = RebuildProgress {
            position: 0,
            head: 0,
            rate: 0.0,
            remaining: None,
            state: RebuildState::Building,
        };
        let (sender, progress) = watch::channel(beginning);
        let build = Rebuild {
            name: self.generations.name().clone(),
            progress,
        };
        let task = tokio::spawn(async move {
            let (stop, stop_workers) = watch::channel(false);
            let start = |worker: &Arc<FollowerWorker<S>>| {
                let lease = LeaseKeeper::new(self.lease_config, None);
                runner::spawn(
                    Arc::clone(&self.system),
                    Arc::clone(worker),
                    lease,
                    stop_workers.clone(),
                )
            };
            let tasks: Vec<_> = self.workers.iter().map(start).collect();
            let end = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => RebuildState::Interrupted,
                end = self.watch_over(&sender) => end,
            };
            stop.send_replace(true);
            for task in tasks {
                let _ = task.await;
            }
            sender.send_modify(|progress| progress.state = end);
        });
        (build, task)
    }

    /// Watches the build until the generation is live or never will be.
    async fn watch_over(&self, sender: &watch::Sender<RebuildProgress>) -> RebuildState {
        let name = self.generations.name();
        info!(follower = %name, generation = self.building.number, "read model: building a new generation");
        let began = Instant::now();
        let mut start = None;

        loop {
            match self.look(sender, began, &mut start).await {
                Ok(None) => tokio::time::sleep(LOOK_INTERVAL).await,
                Ok(Some(end)) => {
                    info!(follower = %name, generation = self.building.number, ?end, "read model: build ended");
                    return end;
                }
                Err(SqlError::Store(error @ StoreError::Unavailable { .. })) => {
                    info!(follower = %name, %error, "read model: build waits for the store");
                    tokio::time::sleep(LOOK_INTERVAL * 10).await;
                }
                Err(error) => {
                    error!(follower = %name, %error, "read model: cannot make the built generation live; retrying");
                    tokio::time::sleep(LOOK_INTERVAL * 100).await;
                }
            }
        }
    }

    async fn look(
        &self,
        sender: &watch::Sender<RebuildProgress>,
        began: Instant,
        start: &mut Option<u64>,
    ) -> Result<Option<RebuildState>, SqlError> {
        if let Some(failure) = self
            .workers
            .iter()
            .find_map(|worker| worker.status().borrow().state.stopped().cloned())
        {
            return Ok(Some(RebuildState::Failed(failure)));
        }
        let index = self.generations.read().await?;
        if index.building.as_ref() != Some(&self.building) {
            let is_live = index
                .live
                .is_some_and(|live| live.number >= self.building.number);
            return Ok(Some(if is_live {
                RebuildState::Live
            } else {
                RebuildState::Superseded
            }));
        }
        self.report(sender, began, start).await?;
        for _ in 0..SWITCH_ATTEMPTS {
            let Some(switch) = self.generations.begin_switch(&self.building).await? else {
                break;
            };
            // From here on a step of the live generation makes the switch fail, since its prepared
            // last step names an older revision. So no event that the live generation has processed
            // can be missing in the new one.
            if !self.has_come_as_far_as(&switch.places).await? {
                break;
            }
            if self.generations.switch(switch).await? {
                return Ok(Some(RebuildState::Live));
            }
        }
        Ok(None)
    }

    /// Returns `true` if the new generation has reached these places, in each of the logs. A place
    /// that the log has lost cannot be reached: then the end of the log counts.
    async fn has_come_as_far_as(&self, places: &[KnownPlace]) -> Result<bool, StoreError> {
        for (worker, place) in self.workers.iter().zip(places) {
            let reached = worker.status().borrow().reached;
            if reached >= place.position {
                continue;
            }
            if reached < worker.upstream.head().await? {
                return Ok(false);
            }
            match place.verify(&*worker.upstream).await {
                Ok(_) => return Ok(false),
                Err(StoreError::LogWentBack { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn report(
        &self,
        sender: &watch::Sender<RebuildProgress>,
        began: Instant,
        start: &mut Option<u64>,
    ) -> Result<(), StoreError> {
        let mut position = 0;
        let mut head = 0;

        for worker in &self.workers {
            let end = worker.upstream.head().await?;
            position += worker.status().borrow().reached.min(end).as_u64();
            head += end.as_u64();
        }
        let done = position.saturating_sub(*start.get_or_insert(position));
        let rate = done as f64 / began.elapsed().as_secs_f64().max(0.001);
        let left = head.saturating_sub(position) as f64;
        let remaining = (rate > 0.0)
            .then(|| Duration::try_from_secs_f64(left / rate).ok())
            .flatten();
        let state = RebuildState::Building;
        sender.send_replace(RebuildProgress {
            position,
            head,
            rate,
            remaining,
            state,
        });
        Ok(())
    }
}
