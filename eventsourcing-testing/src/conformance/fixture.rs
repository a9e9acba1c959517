//! Access of the suite to a store: [`Fixture`] for every store, [`DurableFixture`] for those that outlive their process,
//! [`RevertingFixture`] for those whose server may forget commits.

use std::future::Future;
use std::time::Duration;

use eventsourcing_core::store::{AuditStore, EventStore, FollowerStore, StoreError};

/// A place where stores live: a folder, a schema, a piece of memory. Every promise is tested in a new one.
///
/// ```
/// use eventsourcing_core::store::MemoryStore;
/// use eventsourcing_testing::conformance::Fixture;
///
/// struct InMemory(MemoryStore);
///
/// impl Fixture for InMemory {
///     type Store = MemoryStore;
///
///     async fn new() -> Self {
///         Self(MemoryStore::new())
///     }
///
///     async fn open(&self) -> MemoryStore {
///         self.0.clone()
///     }
/// }
/// ```
pub trait Fixture: Sized + Send + Sync + 'static {
    /// The store under test.
    type Store: EventStore;

    /// The longest time of one function. A test that takes longer fails instead of hanging.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// The longest delay until a waiting reader is woken: the poll interval, plus the delay of a busy machine.
    const WAKING_MAX: Duration = Duration::from_secs(5);

    /// Creates a new, empty place. It is removed when the fixture is dropped.
    fn new() -> impl Future<Output = Self> + Send;

    /// Opens a further store on this place, as another process would do. The first one creates the schema.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;
}

/// A place of stores on which systems run. Every [`Fixture`] of such stores is one.
pub trait FollowerFixture: Fixture<Store: FollowerStore + AuditStore> {}

impl<F: Fixture<Store: FollowerStore + AuditStore>> FollowerFixture for F {}

/// A place whose contents outlive the process: joins the suite with `conformance!(MyFixture, durable)`.
pub trait DurableFixture: FollowerFixture {
    /// Opens a further store. [`Fixture::open`] is the same for a healthy place.
    ///
    /// # Errors
    /// The place cannot be opened. The error about a newer schema contains the word "newer".
    fn try_open(&self) -> impl Future<Output = Result<Self::Store, StoreError>> + Send;

    /// Opens a further store, and creates none.
    ///
    /// # Errors
    /// [`StoreError::NoStore`]: the place has no store.
    fn try_open_existing(&self) -> impl Future<Output = Result<Self::Store, StoreError>> + Send;

    /// Ends `store` as a crash would: no clean-up, no flush, no message to others. A server should be restarted too. Other stores
    /// on this place have ended before.
    ///
    /// The end of a real process is tested by each backend's own `tests/crash.rs`.
    fn crash(&self, store: Self::Store) -> impl Future<Output = ()> + Send;

    /// Marks the stored schema as that of a release later than this one.
    fn make_newer(&self) -> impl Future<Output = ()> + Send;

    /// Puts a table next to the store's own, with rows in it. May be called before the first store is opened.
    fn put_foreign_table(&self) -> impl Future<Output = ()> + Send;

    /// Returns the definition and rows of the foreign table as text, to compare them with an earlier state.
    fn foreign_table(&self) -> impl Future<Output = String> + Send;
}

/// A place that can go back to an earlier moment, like a server that has lost its last commits or was restored from a copy:
/// joins the suite with `conformance!(MyFixture, reverting)`.
pub trait RevertingFixture: Fixture {
    /// The contents of the place at one moment.
    type Moment: Send + Sync;

    /// Saves the present contents of the place.
    fn keep(&self) -> impl Future<Output = Self::Moment> + Send;

    /// Brings the place back to `moment`. For open stores this is like a restart of their server: their connections are cut before
    /// any commit is forgotten.
    fn go_back(&self, moment: &Self::Moment) -> impl Future<Output = ()> + Send;
}
