//! How the suite gets at a store: [`Fixture`] for every store, [`DurableFixture`] for those that outlive their process,
//! [`RevertingFixture`] for those whose server may forget commits.

use std::future::Future;
use std::time::Duration;

use crate::store::{EventStore, StoreError};

/// A place where stores live: a folder, a schema, a piece of memory. Every promise is tested in a new one.
///
/// ```
/// use eventsourcing_core::store::MemoryStore;
/// use eventsourcing_core::testing::conformance::Fixture;
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

    /// How long one promise may take altogether. Later than that the test fails instead of hanging.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// How late a reader that waits may be woken: the poll interval, and what a busy machine adds to it.
    const WAKING_MAX: Duration = Duration::from_secs(5);

    /// A new, empty place. It is removed when the fixture is dropped.
    fn new() -> impl Future<Output = Self> + Send;

    /// A further store on this place, as another process would open it. The first one creates the schema.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;
}

/// A place whose contents outlive the process: joins the suite with `conformance!(MyFixture, durable)`.
pub trait DurableFixture: Fixture {
    /// Opens a further store, or says why that cannot be; of a newer schema the error says that it is "newer".
    /// [`Fixture::open`] is the same for a healthy place.
    fn try_open(&self) -> impl Future<Output = Result<Self::Store, StoreError>> + Send;

    /// Opens a further store, but makes none where there is none: then it is [`StoreError::NoStore`].
    fn try_open_existing(&self) -> impl Future<Output = Result<Self::Store, StoreError>> + Send;

    /// Ends `store` the way a crash would: no clean-up, nothing flushed, nothing said to others; where there is
    /// a server it is best restarted too. Other stores on this place have ended before.
    ///
    /// What the end of a real process does is proven by each backend's own `tests/crash.rs`.
    fn crash(&self, store: Self::Store) -> impl Future<Output = ()> + Send;

    /// Marks the stored schema as that of a release later than this one.
    fn make_newer(&self) -> impl Future<Output = ()> + Send;

    /// Puts a table next to the store's own, with rows in it. May be called before the first store is opened.
    fn put_foreign_table(&self) -> impl Future<Output = ()> + Send;

    /// The foreign table's definition and rows as text, to be compared with what it was.
    fn foreign_table(&self) -> impl Future<Output = String> + Send;
}

/// A place that can be brought back to an earlier moment, as a server is that has lost its last commits or was restored from a
/// copy: joins the suite with `conformance!(MyFixture, reverting)`.
pub trait RevertingFixture: Fixture {
    /// Everything that was in the place at one moment.
    type Moment: Send + Sync;

    /// Keeps what is in the place now.
    fn keep(&self) -> impl Future<Output = Self::Moment> + Send;

    /// Brings the place back to `moment`. Stores that are open live through it as through the end of their server: their
    /// connections are cut before anything is forgotten.
    fn go_back(&self, moment: &Self::Moment) -> impl Future<Output = ()> + Send;
}
