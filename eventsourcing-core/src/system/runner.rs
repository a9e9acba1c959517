//! [`Runner`]: keeps followers running, inline in the task that saves, or concurrently, each in a
//! task of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::follower::{FollowerWorker, Step};
use super::leasing::{LeaseKeeper, LeaseState};
use crate::application::AfterSave;
use crate::panics::catch_async;
use crate::retry::{Backoff, RetryPolicy};
use crate::store::{LeaseRequest, Position, StoreError};

/// The way in which the followers of a system are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runner(pub(crate) Mode);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Inline,
    /// In tasks, with leases of this duration or without leases.
    Concurrent(Option<Duration>),
}

impl Runner {
    /// Runs followers in the task that saves: when [`save`](crate::Application::save) returns they
    /// have caught up. The order of all steps is deterministic, which suits tests and small tools.
    /// Due timers are processed at the same time, and by
    /// [`wait_until_caught_up`](super::RunningSystem::wait_until_caught_up); nothing wakes the
    /// followers in between.
    ///
    /// A follower that fails does not fail the save, whose events are stored. The follower stops,
    /// and [`wait_until_caught_up`](super::RunningSystem::wait_until_caught_up) and
    /// [`stop`](super::RunningSystem::stop) return its failure. It continues when it is
    /// [resumed](super::RunningSystem::resume).
    #[must_use]
    pub fn inline() -> Self {
        Self(Mode::Inline)
    }

    /// Runs each follower in a task of its own, woken by the store. Suits every server.
    ///
    /// If several processes run the system, one at a time runs each policy, under a lease that it
    /// renews. The others stand by and take over when the lease is given back or expires. Leases
    /// last [`LEASE_DEFAULT`](Self::LEASE_DEFAULT) unless [`with_leases`](Self::with_leases) says
    /// otherwise.
    #[must_use]
    pub fn concurrent() -> Self {
        Self(Mode::Concurrent(Some(Self::LEASE_DEFAULT)))
    }

    /// The default duration of a lease that is not renewed. After the process that runs a follower
    /// has died, the follower stands still for at most this long.
    pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);

    /// Uses leases that expire after `duration`, from 30 milliseconds to an hour, unless they are
    /// renewed, which happens three times in that time. A process that pauses for longer loses its
    /// followers to another one. The inline runner has no leases.
    #[must_use]
    pub fn with_leases(self, duration: Duration) -> Self {
        let duration = duration.clamp(Duration::from_millis(30), LeaseRequest::DURATION_MAX);
        match self.0 {
            Mode::Inline => self,
            Mode::Concurrent(_) => Self(Mode::Concurrent(Some(duration))),
        }
    }

    /// Uses no leases: every process runs all followers. Still each event is processed once, and
    /// the work of all processes but one is wasted. Suits programs that run for a moment and should
    /// not wait for the lease of a process that was killed.
    #[must_use]
    pub fn without_leases(self) -> Self {
        match self.0 {
            Mode::Inline => self,
            Mode::Concurrent(_) => Self(Mode::Concurrent(None)),
        }
    }
}

/// The followers of a running system.
pub(crate) struct Engine<S> {
    pub(crate) system: Arc<S>,
    pub(crate) workers: Vec<Arc<FollowerWorker<S>>>,
    /// Held by the task that runs the followers inline.
    running: Mutex<()>,
}

tokio::task_local! {
    /// Set while followers run inline. A policy saves through the same applications, and its save
    /// would otherwise wait for the followers that wait for the policy.
    static INSIDE: ();
}

impl<S: Send + Sync + 'static> Engine<S> {
    pub(crate) fn new(system: Arc<S>, workers: Vec<Arc<FollowerWorker<S>>>) -> Arc<Self> {
        Arc::new(Self {
            system,
            workers,
            running: Mutex::new(()),
        })
    }

    /// Runs every follower until none has anything to do.
    ///
    /// The followers run in a task of their own, so that dropping this future cannot stop one in
    /// the middle of a step.
    pub(crate) async fn catch_up(self: &Arc<Self>) -> Result<(), StoreError> {
        if INSIDE.try_with(|()| ()).is_ok() {
            return Ok(());
        }
        let engine = Arc::clone(self);
        let run = tokio::spawn(INSIDE.scope((), async move { engine.run_until_idle().await }));
        run.await.unwrap_or_else(|error| {
            Err(StoreError::unavailable(
                "the followers were interrupted",
                error,
            ))
        })
    }

    async fn run_until_idle(&self) -> Result<(), StoreError> {
        let _running = self.running.lock().await;
        loop {
            let mut moved = false;
            for worker in &self.workers {
                while worker.step(&self.system).await? == Step::Moved {
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }
}

/// The inline runner, as applications call it after a save.
pub(crate) struct Inline<S>(pub(crate) Arc<Engine<S>>);

#[async_trait]
impl<S: Send + Sync + 'static> AfterSave for Inline<S> {
    async fn saved(&self) {
        if let Err(error) = self.0.catch_up().await {
            warn!(%error, "followers wait for the store; they continue with the next save");
        }
    }
}

/// Starts a task that keeps one follower running until `stop` says so or its sender is gone.
pub(crate) fn spawn<S: Send + Sync + 'static>(
    system: Arc<S>,
    worker: Arc<FollowerWorker<S>>,
    mut lease: LeaseKeeper,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        debug!(follower = %worker.name, "follower started");
        keep_running(&*system, &worker, &mut lease, &mut stop).await;
        lease.end(&worker).await;
        debug!(follower = %worker.name, "follower ended");
    })
}

