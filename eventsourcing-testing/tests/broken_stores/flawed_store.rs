//! [`FlawedStore`]: a store in memory with one flaw, in a place that simulates a crash and a restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, AuditStore, CommandId, Epoch, EventStore, FollowerNotes, FollowerPosition,
    FollowerStore, FollowersQuery, Lease, LeaseHolder, LeaseRequest, LeaseToken, Load, Loaded,
    LogChecksum, LogChecksumsQuery, LogId, LogPage, LogQuery, LogSlice, MemoryBackup, MemoryStore,
    Name, NotesQuery, Position, Receipt, StoreError, StoredEvent, StreamId, StreamQuery, Version,
    VisibleLog,
};
use eventsourcing_testing::conformance::{DurableFixture, Fixture, RevertingFixture};

/// The flaw of a store. Every method that is not redefined is correct.
#[async_trait]
pub(crate) trait Flaw: Default + Send + Sync + 'static {
    const TIMEOUT: Duration = Duration::from_secs(2);

    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        store.append(append).await
    }

    async fn read_stream(
        &self,
        store: &MemoryStore,
        query: StreamQuery,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        store.read_stream(query).await
    }

    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        store.load(load).await
    }

    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        store.read_log(query).await
    }

    async fn head(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        store.head().await
    }

    async fn newest_position(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        store.newest_position().await
    }

    async fn receipt(
        &self,
        store: &MemoryStore,
        command_id: CommandId,
    ) -> Result<Option<Receipt>, StoreError> {
        store.receipt(command_id).await
    }

    async fn rejection(
        &self,
        store: &MemoryStore,
        command_id: CommandId,
    ) -> Result<Option<String>, StoreError> {
        store.rejection(command_id).await
    }

    async fn receipts(
        &self,
        store: &MemoryStore,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        store.receipts(after, limit).await
    }

    async fn tracking(
        &self,
        store: &MemoryStore,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Position, StoreError> {
        store.tracking(follower, upstream).await
    }

    async fn followers(
        &self,
        store: &MemoryStore,
        query: FollowersQuery,
    ) -> Result<Vec<FollowerPosition>, StoreError> {
        store.followers(query).await
    }

    async fn notes(
        &self,
        store: &MemoryStore,
        query: NotesQuery,
    ) -> Result<FollowerNotes, StoreError> {
        store.notes(query).await
    }

    async fn checksums(
        &self,
        store: &MemoryStore,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        store.checksums(query).await
    }

    async fn lease(&self, store: &MemoryStore, request: LeaseRequest) -> Result<Lease, StoreError> {
        store.lease(request).await
    }

    async fn lease_holder(
        &self,
        store: &MemoryStore,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        store.lease_holder(follower, upstream).await
    }

    async fn release(
        &self,
        store: &MemoryStore,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        store.release(follower, upstream, token).await
    }

    async fn visible(
        &self,
        store: &MemoryStore,
        position: Position,
    ) -> Result<VisibleLog, StoreError> {
        store.visible(position).await
    }

    async fn wait_beyond(
        &self,
        store: &MemoryStore,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        store.wait_beyond(position, epoch).await
    }

    fn epoch(&self, store: &MemoryStore) -> Epoch {
        store.epoch()
    }

    fn log_id(&self, store: &MemoryStore) -> LogId {
        store.log_id()
    }

    /// Breaks the store at the end of its process.
    async fn crash(&self, _store: &MemoryStore) {}

    async fn open(&self, place: &Place) -> Result<(), StoreError> {
        place.refuse_newer()
    }

    async fn open_existing(&self, place: &Place) -> Result<(), StoreError> {
        place.refuse_missing()
    }
}

/// A store without flaw.
#[derive(Default)]
pub(crate) struct Sound;

impl Flaw for Sound {
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// The contents of a database besides the store's own tables.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) made: AtomicBool,
    pub(crate) newer: AtomicBool,
    pub(crate) foreign_table: Mutex<String>,
}

impl Place {
    pub(crate) fn refuse_newer(&self) -> Result<(), StoreError> {
        if self.newer.load(Ordering::SeqCst) {
            return Err(StoreError::Invalid {
                reason: "the schema is newer than this program".into(),
            });
        }
        Ok(())
    }

