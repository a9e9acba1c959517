//! Places whose contents do not outlive their process, or that are opened wrongly.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, CommandId, EventStore, LogId, LogPage, LogQuery, MemoryStore, Position,
    StoreError,
};

use super::appending::append_unnamed;
use super::flawed_store::{Flaw, Place, dawdle};

/// A store that keeps the ids of commands in memory only.
#[derive(Default)]
pub(crate) struct ForgetsCommandsInACrash {
    current: Mutex<HashSet<CommandId>>,
    forgotten: Mutex<HashSet<CommandId>>,
}

#[async_trait]
impl Flaw for ForgetsCommandsInACrash {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let forgotten = append
            .commands
            .only()
            .filter(|id| self.forgotten.lock().expect("no panic").contains(id));
        if forgotten.is_some() {
            return append_unnamed(store, append).await;
        }
        self.current
            .lock()
            .expect("no panic")
            .extend(append.commands.ids());
        store.append(append).await
    }

    async fn crash(&self, _: &MemoryStore) {
        let current = std::mem::take(&mut *self.current.lock().expect("no panic"));
        self.forgotten.lock().expect("no panic").extend(current);
    }
}

/// A store that reuses the positions of the last append after each crash.
#[derive(Default)]
pub(crate) struct ReusesPositionsAfterACrash {
    crashes: AtomicU64,
}

#[async_trait]
impl Flaw for ReusesPositionsAfterACrash {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let mut appended = store.append(append).await?;
        let position = appended.receipt.position.as_u64();
        appended.receipt.position =
            Position::new(position.saturating_sub(self.crashes.load(Ordering::SeqCst)));
        Ok(appended)
    }

    async fn crash(&self, _: &MemoryStore) {
        self.crashes.fetch_add(1, Ordering::SeqCst);
    }
}

/// A store that acknowledges appends before they reach the disk.
#[derive(Default)]
pub(crate) struct LosesTheLastEvent {
    lost: Mutex<HashSet<Position>>,
}

#[async_trait]
impl Flaw for LosesTheLastEvent {
    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        let mut page = store.read_log(query).await?;
        page.events.retain(|event| {
            !self
                .lost
                .lock()
                .expect("no panic")
                .contains(&event.position)
        });
        Ok(page)
    }

    async fn crash(&self, store: &MemoryStore) {
        let head = store.head().await.expect("memory can be read");
        self.lost.lock().expect("no panic").insert(head);
    }
}

#[derive(Default)]
pub(crate) struct FailsWhenOthersOpen {
    opening: AtomicBool,
}

#[async_trait]
impl Flaw for FailsWhenOthersOpen {
    async fn open(&self, _: &Place) -> Result<(), StoreError> {
        if self.opening.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Invalid {
                reason: "the table exists already".into(),
            });
        }
        dawdle().await;
        self.opening.store(false, Ordering::SeqCst);
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct TakesANewLogId {
    new: Mutex<Option<LogId>>,
}

#[async_trait]
impl Flaw for TakesANewLogId {
    fn log_id(&self, store: &MemoryStore) -> LogId {
        self.new.lock().expect("no panic").unwrap_or(store.log_id())
    }

    async fn crash(&self, _: &MemoryStore) {
        *self.new.lock().expect("no panic") = Some(LogId::new());
    }
}

#[derive(Default)]
pub(crate) struct OpensNewerSchemas;

#[async_trait]
impl Flaw for OpensNewerSchemas {
    async fn open(&self, _: &Place) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that returns `Unavailable` where a retry never helps.
#[derive(Default)]
pub(crate) struct BlamesTheConnection;

#[async_trait]
impl Flaw for BlamesTheConnection {
    async fn open(&self, place: &Place) -> Result<(), StoreError> {
        place
            .refuse_newer()
            .map_err(|error| StoreError::unavailable("a newer schema", error))
    }
}

#[derive(Default)]
pub(crate) struct DropsForeignTables;

#[async_trait]
impl Flaw for DropsForeignTables {
    async fn open(&self, place: &Place) -> Result<(), StoreError> {
        place.foreign_table.lock().expect("no panic").clear();
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct MakesWhatMustExist;

#[async_trait]
impl Flaw for MakesWhatMustExist {
    async fn open_existing(&self, _: &Place) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that refuses, but leaves behind the tables it has created.
#[derive(Default)]
pub(crate) struct MakesAndRefuses;

#[async_trait]
impl Flaw for MakesAndRefuses {
    async fn open_existing(&self, place: &Place) -> Result<(), StoreError> {
        let refused = place.refuse_missing();
        place.made.store(true, Ordering::SeqCst);
        refused
    }
}

/// A store that returns `Unavailable` for a store that does not exist.
#[derive(Default)]
pub(crate) struct WaitsForWhatIsMissing;

#[async_trait]
impl Flaw for WaitsForWhatIsMissing {
    async fn open_existing(&self, place: &Place) -> Result<(), StoreError> {
        place
            .refuse_missing()
            .map_err(|error| StoreError::unavailable("the store is not there", error))
    }
}
