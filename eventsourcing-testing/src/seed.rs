//! [`Seed`]: the source of randomness of tests. The same seed repeats a failure.

use std::env;
use std::fmt;

/// The seed of a random test.
///
/// ```
/// use eventsourcing_testing::Seed;
///
/// let seed = Seed::new(7);
/// assert_eq!(seed.rng(1).u64(..), seed.rng(1).u64(..));
/// assert_ne!(seed.rng(1).u64(..), seed.rng(2).u64(..));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The environment variable with the seed of an earlier run.
    pub const VARIABLE: &str = "EVENTSOURCING_TEST_SEED";

    /// The seed with this number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the seed in the variable [`EVENTSOURCING_TEST_SEED`](Self::VARIABLE), or a new one. The seed is printed, and the test
    /// harness shows it when the test fails.
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

    /// Returns the generator of one task of a test. The same seed and `task` give the same numbers.
    #[must_use]
    pub fn rng(self, task: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(
            self.0
                .wrapping_add(task.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        )
    }

    /// Returns the number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    #[expect(
        clippy::print_stderr,
        reason = "the harness keeps it back unless the test fails"
    )]
    fn print(self) {
        eprintln!("to repeat this run: {self}");
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", Self::VARIABLE, self.0)
    }
}
