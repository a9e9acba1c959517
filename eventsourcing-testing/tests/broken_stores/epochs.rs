//! Stores that mix up two epochs of their log.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, Epoch, EventStore, LogPage, LogQuery, MemoryStore, Position, StoreError,
    VisibleLog,
};

use super::flawed_store::Flaw;

/// A store that checks expected versions and ignores epochs.
#[derive(Default)]
pub(crate) struct AppendsInAnyEpoch;

#[async_trait]
impl Flaw for AppendsInAnyEpoch {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.epoch = None;
        append.tracking = append.tracking.map(|step| step.in_epoch(None));
        store.append(append).await
    }
}

/// A store that checks the epoch of events, and not that of the step.
#[derive(Default)]
pub(crate) struct StepsInAnyEpoch;

#[async_trait]
impl Flaw for StepsInAnyEpoch {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.tracking = append.tracking.map(|step| step.in_epoch(None));
        store.append(append).await
    }
}

/// A store that checks the epoch before it looks for the receipt of a repeated command.
#[derive(Default)]
pub(crate) struct ChecksEpochsFirst;

#[async_trait]
impl Flaw for ChecksEpochsFirst {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        append.check_epoch(store.epoch())?;
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct ReadsInAnyEpoch;

#[async_trait]
impl Flaw for ReadsInAnyEpoch {
    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        store
            .read_log(LogQuery {
                epoch: None,
                ..query
            })
            .await
    }
}

/// A store whose ceilings and head never go back.
#[derive(Default)]
pub(crate) struct NeverGoesBack {
    highest: AtomicU64,
}

#[async_trait]
impl Flaw for NeverGoesBack {
    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        let mut page = store.read_log(query).await?;
        let highest = self
            .highest
            .fetch_max(page.ceiling.as_u64(), Ordering::SeqCst);
        page.ceiling = page.ceiling.max(Position::new(highest));
        Ok(page)
    }

    async fn head(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        let head = store.head().await?;
        let highest = self.highest.fetch_max(head.as_u64(), Ordering::SeqCst);
        Ok(head.max(Position::new(highest)))
    }
}

/// A store with one epoch only.
#[derive(Default)]
pub(crate) struct StaysInTheFirstEpoch;

#[async_trait]
impl Flaw for StaysInTheFirstEpoch {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        AppendsInAnyEpoch.append(store, append).await
    }

    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        let page = store
            .read_log(LogQuery {
                epoch: None,
                ..query
            })
            .await?;
        Ok(LogPage {
            epoch: Epoch::FIRST,
            ..page
        })
    }

    async fn visible(
        &self,
        store: &MemoryStore,
        position: Position,
    ) -> Result<VisibleLog, StoreError> {
        Ok(VisibleLog {
            epoch: Epoch::FIRST,
            ..store.visible(position).await?
        })
    }

    fn epoch(&self, _: &MemoryStore) -> Epoch {
        Epoch::FIRST
    }
}

#[derive(Default)]
pub(crate) struct HidesTheEvent;

#[async_trait]
impl Flaw for HidesTheEvent {
    async fn visible(
        &self,
        store: &MemoryStore,
        position: Position,
    ) -> Result<VisibleLog, StoreError> {
        Ok(VisibleLog {
            event: None,
            ..store.visible(position).await?
        })
    }
}

/// A store that shows the next event at a position without one.
#[derive(Default)]
pub(crate) struct ShowsTheNextEvent;

#[async_trait]
impl Flaw for ShowsTheNextEvent {
    async fn visible(
        &self,
        store: &MemoryStore,
        position: Position,
    ) -> Result<VisibleLog, StoreError> {
        let before = Position::new(position.as_u64().saturating_sub(1));
        let next = store
            .read_log(LogQuery::after(before).limit(1))
            .await?
            .events
            .pop();
        Ok(VisibleLog {
            event: next,
            ..store.visible(position).await?
        })
    }
}

#[derive(Default)]
pub(crate) struct EndsAtTheEvent;

#[async_trait]
impl Flaw for EndsAtTheEvent {
    async fn visible(
        &self,
        store: &MemoryStore,
        position: Position,
    ) -> Result<VisibleLog, StoreError> {
        let seen = store.visible(position).await?;
        Ok(VisibleLog {
            end: seen.end.min(position),
            ..seen
        })
    }
}

/// A store whose waits ignore the epoch.
#[derive(Default)]
pub(crate) struct WaitsOn;

#[async_trait]
impl Flaw for WaitsOn {
    async fn wait_beyond(
        &self,
        store: &MemoryStore,
        position: Position,
        _: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        loop {
            match store.wait_beyond(position, None).await {
                Err(StoreError::OutdatedEpoch { .. }) => {}
                ended => return ended,
            }
        }
    }
}
