//! [`Contestant`]: a library in front of a database.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::Measured;

/// The outcome of a request to a contestant.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A library in front of a database, used as its documentation says a bank should use it, with the durability of the database as it
/// is. Many tasks call it at once.
#[async_trait]
pub trait Contestant: Send + Sync + 'static {
    /// One command: loads the account, decides, and appends one event. An account that is not there is opened instead, with
    /// one event. A conflict with another task is tried again until it succeeds.
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()>;

    /// Writes a new account with `events` events in one append: it is opened, and credited for the rest.
    async fn append(&self, account: Uuid, events: u64) -> Outcome<()>;

    /// Waits for what [`append`](Self::append) has not waited for. Only a contestant that sends one append after the other without
    /// waiting for answers has anything to do.
    async fn flush(&self) -> Outcome<()> {
        Ok(())
    }

    /// The balance of an account, from all of its events: no snapshot, no cache.
    async fn rebuild(&self, account: Uuid) -> Outcome<u64>;

    /// Reads the whole log in order, decodes every event, and returns how many there were. `None`: it has no log to read.
    async fn read_log(&self) -> Outcome<Option<u64>> {
        Ok(None)
    }

    /// Fills an empty database with `events` events over `accounts` accounts that nobody will ask for, faster than through
    /// the library where it can. `false`: it cannot.
    async fn fill(&self, _accounts: u64, _events: u64) -> Outcome<bool> {
        Ok(false)
    }

    /// Lets a ledger, an aggregate behind a policy, catch up with `events` credits that are written before. `None`: there is nothing that does so
    /// exactly once.
    async fn pipeline(&self, _events: u64) -> Outcome<Option<Measured>> {
        Ok(None)
    }

    /// Credits `per_second` times a second for so long, and measures from the return of each command to the moment a follower has
    /// seen its event. `None`: nothing follows.
    async fn follow(&self, _per_second: u32, _for: Duration) -> Outcome<Option<Measured>> {
        Ok(None)
    }
}
