//! [`open`] and [`OpenOptions`]: from a URL to a store.
//!
//! A backend without its feature is still known by name, so that the error can name the feature to add.

use eventsourcing_core::Stores;
use eventsourcing_core::store::{Durability, MemoryStore, StoreError};
#[cfg(feature = "postgres")]
use eventsourcing_postgres::PostgresOptions;
#[cfg(feature = "sqlite")]
use eventsourcing_sqlite::{SqliteOptions, SqliteStore};

use super::url::{Address, InvalidStoreUrl, StoreUrl};

/// Opens the store that `url` names, and creates it if there is none.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | a new [`MemoryStore`]; with the feature `sqlite` its read models are in a SQLite database in memory |
/// | `sqlite:FILE` | the file `FILE`, relative to the working directory or absolute; its folder must exist (feature `sqlite`) |
/// | `postgres://USER:PASSWORD@HOST/DATABASE` | a PostgreSQL server, with all that libpq's URIs allow (feature `postgres`) |
///
/// [`StoreUrl`] lists the URLs that are refused. [`OpenOptions`] sets further options.
///
/// ```
/// use eventsourcing::Application;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stores = eventsourcing::store::open("memory:").await?;
/// let app = Application::new("accounts", stores.store()); // or `MySystem::start(stores, runner)`
/// # drop(app);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`OpenError`]. No error shows a password.
pub async fn open(url: &str) -> Result<Stores, OpenError> {
    OpenOptions::new().open(url).await
}

/// Opens the store that `url` names, as [`open`] does, but never creates one.
///
/// A store in memory cannot be found again, so `memory:` is a new one here too.
///
/// # Errors
/// [`OpenError`]; [`StoreError::NoStore`] in it: there is no store, and nothing was created.
pub async fn open_existing(url: &str) -> Result<Stores, OpenError> {
    OpenOptions::new().open_existing(url).await
}

/// Options for opening a store by its URL: those of each backend, of which the URL selects one.
///
/// ```
/// use eventsourcing::store::{Durability, OpenOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite:{}/bank.db", folder.path().display());
/// let options = OpenOptions::new().with_durability(Durability::Normal);
/// let stores = options.open(&url).await?; // "sqlite:bank.db"
/// # drop(stores);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    durability: Option<Durability>,
    #[cfg(feature = "sqlite")]
    sqlite: SqliteOptions,
    #[cfg(feature = "postgres")]
    postgres: PostgresOptions,
}

/// The step to take where there is no store.
#[derive(Clone, Copy)]
enum IfAbsent {
    Create,
    Refuse,
}

impl OpenOptions {
    /// Returns the defaults of every backend.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the accidents that an acknowledged append survives, in whichever store the URL names. This takes precedence over
    /// the options of the backend.
    ///
    /// A store in memory survives none, so [`open`](Self::open) then refuses `memory:` with [`StoreError::Invalid`].
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Opens SQLite files with these options.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn with_sqlite(mut self, options: SqliteOptions) -> Self {
        self.sqlite = options;
        self
    }

    /// Connects to PostgreSQL servers with these options.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn with_postgres(mut self, options: PostgresOptions) -> Self {
        self.postgres = options;
        self
    }

    /// Opens the store that `url` names, and creates it if there is none; see [`open`].
    ///
    /// # Errors
    /// Those of [`open`].
    pub async fn open(self, url: &str) -> Result<Stores, OpenError> {
        self.open_or(IfAbsent::Create, url).await
    }

    /// Opens the store that `url` names if there is one; see [`open_existing`].
    ///
    /// # Errors
    /// Those of [`open_existing`].
    pub async fn open_existing(self, url: &str) -> Result<Stores, OpenError> {
        self.open_or(IfAbsent::Refuse, url).await
    }

    async fn open_or(self, if_absent: IfAbsent, url: &str) -> Result<Stores, OpenError> {
        match url.parse::<StoreUrl>()?.address() {
            Address::Memory => self.open_in_memory(),
            Address::Sqlite(file) => self.open_file(file, if_absent).await,
            Address::Postgres(url) => self.connect(url, if_absent).await,
        }
    }

    fn open_in_memory(self) -> Result<Stores, OpenError> {
        if let Some(durability) = self.durability {
            let reason = format!(
                "memory: is lost when the process ends, so it cannot keep Durability::{durability:?}; open sqlite:FILE or \
                 postgres://… instead, or ask for no durability"
            );
            return Err(StoreError::Invalid { reason }.into());
        }
        in_memory()
    }

    #[cfg(feature = "sqlite")]
    async fn open_file(self, file: &str, if_absent: IfAbsent) -> Result<Stores, OpenError> {
        let options = match self.durability {
            Some(durability) => self.sqlite.with_durability(durability),
            None => self.sqlite,
        };
        let store = match if_absent {
            IfAbsent::Create => options.open(file).await?,
            IfAbsent::Refuse => options.open_existing(file).await?,
        };
        Ok(store.into())
    }

    #[cfg(not(feature = "sqlite"))]
    async fn open_file(self, _: &str, _: IfAbsent) -> Result<Stores, OpenError> {
        Err(OpenError::FeatureMissing {
            scheme: "sqlite",
            feature: "sqlite",
        })
    }

    #[cfg(feature = "postgres")]
    async fn connect(self, url: &str, if_absent: IfAbsent) -> Result<Stores, OpenError> {
        let options = match self.durability {
            Some(durability) => self.postgres.with_durability(durability),
            None => self.postgres,
        };
        let store = match if_absent {
            IfAbsent::Create => options.connect(url).await?,
            IfAbsent::Refuse => options.connect_existing(url).await?,
        };
        Ok(store.into())
    }

    #[cfg(not(feature = "postgres"))]
    async fn connect(self, _: &str, _: IfAbsent) -> Result<Stores, OpenError> {
        Err(OpenError::FeatureMissing {
            scheme: "postgres",
            feature: "postgres",
        })
    }
}

/// A store in memory has no SQL database, so a SQLite database in memory keeps its read models.
#[cfg(feature = "sqlite")]
fn in_memory() -> Result<Stores, OpenError> {
    Ok(Stores::shared(MemoryStore::new()).with_read_models(SqliteStore::in_memory()?))
}

#[cfg(not(feature = "sqlite"))]
fn in_memory() -> Result<Stores, OpenError> {
    Ok(MemoryStore::new().into())
}

/// The reason why no store was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is mistyped. Correct it. Nothing was opened.
    #[error(transparent)]
    Address(#[from] InvalidStoreUrl),
    /// The backend of the address is not built in. Add the feature to `eventsourcing-kit` in `Cargo.toml`.
    #[error(
        "the store's address begins with {scheme}:, which needs the feature {feature:?} of eventsourcing-kit; add it to \
         `features` in Cargo.toml and build again"
    )]
    FeatureMissing {
        /// The scheme of the address.
        scheme: &'static str,
        /// The feature that brings the backend.
        feature: &'static str,
    },
    /// The store refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}