async fn keep_running<S: Send + Sync + 'static>(
    system: &S,
    worker: &FollowerWorker<S>,
    lease: &mut LeaseKeeper,
    stop: &mut watch::Receiver<bool>,
) {
    let mut backoff = RetryPolicy::UNAVAILABLE.start("follower");
    loop {
        // A step always runs to its end, and only the pause after it is cut short by a stop: a
        // dropped step could have committed its effects without the cursor knowing.
        let next = match catch_async(next(system, worker, lease)).await {
            Ok(next) => next,
            Err(panic) => after(worker.fail_over(panic).await, worker, lease).await,
        };
        let rested = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            rested = catch_async(rest(worker, next, lease, &mut backoff)) => rested,
        };
        if let Err(panic) = rested {
            let next = after(worker.fail_over(panic).await, worker, lease).await;
            // This wait needs no guard against panics: the follower has failed, so it waits for a
            // timer or for being resumed, and no code of the user runs in it.
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = rest(worker, next, lease, &mut backoff) => {}
            }
        }
    }
}

/// The action after a step.
enum Next {
    Step,
    /// Wait for an event, a due timer, or the time to renew the lease.
    Wait,
    /// Another process runs the follower.
    StandBy {
        seen: Position,
        ask_at: Instant,
    },
    /// The step failed for this reason. Retry after a pause.
    TryAgain(String),
    /// The follower has stopped. Wait until it is resumed.
    Stopped,
}

async fn next<S: Send + Sync + 'static>(
    system: &S,
    worker: &FollowerWorker<S>,
    lease: &mut LeaseKeeper,
) -> Next {
    let step = match lease.keep(worker).await {
        Ok(LeaseState::Held) => worker.step(system).await,
        Ok(LeaseState::HeldElsewhere { seen, ask_at }) => return Next::StandBy { seen, ask_at },
        Err(error) => Err(error),
    };
    match step {
        Ok(step) => after(step, worker, lease).await,
        Err(error) => Next::TryAgain(error.to_string()),
    }
}

async fn after<S>(step: Step, worker: &FollowerWorker<S>, lease: &mut LeaseKeeper) -> Next {
    match step {
        Step::Moved => Next::Step,
        Step::Idle => Next::Wait,
        Step::LeaseLost => {
            lease.lose();
            Next::Step
        }
        Step::Failing => Next::TryAgain(format!("{} fails", worker.name)),
        Step::Outdated => {
            lease.yield_temporarily(worker).await;
            Next::TryAgain(format!("{} waits for a newer release", worker.name))
        }
        Step::Stopped => {
            lease.give_back(worker).await;
            Next::Stopped
        }
    }
}

/// Waits until there may be something to do.
async fn rest<S>(
    worker: &FollowerWorker<S>,
    next: Next,
    lease: &LeaseKeeper,
    backoff: &mut Backoff,
) {
    let outcome = match next {
        Next::Step => Ok(()),
        Next::StandBy { seen, ask_at } => {
            LeaseKeeper::stand_by(worker, seen, ask_at).await;
            Ok(())
        }
        Next::Wait => {
            let reached = worker.status().borrow().reached;
            tokio::select! {
                waited = worker.wait_beyond(reached) => waited.map(drop).map_err(|error| error.to_string()),
                () = worker.until_behind(reached) => Ok(()),
                () = lease.renewal() => Ok(()),
                () = worker.until_due() => Ok(()),
            }
        }
        Next::TryAgain(why) => Err(why),
        Next::Stopped => {
            tokio::select! {
                () = worker.until_resumed() => {}
                () = worker.until_restored_log_is_accepted() => {}
            }
            Ok(())
        }
    };
    match outcome {
        Ok(()) => backoff.reset(),
        Err(error) => drop(backoff.wait(error).await),
    }
}
