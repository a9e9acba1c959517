//! A follower that has stopped goes on, without the system being started again.

use super::{RunningSystem, System, SystemError, unknown_follower};

impl<S: System> RunningSystem<S> {
    /// Has `follower` try again what it has stopped at, in this process, and go on from there: for when the cause is mended.
    ///
    /// Returns whether it had stopped. Otherwise nothing happens, so it can be asked for as often as one likes, by several
    /// at once, and by whoever only guesses that it has stopped. A follower in several partitions, or of several logs, goes
    /// on in those in which it has stopped.
    ///
    /// If it fails again it stops again, and [`health`](Self::health) says why. With the inline runner it has caught up or
    /// stopped again when this returns; with the concurrent one [`wait_until_caught_up`](Self::wait_until_caught_up) tells. Under leases it waits for its
    /// turn: if another process runs the follower by now, it stands by.
    ///
    /// A follower that is resumed and has not come to its end when the system [stops](Self::stop) goes on with the next start.
    ///
    /// # Errors
    /// [`SystemError::Invalid`]: there is no such follower. [`SystemError::Store`]: a store does not answer; the follower
    /// goes on when it does.
    pub async fn resume(&self, follower: &str) -> Result<bool, SystemError> {
        let resumed = self.resume_feeds(follower)?;
        if resumed > 0 && self.inline.is_some() {
            self.engine.catch_up().await?;
        }
        Ok(resumed > 0)
    }

    /// How many had stopped.
    fn resume_feeds(&self, follower: &str) -> Result<usize, SystemError> {
        let mut feeds = self
            .engine
            .feeds
            .iter()
            .filter(|feed| feed.name == *follower)
            .peekable();
        match feeds.peek() {
            Some(_) => Ok(feeds.filter(|feed| feed.resume()).count()),
            None => Err(unknown_follower(&S::definition(), follower)),
        }
    }
}
