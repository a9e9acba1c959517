//! [`Seed`]: what random tests draw from, so that a failure can be played again.

use std::env;
use std::fmt;

/// Where the randomness of a test comes from.
///
/// ```
/// use eventsourcing_core::testing::Seed;
///
/// let seed = Seed::new(7);
/// assert_eq!(seed.rng(1).u64(..), seed.rng(1).u64(..));
/// assert_ne!(seed.rng(1).u64(..), seed.rng(2).u64(..));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The environment variable that brings a seed back.
    pub const VARIABLE: &str = "EVENTSOURCING_TEST_SEED";

    /// The seed with this number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in the variable [`EVENTSOURCING_TEST_SEED`](Self::VARIABLE), else a new one. It is printed, and
    /// the test harness shows it when the test fails.
    ///
    /// # Panics
    /// The variable holds something else than a number.
    #[must_use]
    pub fn from_env() -> Self {
        let seed = match env::var(Self::VARIABLE) {
            Ok(text) => Self(
                text.parse()
                    .unwrap_or_else(|_| panic!("{} must be a number: {text:?}", Self::VARIABLE)),
            ),
            Err(_) => Self(fastrand::u64(..)),
        };
        seed.print();
        seed
    }

    /// A generator for one of the tasks of a test: the same for the same seed and `task`.
    #[must_use]
    pub fn rng(self, task: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(
            self.0
                .wrapping_add(task.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        )
    }

    /// The number itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    #[expect(
        clippy::print_stderr,
        reason = "the harness keeps it back unless the test fails"
    )]
    fn print(self) {
        eprintln!("to draw the same again: {self}");
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", Self::VARIABLE, self.0)
    }
}
