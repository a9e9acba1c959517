//! A store whose log reads differ from its contents, for tests of `verify`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "not every test uses all of it"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventsourcing_core::sql::Database;
use eventsourcing_core::store::{
    Append, Appended, AuditStore, CommandId, Epoch, EventStore, FollowerNotes, FollowerPosition,
    FollowerStore, FollowersQuery, Lease, LeaseHolder, LeaseRequest, LeaseToken, Load, Loaded,
    LogChecksum, LogChecksumsQuery, LogId, LogPage, LogQuery, LogSlice, Name, NotesQuery, Position,
    Receipt, StoreError, StoredEvent, StreamQuery, VisibleLog, audit_of,
};

/// The change of one event on its way to a follower.
#[derive(Clone, Debug)]
pub enum Flaw {
    Drop,
    Double,
    /// Replaces the event with this one.
    SwapFor(Box<StoredEvent>),
    /// Adds this event before it.
    Add(Box<StoredEvent>),
}

/// A store that lies as long as it has flaws. Clones are the same store.
#[derive(Clone)]
pub struct LyingStore {
    store: Arc<dyn FollowerStore>,
    flaws: Arc<Mutex<BTreeMap<Position, Flaw>>>,
    names_no_cuts: Arc<AtomicBool>,
    has_no_audit: Arc<AtomicBool>,
}

impl LyingStore {
    pub fn new(store: impl FollowerStore) -> Self {
        Self {
            store: Arc::new(store),
            flaws: Arc::default(),
            names_no_cuts: Arc::default(),
            has_no_audit: Arc::default(),
        }
    }

    /// Sets if steps keep their cut. Releases before cuts were recorded made steps without one.
    pub fn name_cuts(&self, names_cuts: bool) {
        self.names_no_cuts.store(!names_cuts, Ordering::SeqCst);
    }

    /// Answers from now on as a store that has neither checksums nor lists of receipts.
    pub fn refuse_audits(&self) {
        self.has_no_audit.store(true, Ordering::SeqCst);
    }

    pub fn break_at(&self, position: Position, flaw: Flaw) {
        self.flaws.lock().unwrap().insert(position, flaw);
    }

    pub fn be_honest(&self) {
        self.flaws.lock().unwrap().clear();
    }

    fn mislead(&self, event: StoredEvent) -> Vec<StoredEvent> {
        match self.flaws.lock().unwrap().get(&event.position) {
            None => vec![event],
            Some(Flaw::Drop) => vec![],
            Some(Flaw::Double) => vec![event.clone(), event],
            Some(Flaw::SwapFor(other)) => vec![moved(other, event.position)],
            Some(Flaw::Add(other)) => vec![moved(other, event.position), event],
        }
    }
}

fn moved(event: &StoredEvent, position: Position) -> StoredEvent {
    StoredEvent {
        position,
        ..event.clone()
    }
}

/// Returns the whole log, unchanged.
pub async fn log(store: &dyn FollowerStore) -> Vec<StoredEvent> {
    store
        .read_log(LogQuery::after(Position::ZERO).limit(usize::MAX))
        .await
        .unwrap()
        .events
}

#[async_trait]
impl EventStore for LyingStore {
    async fn append(&self, mut append: Append) -> Result<Appended, StoreError> {
        if self.names_no_cuts.load(Ordering::SeqCst) {
            append.tracking.iter_mut().for_each(|step| step.cut = None);
        }
        self.store.append(append).await
    }

    async fn read_stream(&self, query: StreamQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.read_stream(query).await
    }

    async fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        self.store.load(load).await
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let mut page = self.store.read_log(query).await?;
        page.events = page
            .events
            .into_iter()
            .flat_map(|event| self.mislead(event))
            .collect();
        Ok(page)
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.store.head().await
    }

    async fn newest_position(&self) -> Result<Position, StoreError> {
        self.store.newest_position().await
    }

    async fn receipt(&self, command_id: CommandId) -> Result<Option<Receipt>, StoreError> {
        self.store.receipt(command_id).await
    }

    async fn rejection(&self, command_id: CommandId) -> Result<Option<String>, StoreError> {
        self.store.rejection(command_id).await
    }

    async fn visible(&self, position: Position) -> Result<VisibleLog, StoreError> {
        self.store.visible(position).await
    }

    async fn wait_beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        self.store.wait_beyond(position, epoch).await
    }

    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    fn log_id(&self) -> LogId {
        self.store.log_id()
    }
}

#[async_trait]
impl FollowerStore for LyingStore {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        self.store.tracking(follower, upstream).await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        self.store.followers(query).await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        self.store.notes(query).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        self.store.lease(request).await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        self.store.lease_holder(follower, upstream).await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        self.store.release(follower, upstream, token).await
    }

    fn database(&self) -> Option<Arc<dyn Database>> {
        self.store.database()
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        match self.has_no_audit.load(Ordering::SeqCst) {
            true => None,
            false => self.store.audit().map(|_| self as _),
        }
    }
}

#[async_trait]
impl AuditStore for LyingStore {
    async fn receipts(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        audit_of(&*self.store)?.receipts(after, limit).await
    }

    async fn checksums(
        &self,
        query: LogChecksumsQuery,
    ) -> Result<BTreeMap<LogSlice, LogChecksum>, StoreError> {
        audit_of(&*self.store)?.checksums(query).await
    }
}
