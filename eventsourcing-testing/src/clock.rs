//! Time and ids for tests: a [`ManualClock`] moves only by hand, and [`SeededIds`] are the same in every run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventsourcing_core::{Clock, IdSource};
use jiff::Timestamp;
use uuid::{Builder, Uuid};

use super::Seed;

/// A clock that stands still until a test moves it. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
///
/// use eventsourcing_core::Clock;
/// use eventsourcing_testing::ManualClock;
///
/// let clock = ManualClock::new();
/// assert_eq!(clock.now(), ManualClock::START);
///
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_string(), "2020-01-01T00:01:00Z");
///
/// clock.set("2030-05-06T07:08:09Z".parse().unwrap());
/// assert_eq!(clock.clone().now().to_string(), "2030-05-06T07:08:09Z");
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<Mutex<Timestamp>>,
}

impl ManualClock {
    /// The start of every clock: the first second of the year 2020, UTC.
    pub const START: Timestamp = Timestamp::constant(1_577_836_800, 0);

    /// A clock that shows [`START`](Self::START).
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Arc::new(Mutex::new(Self::START)),
        }
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        *self.lock() = now;
    }

    /// Moves the clock forwards.
    ///
    /// # Panics
    /// The time would be later than [`Timestamp::MAX`].
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now
            .checked_add(by)
            .expect("a test stays before the year 10000");
    }

    fn lock(&self) -> MutexGuard<'_, Timestamp> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.lock()
    }
}

/// Ids that look random and are the same for the same seed. Clones continue the same sequence.
///
/// ```
/// use eventsourcing_core::IdSource;
/// use eventsourcing_testing::{Seed, SeededIds};
///
/// let one = SeededIds::new(Seed::new(1));
/// let same = SeededIds::new(Seed::new(1));
/// let first = one.next_id();
/// assert_eq!(first, same.next_id());
/// assert_ne!(first, one.next_id());
/// assert_eq!(first.get_version_num(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct SeededIds {
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl SeededIds {
    /// Creates the sequence of ids of `seed`.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            rng: Arc::new(Mutex::new(seed.rng(0))),
        }
    }
}

impl IdSource for SeededIds {
    fn next_id(&self) -> Uuid {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Builder::from_random_bytes(rng.u128(..).to_le_bytes()).into_uuid()
    }
}
