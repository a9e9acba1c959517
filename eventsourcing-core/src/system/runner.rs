//! What keeps followers running: inline, in the task that saves, or concurrently, each in a task of its own.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::feed::{Feed, Step};
use crate::application::AfterSave;
use crate::retry::{Backoff, RetryPolicy};
use crate::store::StoreError;

/// How the followers of a system are kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runner(pub(crate) Mode);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Inline,
    Concurrent,
}

impl Runner {
    /// Followers run in the task that saves: when [`save`](crate::Application::save) returns they have caught up.
    /// Deterministic, which is right for tests and small tools.
    ///
    /// A follower that fails does not fail the save, whose events are stored: it stops, and
    /// [`settled`](super::Running::settled) and [`stop`](super::Running::stop) say so.
    #[must_use]
    pub fn inline() -> Self {
        Self(Mode::Inline)
    }

    /// Each follower runs in a task of its own, woken by the store. For everything that serves.
    #[must_use]
    pub fn concurrent() -> Self {
        Self(Mode::Concurrent)
    }
}

/// The followers of a running system.
pub(crate) struct Engine<S> {
    pub(crate) system: Arc<S>,
    pub(crate) feeds: Vec<Arc<Feed<S>>>,
    /// Held by the one who runs the followers inline.
    running: Mutex<()>,
}

tokio::task_local! {
    /// Set while followers run inline: what they save must not wait for themselves.
    static INSIDE: ();
}

impl<S: Send + Sync + 'static> Engine<S> {
    pub(crate) fn new(system: Arc<S>, feeds: Vec<Arc<Feed<S>>>) -> Arc<Self> {
        Arc::new(Self { system, feeds, running: Mutex::new(()) })
    }

    /// Runs every follower until none has anything to do.
    ///
    /// It runs in a task of its own, so that dropping the future cannot stop a follower half-way.
    pub(crate) async fn catch_up(self: &Arc<Self>) -> Result<(), StoreError> {
        if INSIDE.try_with(|()| ()).is_ok() {
            return Ok(());
        }
        let engine = Arc::clone(self);
        let run = tokio::spawn(INSIDE.scope((), async move { engine.run_until_idle().await }));
        run.await.unwrap_or_else(|error| Err(StoreError::unavailable("the followers were interrupted", error)))
    }

    async fn run_until_idle(&self) -> Result<(), StoreError> {
        let _running = self.running.lock().await;
        loop {
            let mut moved = false;
            for feed in &self.feeds {
                while feed.step(&self.system).await? == Step::Moved {
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }
}

/// The inline runner as an application sees it.
pub(crate) struct Inline<S>(pub(crate) Arc<Engine<S>>);

#[async_trait]
impl<S: Send + Sync + 'static> AfterSave for Inline<S> {
    async fn saved(&self) {
        if let Err(error) = self.0.catch_up().await {
            warn!(%error, "followers wait for the store; they go on with the next save");
        }
    }
}

/// Starts a task that keeps one follower running until `stop` says so or its sender is gone.
pub(crate) fn spawn<S: Send + Sync + 'static>(
    system: Arc<S>,
    feed: Arc<Feed<S>>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        debug!(follower = %feed.name, "follower started");
        keep_running(&*system, &feed, stop).await;
        debug!(follower = %feed.name, "follower ended");
    })
}

async fn keep_running<S: Send + Sync + 'static>(system: &S, feed: &Feed<S>, mut stop: watch::Receiver<bool>) {
    let mut backoff = RetryPolicy::UNAVAILABLE.start("follower");
    loop {
        // A step always runs to its end; only the rest after it is cut short.
        let step = feed.step(system).await;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = rest(feed, step, &mut backoff) => {}
        }
    }
}

/// Waits until another step makes sense.
async fn rest<S>(feed: &Feed<S>, step: Result<Step, StoreError>, backoff: &mut Backoff) {
    let next = match step {
        Ok(Step::Moved) => Ok(()),
        Ok(Step::Idle) => {
            let reached = feed.status().borrow().reached;
            feed.upstream.wait_beyond(reached).await.map(drop).map_err(|error| error.to_string())
        }
        Ok(Step::Failing) => Err(format!("{} fails", feed.name)),
        Ok(Step::Stopped) => std::future::pending().await,
        Err(error) => Err(error.to_string()),
    };
    match next {
        Ok(()) => backoff.reset(),
        Err(error) => drop(backoff.wait(error).await),
    }
}
