//! [`Running`]: a system at work. Settle, wait, look how it is doing, stop.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::feed::{Feed, Status};
use super::runner::{self, Engine, Inline, Mode};
use super::seats::Seats;
use super::tenure::{Tenure, Terms};
use super::{Applications, FollowerHealth, Health, Runner, System, SystemError, unknown_follower};
use crate::Clock;
use crate::application::AfterSave;
use crate::store::{EventStore, HolderId, LogQuery, Position, Receipt};

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
    pub(super) async fn start(
        engine: Arc<Engine<S>>,
        runner: Runner,
        applications: &Applications,
        clock: Arc<dyn Clock>,
        has_cycle: bool,
    ) -> Result<Self, SystemError> {
        let (stop, stopping) = watch::channel(false);
        let mut running = Self { engine, inline: None, tasks: Vec::new(), stop, clock, has_cycle };
        match runner.0 {
            Mode::Concurrent(lease) => running.spawn(lease, &stopping),
            Mode::Inline => running.run_inline(applications).await?,
        }
        Ok(running)
    }

    fn spawn(&mut self, lease: Option<Duration>, stopping: &watch::Receiver<bool>) {
        let terms = lease.map(|duration| Terms { holder: HolderId::new(), duration });
        let mut all_seats: Vec<Arc<Seats>> = Vec::new();
        for feed in &self.engine.feeds {
            let known = all_seats.iter().find(|seats| seats.are_of(feed)).cloned();
            let seats = known.or_else(|| terms.and_then(|terms| Seats::of(feed, terms)));
            all_seats.extend(seats.clone());
            let tenure = Tenure::new(terms, seats);
            let system = Arc::clone(&self.engine.system);
            self.tasks.push(runner::spawn(system, Arc::clone(feed), tenure, stopping.clone()));
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
            let (lag, holder) = (feed.lag(reached, head).await?, feed.holder().await?);
            let (name, position) = (feed.name.clone(), reached);
            followers.push(FollowerHealth { name, position, head, lag, behind, holder, state });
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