    pub(crate) fn refuse_missing(&self) -> Result<(), StoreError> {
        match self.made.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(StoreError::NoStore {
                reason: "there is no store".into(),
            }),
        }
    }
}

/// A place of flawed stores.
pub(crate) struct Flawed<X> {
    store: MemoryStore,
    flaw: Arc<X>,
    place: Place,
}

pub(crate) struct FlawedStore<X> {
    store: MemoryStore,
    flaw: Arc<X>,
}

impl<X: Flaw> Fixture for Flawed<X> {
    type Store = FlawedStore<X>;

    const TIMEOUT: Duration = X::TIMEOUT;

    async fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            flaw: Arc::default(),
            place: Place::default(),
        }
    }

    async fn open(&self) -> FlawedStore<X> {
        self.place.made.store(true, Ordering::SeqCst);
        FlawedStore {
            store: self.store.clone(),
            flaw: Arc::clone(&self.flaw),
        }
    }
}

impl<X: Flaw> DurableFixture for Flawed<X> {
    async fn try_open(&self) -> Result<FlawedStore<X>, StoreError> {
        self.flaw.open(&self.place).await?;
        Ok(self.open().await)
    }

    async fn try_open_existing(&self) -> Result<FlawedStore<X>, StoreError> {
        self.flaw.open_existing(&self.place).await?;
        Ok(self.open().await)
    }

    async fn crash(&self, store: FlawedStore<X>) {
        self.flaw.crash(&store.store).await;
    }

    async fn make_newer(&self) {
        self.place.newer.store(true, Ordering::SeqCst);
    }

    async fn put_foreign_table(&self) {
        *self.place.foreign_table.lock().expect("no panic meanwhile") =
            "customers: Ada, Bob".into();
    }

    async fn foreign_table(&self) -> String {
        self.place
            .foreign_table
            .lock()
            .expect("no panic meanwhile")
            .clone()
    }
}

impl<X: Flaw> RevertingFixture for Flawed<X> {
    type Moment = MemoryBackup;

    async fn keep(&self) -> MemoryBackup {
        self.store.backup()
    }

    async fn go_back(&self, moment: &MemoryBackup) {
        self.store.restore(moment);
    }
}

#[async_trait]
impl<X: Flaw> EventStore for FlawedStore<X> {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.flaw.append(&self.store, append).await
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.flaw.read_stream(&self.store, query).await
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        self.flaw.load(&self.store, load).await
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.flaw.read_log(&self.store, query).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.flaw.head(&self.store).await
    }

    async fn newest_position(&self) -> Result<Position, StoreError> {
        self.flaw.newest_position(&self.store).await
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        self.flaw.receipt(&self.store, command_id).await
    }

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        self.flaw.rejection(&self.store, command_id).await
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        self.flaw.visible(&self.store, position).await
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        self.flaw.wait_beyond(&self.store, position, epoch).await
    }

    fn epoch(&self) -> Epoch {
        self.flaw.epoch(&self.store)
    }

    fn log_id(&self) -> LogId {
        self.flaw.log_id(&self.store)
    }
}

#[async_trait]
impl<X: Flaw> FollowerStore for FlawedStore<X> {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        self.flaw.tracking(&self.store, follower, upstream).await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        self.flaw.followers(&self.store, query).await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        self.flaw.notes(&self.store, query).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        self.flaw.lease(&self.store, request).await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        self.flaw
            .lease_holder(&self.store, follower, upstream)
            .await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        self.flaw
            .release(&self.store, follower, upstream, token)
            .await
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }
}

#[async_trait]
impl<X: Flaw> AuditStore for FlawedStore<X> {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.flaw.receipts(&self.store, after, limit).await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        self.flaw.checksums(&self.store, query).await
    }
}

pub(crate) fn invalid(reason: &str) -> StoreError {
    StoreError::Invalid {
        reason: reason.into(),
    }
}

pub(crate) async fn version_of(store: &MemoryStore, stream: &StreamId) -> Version {
    let newest = StreamQuery::new(stream.clone()).backwards().limit(1);
    let events = store.read_stream(newest).await.expect("memory can be read");
    events.last().map_or(Version::ZERO, |event| event.version)
}

/// Gives other tasks the time to interleave. Sleeping does so on a busy machine too, where yielding may not.
pub(crate) async fn dawdle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
