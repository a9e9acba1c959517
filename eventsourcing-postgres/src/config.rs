//! [`PostgresOptions`]: the settings of a store that is connected.

use std::time::Duration;

use eventsourcing_core::store::{Durability, StoreError};

use crate::PostgresStore;

/// The options for connecting a [`PostgresStore`]. [`PostgresStore::connect`] takes the defaults.
///
/// ```no_run
/// use std::time::Duration;
///
/// use eventsourcing_postgres::PostgresOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = PostgresOptions::new().with_schema("bank").with_poll_interval(Duration::from_millis(100));
/// let store = options.connect("postgres://bank:secret@localhost/bank?sslmode=require").await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub(crate) schema: String,
    pub(crate) durability: Durability,
    pub(crate) poll_interval: Duration,
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    pub(crate) transactions: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) if_absent: IfAbsent,
}

/// The step to take where there is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfAbsent {
    Create,
    Refuse,
}

impl PostgresOptions {
    /// The default schema for the store's tables.
    pub const SCHEMA_DEFAULT: &str = "eventsourcing";
    /// The longest name of a schema, in bytes.
    pub const SCHEMA_BYTES_MAX: usize = 63;
    /// The default interval at which a waiting store polls for events.
    pub const POLL_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
    /// The default number of connections that commit batches.
    pub const WRITERS_DEFAULT: usize = 1;
    /// The default number of concurrent reads.
    pub const READERS_DEFAULT: usize = 8;
    /// The default number of concurrent transactions of read models.
    pub const TRANSACTIONS_DEFAULT: usize = 4;
    /// The default time limit for connecting.
    pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
    /// The default time limit of one statement.
    pub const STATEMENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            schema: Self::SCHEMA_DEFAULT.to_owned(),
            durability: Durability::default(),
            poll_interval: Self::POLL_INTERVAL_DEFAULT,
            writers: Self::WRITERS_DEFAULT,
            readers: Self::READERS_DEFAULT,
            transactions: Self::TRANSACTIONS_DEFAULT,
            connect_timeout: Self::CONNECT_TIMEOUT_DEFAULT,
            statement_timeout: Self::STATEMENT_TIMEOUT_DEFAULT,
            if_absent: IfAbsent::Create,
        }
    }

    /// Sets the schema that holds the store's tables; each schema is a log of its own. The name consists of ASCII
    /// letters, digits and underscores, at most [`SCHEMA_BYTES_MAX`](Self::SCHEMA_BYTES_MAX) of them; it begins neither
    /// with a digit nor with `pg_`, and it is case-sensitive.
    #[must_use]
    pub fn with_schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Sets the accidents that an acknowledged append survives. The database keeps either level.
    ///
    /// [`Durability::Full`] waits for the server's disk, and for the disks of synchronous standbys (`synchronous_commit = on`).
    /// It requires a server with `fsync` and `full_page_writes` on, as they are by default;
    /// [`acknowledged`](eventsourcing_core::store::EventStore::acknowledged) tells when they are not. With
    /// [`Durability::Normal`] (`synchronous_commit = off`) a crash of the server may lose the commits of the last moments;
    /// promises P33 to P36 tell each reader that has seen lost events.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the interval at which a waiting store polls for events, in case a notification was lost. A store without
    /// waiters does not poll. Less than a millisecond counts as one.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the number of connections that commit batches of appends. One is best unless the server's disk is slow to
    /// confirm: batches of several connections are smaller, and they run again when two of them write to the same
    /// stream. 0 counts as 1.
    #[must_use]
    pub fn with_writers(mut self, connections: usize) -> Self {
        self.writers = connections.max(1);
        self
    }

    /// Sets the number of concurrent reads, and separately of concurrent queries of read models; further ones wait.
    /// Connections are made on demand. 0 counts as 1.
    #[must_use]
    pub fn with_readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// Sets the number of concurrent transactions of read models; further ones wait. Connections are made on demand. 0
    /// counts as 1.
    #[must_use]
    pub fn with_transactions(mut self, connections: usize) -> Self {
        self.transactions = connections.max(1);
        self
    }

    /// Sets the time limit for connecting, after which the answer is [`StoreError::Unavailable`]. Less than a
    /// millisecond counts as one.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Sets the time limit of one statement, including waits for locks, after which the answer is
    /// [`StoreError::Unavailable`]. The server enforces the limit; this process stops waiting a little later, in case
    /// the server is silent. Less than a millisecond counts as one, more than a day as a day.
    #[must_use]
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout =
            timeout.clamp(Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));
        self
    }

    /// Connects to the database at `url`; see [`PostgresStore::connect`].
    ///
    /// # Errors
    /// Those of [`PostgresStore::connect`], and [`StoreError::Invalid`] for a schema name that is not allowed.
    pub async fn connect(self, url: impl AsRef<str>) -> Result<PostgresStore, StoreError> {
        PostgresStore::connect_with(url.as_ref(), self).await
    }

    /// Connects to the store in the database at `url` if there is one; see [`PostgresStore::connect_existing`].
    ///
    /// # Errors
    /// Those of [`PostgresStore::connect_existing`], and [`StoreError::Invalid`] for a schema name that is not allowed.
    pub async fn connect_existing(self, url: impl AsRef<str>) -> Result<PostgresStore, StoreError> {
        PostgresStore::connect_with(
            url.as_ref(),
            Self {
                if_absent: IfAbsent::Refuse,
                ..self
            },
        )
        .await
    }

    pub(crate) fn check_schema(&self) -> Result<(), StoreError> {
        let name = &self.schema;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fault = match name.as_bytes() {
            [] => "is empty",
            bytes if bytes.len() > Self::SCHEMA_BYTES_MAX => "is longer than 63 bytes",
            [first, ..] if first.is_ascii_digit() => "begins with a digit",
            bytes if !bytes.iter().copied().all(letter) => {
                "has more than letters without accents, digits and underscores"
            }
            _ if name.starts_with("pg_") || name == "information_schema" => {
                "is reserved by PostgreSQL"
            }
            _ => return Ok(()),
        };
        let shown: String = name.chars().take(Self::SCHEMA_BYTES_MAX + 1).collect();
        Err(StoreError::Invalid {
            reason: format!("schema name {shown:?} {fault}"),
        })
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_names_are_identifiers() {
        let longest = "s".repeat(63);
        for name in ["eventsourcing", "_bank", "Bank_2", &longest] {
            PostgresOptions::new()
                .with_schema(name)
                .check_schema()
                .expect("an identifier");
        }
        let too_long = "s".repeat(64);
        for name in [
            "",
            "2bank",
            "my bank",
            "bank\"; DROP",
            "b\u{e4}nk",
            "pg_bank",
            "information_schema",
            &too_long,
        ] {
            let error = PostgresOptions::new()
                .with_schema(name)
                .check_schema()
                .expect_err(name);
            assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
        }
    }
}
