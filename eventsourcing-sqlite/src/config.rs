//! [`SqliteOptions`]: the settings of a store that is opened.

use std::path::Path;
use std::time::Duration;

use eventsourcing_core::store::{Durability, StoreError};

use crate::SqliteStore;

/// The options for opening a [`SqliteStore`]. [`SqliteStore::open`] takes the defaults.
///
/// ```
/// use std::time::Duration;
///
/// use eventsourcing_sqlite::{Durability, SqliteOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let options = SqliteOptions::new()
///     .with_durability(Durability::Normal)
///     .with_poll_interval(Duration::from_millis(20));
/// let store = options.open(folder.path().join("bank.db")).await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) durability: Durability,
    pub(crate) poll_interval: Duration,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) if_absent: IfAbsent,
}

/// The step to take where there is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfAbsent {
    Create,
    Refuse,
}

impl SqliteOptions {
    /// The default interval at which a waiting store looks for events of other processes.
    pub const POLL_INTERVAL_DEFAULT: Duration = Duration::from_millis(100);
    /// The default number of concurrent reads.
    pub const READERS_DEFAULT: usize = 4;
    /// The default time to wait for a lock that another process holds.
    pub const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            durability: Durability::default(),
            poll_interval: Self::POLL_INTERVAL_DEFAULT,
            readers: Self::READERS_DEFAULT,
            busy_timeout: Self::BUSY_TIMEOUT_DEFAULT,
            if_absent: IfAbsent::Create,
        }
    }

    /// Sets the accidents that an acknowledged append survives. The file keeps either level.
    ///
    /// [`Durability::Full`] costs one disk flush for each commit (`PRAGMA synchronous = FULL`, and `fullfsync` where the system
    /// distinguishes it). With [`Durability::Normal`] (`PRAGMA synchronous = NORMAL`) a crash of the machine or a power cut may
    /// lose the last commits; followers in *other* stores may then have seen events that no longer exist.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the interval at which a waiting store looks for events of other processes. Events of this process wake
    /// waiters at once, and a store without waiters does not poll. Less than a millisecond counts as one.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the number of concurrent reads; further reads wait. 0 counts as 1.
    #[must_use]
    pub fn with_readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// Sets the time to wait for a lock that another process holds, before the answer is [`StoreError::Unavailable`].
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the store in the file at `path`; see [`SqliteStore::open`].
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path.as_ref(), self).await
    }

    /// Opens the store in the file at `path` if there is one; see [`SqliteStore::open_existing`].
    ///
    /// # Errors
    /// Those of [`SqliteStore::open_existing`].
    pub async fn open_existing(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(
            path.as_ref(),
            Self {
                if_absent: IfAbsent::Refuse,
                ..self
            },
        )
        .await
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}
