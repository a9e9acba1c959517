//! [`RunningSystem::health`]: collects the state of all followers of a running system.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::follower::{FollowerWorker, PendingTimers, Status};
use super::{FollowerHealth, Health, RunningSystem, System, SystemError};
use crate::store::{Acknowledged, LogHolder, LogId, LogQuery, Position};

impl<S: System> RunningSystem<S> {
    /// Returns the state of all followers: position, lag, parked events and failures.
    ///
    /// # Errors
    /// [`SystemError::Store`]: a store does not answer.
    pub async fn health(&self) -> Result<Health, SystemError> {
        let mut followers = Vec::with_capacity(self.engine.workers.len());
        for worker in &self.engine.workers {
            let Status { reached, state, .. } = worker.status().borrow().clone();
            // Another process may have advanced the follower beyond the end of the log that this
            // one sees.
            let head = worker.upstream.head().await?.max(reached);
            let behind = self.behind(worker, reached).await?;
            let lag = worker.lag(reached, head).await?;
            let holder = worker.holder().await?;

            let parked = worker.parked().await?.len() as u64;
            let parked_timers = worker.parked_timers().await?.len() as u64;
            let name = worker.name.clone();
            let position = reached;

            let build = self.build_of(name.as_str()).map(|build| build.progress());
            let PendingTimers { timers, next_due } = worker.pending().await?;
            followers.push(FollowerHealth {
                name,
                position,
                head,
                lag,
                parked,
                parked_timers,
                behind,
                holder,
                build,
                timers,
                next_due,
                state,
            });
        }
        let log_holders = self.log_holders().await?;
        Ok(Health {
            followers,
            log_holders,
            acknowledged: self.acknowledged().await?,
        })
    }

    /// Returns the durability of acknowledged commands for each log. If two stores of one log are
    /// configured differently, only the weaker promise holds for the log.
    async fn acknowledged(&self) -> Result<BTreeMap<LogId, Acknowledged>, SystemError> {
        let mut logs = BTreeMap::new();
        for store in &self.stores {
            let acknowledged = store.acknowledged().await?;
            let least = logs
                .entry(store.log_id())
                .or_insert_with(|| acknowledged.clone());
            *least = acknowledged.min(least.clone());
        }
        Ok(logs)
    }

    /// Returns the appends that hold back the followed logs, each log once.
    async fn log_holders(&self) -> Result<Vec<LogHolder>, SystemError> {
        let mut asked = HashSet::new();
        let mut holders = Vec::new();
        for worker in &self.engine.workers {
            if asked.insert(worker.upstream.log_id()) {
                holders.extend(worker.upstream.log_holders().await?);
            }
        }
        Ok(holders)
    }

    /// Returns the age of the first event that is not processed yet.
    async fn behind(
        &self,
        worker: &FollowerWorker<S>,
        reached: Position,
    ) -> Result<Duration, SystemError> {
        let next = worker
            .upstream
            .read_log(LogQuery::after(reached).limit(1).categories(worker.takes()))
            .await?;
        let since = next
            .events
            .first()
            .map(|event| self.clock.now().duration_since(event.recorded_at));
        Ok(since
            .and_then(|since| since.try_into().ok())
            .unwrap_or_default())
    }
}
