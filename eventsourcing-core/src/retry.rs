//! Retries: the number of attempts, the waits in between, and their log lines.

use std::fmt;
use std::time::Duration;

use tracing::{debug, warn};

/// The number of attempts and the waits between them.
///
/// The longest possible wait doubles from `delay_first` to `delay_max`; each wait is drawn at
/// random between half of that and all of it, so that tasks that collided once do not collide
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The largest number of attempts, the first one included.
    pub attempts_max: u32,
    /// The longest wait after the first attempt.
    pub delay_first: Duration,
    /// The longest wait after any attempt.
    pub delay_max: Duration,
}

impl RetryPolicy {
    /// Returns a policy of one attempt: nothing is retried.
    #[must_use]
    pub const fn once() -> Self {
        Self {
            attempts_max: 1,
            ..Self::COMMANDS
        }
    }

    /// The default for commands: about five seconds in all, then the caller gets the error.
    const COMMANDS: Self = Self::new(40, Duration::from_millis(1), Duration::from_millis(250));

    /// The policy of a follower whose store is unavailable: it retries forever, because giving up
    /// would turn an outage of the store into one of the follower. The waits are bounded.
    pub(crate) const UNAVAILABLE: Self =
        Self::new(u32::MAX, Duration::from_millis(20), Duration::from_secs(5));

    /// Returns a policy of at most `attempts_max` attempts with waits from `delay_first` to
    /// `delay_max`.
    #[must_use]
    pub const fn new(attempts_max: u32, delay_first: Duration, delay_max: Duration) -> Self {
        Self {
            attempts_max,
            delay_first,
            delay_max,
        }
    }

    pub(crate) fn start(self, what: &'static str) -> Backoff {
        Backoff {
            policy: self,
            what,
            attempt: 0,
        }
    }
}

impl Default for RetryPolicy {
    /// Returns the policy for commands: 40 attempts, waits of 1 ms to 250 ms.
    fn default() -> Self {
        Self::COMMANDS
    }
}

/// The attempts at one operation.
pub(crate) struct Backoff {
    policy: RetryPolicy,
    what: &'static str,
    attempt: u32,
}

impl Backoff {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `error`, if no attempt is left.
    pub(crate) async fn wait<E: fmt::Display>(&mut self, error: E) -> Result<(), E> {
        self.attempt = self.attempt.saturating_add(1);
        if self.attempt >= self.policy.attempts_max {
            warn!(what = self.what, attempts = self.attempt, %error, "retry: giving up");
            return Err(error);
        }
        let delay = self.delay();
        // The first attempts fail often under contention and mean nothing. Later ones are logged at
        // powers of two: an outage of hours leaves some twenty lines, not one for each attempt.
        if self.attempt.is_power_of_two() && self.attempt >= 8 {
            warn!(what = self.what, attempt = self.attempt, ?delay, %error, "retry: still failing");
        } else {
            debug!(what = self.what, attempt = self.attempt, ?delay, %error, "retry: attempt failed");
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Notes a success: the next failure counts as the first.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    fn delay(&self) -> Duration {
        // A follower retries forever, so the attempt number has no bound but `u32`. Twenty
        // doublings exceed every `delay_max` in use and keep the shift within its type.
        let doublings = (self.attempt - 1).min(20);
        let longest = (self.policy.delay_first * (1 << doublings)).min(self.policy.delay_max);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_are_bounded_and_differ() {
        let policy = RetryPolicy::default();
        let delay = |attempt| {
            Backoff {
                attempt,
                ..policy.start("test")
            }
            .delay()
        };
        assert!(delay(1) <= policy.delay_first);
        assert!(delay(9) > policy.delay_first * 64);
        assert!((0..100).all(|_| delay(u32::MAX) <= policy.delay_max));
        assert!((0..100).any(|_| delay(9) != delay(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded() {
        let mut backoff = RetryPolicy {
            attempts_max: 3,
            ..RetryPolicy::default()
        }
        .start("test");
        assert_eq!(backoff.wait("first").await, Ok(()));
        assert_eq!(backoff.wait("second").await, Ok(()));
        assert_eq!(backoff.wait("third").await, Err("third"));
    }
}
