//! [`RunningSystem::resume`]: lets a stopped follower continue without a restart of the system.

use super::{FollowerName, RunningSystem, System, SystemError};
use crate::store::Name;

impl<S: System> RunningSystem<S> {
    /// Lets `follower` retry, in this process, the event at which it has stopped, and continue from
    /// there. Call this after the cause is fixed.
    ///
    /// Returns `true` if the follower had stopped. If it had not, nothing happens, so this can be
    /// called often, concurrently, and on a mere guess. A follower in several partitions, or of
    /// several logs, continues in those in which it has stopped.
    ///
    /// A follower that fails again stops again, and [`health`](Self::health) has the failure. With
    /// the inline runner the follower has caught up or stopped again when this returns; with the
    /// concurrent one, [`wait_until_caught_up`](Self::wait_until_caught_up) waits for that. Under
    /// leases the follower stands by if another process runs it by now.
    ///
    /// A follower that is resumed and has not caught up when the system [stops](Self::stop)
    /// continues with the next start.
    ///
    /// # Errors
    /// [`SystemError::UnknownFollower`]: the system has no such follower. [`SystemError::Store`]: a store does
    /// not answer; the follower continues when it does.
    pub async fn resume(&self, follower: impl Into<FollowerName<S>>) -> Result<bool, SystemError> {
        let resumed = self.resume_workers(&self.known(follower)?);
        if resumed > 0 && self.inline.is_some() {
            self.engine.catch_up().await?;
        }
        Ok(resumed > 0)
    }

    /// Returns the number of workers that had stopped.
    fn resume_workers(&self, follower: &Name) -> usize {
        let workers = self.engine.workers.iter();
        let own = workers.filter(|worker| worker.name == *follower);
        own.filter(|worker| worker.resume()).count()
    }
}
