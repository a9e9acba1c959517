//! [`WithLock`]: a system that starts only if it would write its events as locked.

use eventsourcing_core::schema::DescribedSystem;
use eventsourcing_core::{System, SystemBuilder, SystemError};

use crate::SystemSchema;

/// Compares the events that a program writes with the lock when its system starts.
pub trait WithLock<S> {
    /// Makes [`start`](SystemBuilder::start) compare the events that this program writes with the
    /// lock on its events, byte by byte. A test that compares the two may have been built with
    /// other features of other crates than the released program.
    ///
    /// A start on another lock is refused with [`SystemError::Invalid`], before anything is read
    /// from the stores or written to them.
    ///
    /// ```
    /// # use eventsourcing_core::{Aggregate, Application, MemoryStore, Runner, System, SystemError, event};
    /// # use serde::{Deserialize, Serialize};
    /// use eventsourcing_schema::WithLock as _;
    ///
    /// # #[derive(Aggregate, Serialize, Deserialize)]
    /// # struct Account {}
    /// # #[event(schema)] impl Account { fn opened(owner: String) -> Self { Self {} } }
    /// # struct Accounts;
    /// # impl From<Application> for Accounts { fn from(_: Application) -> Self { Self } }
    /// #[derive(System)]
    /// #[system(schema)]
    /// struct Bank {
    ///     #[application(aggregates(Account))]
    ///     accounts: Accounts,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), SystemError> {
    /// let lock = r#"{ "format": 2, "events": [] }"#; // include_str!("../events.lock.json")
    /// let builder = Bank::builder(MemoryStore::new()).with_runner(Runner::inline());
    /// let bank = builder.with_lock(lock).start().await?;
    /// # bank.stop().await
    /// # }
    /// ```
    #[must_use]
    fn with_lock(self, lock: &str) -> Self
    where
        S: DescribedSystem;
}

impl<S: System> WithLock<S> for SystemBuilder<S> {
    fn with_lock(self, lock: &str) -> Self
    where
        S: DescribedSystem,
    {
        let schema = SystemSchema::of::<S>();
        let checked = lock.parse().and_then(|lock| schema.check_written(&lock));
        self.with_checked_lock(checked.map_err(|error| SystemError::Invalid {
            reason: error.to_string(),
        }))
    }
}
