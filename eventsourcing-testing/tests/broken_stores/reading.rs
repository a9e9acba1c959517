//! Stores that read streams and the log wrongly.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, Direction, EventStore, Load, Loaded, LoadedEvent, LogPage, LogQuery,
    MemoryStore, Name, Position, StoreError, StoredEvent, StreamQuery, Version,
};

use super::flawed_store::{Flaw, dawdle};

#[derive(Default)]
pub(crate) struct LeavesOutTheEnd;

#[async_trait]
impl Flaw for LeavesOutTheEnd {
    async fn read_stream(
        &self,
        store: &MemoryStore,
        query: StreamQuery,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let to = Version::new(query.to.as_u64().saturating_sub(1));
        store.read_stream(query.to(to)).await
    }
}

/// A store whose pages end at its own end of the log, although the reader knows a later one.
#[derive(Default)]
pub(crate) struct EndsWhereItSeesTheEnd;

#[async_trait]
impl Flaw for EndsWhereItSeesTheEnd {
    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        store.read_log(query.decided_up_to(Position::ZERO)).await
    }
}

/// A store whose pages claim to reach the decided end, and lack the events that the limit has cut off.
#[derive(Default)]
pub(crate) struct JumpsToWhatIsDecided;

#[async_trait]
impl Flaw for JumpsToWhatIsDecided {
    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        let decided = query.decided;
        let mut page = store.read_log(query).await?;
        page.ceiling = page.ceiling.max(decided);
        Ok(page)
    }
}

/// A store that keeps the wrong end of a limited backwards read.
#[derive(Default)]
pub(crate) struct LimitsBeforeReversing;

#[async_trait]
impl Flaw for LimitsBeforeReversing {
    async fn read_stream(
        &self,
        store: &MemoryStore,
        query: StreamQuery,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let direction = query.direction;
        let mut events = store
            .read_stream(StreamQuery {
                direction: Direction::Forwards,
                ..query
            })
            .await?;
        if direction == Direction::Backwards {
            events.reverse();
        }
        Ok(events)
    }
}

#[derive(Default)]
pub(crate) struct MissesUnknownStreams;

#[async_trait]
impl Flaw for MissesUnknownStreams {
    async fn read_stream(
        &self,
        store: &MemoryStore,
        query: StreamQuery,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let events = store.read_stream(query).await?;
        if events.is_empty() {
            return Err(StoreError::Corrupt {
                reason: "there is no such stream".into(),
                source: None,
            });
        }
        Ok(events)
    }
}

#[derive(Default)]
pub(crate) struct LoadsTheSnapshotsEventToo;

#[async_trait]
impl Flaw for LoadsTheSnapshotsEventToo {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        let mut loaded = store.load(load.clone()).await?;
        if let Some(snapshot) = &loaded.snapshot {
            let query = StreamQuery::new(load.stream)
                .from(snapshot.version)
                .to(load.to);
            loaded.events = store
                .read_stream(query)
                .await?
                .iter()
                .map(LoadedEvent::from)
                .collect();
        }
        Ok(loaded)
    }
}

#[derive(Default)]
pub(crate) struct LoadsFromTheStart;

#[async_trait]
impl Flaw for LoadsFromTheStart {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        store.load(load.after(Version::ZERO)).await
    }
}

#[derive(Default)]
pub(crate) struct LoadsWithoutLimit;

#[async_trait]
impl Flaw for LoadsWithoutLimit {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        store.load(load.limit(usize::MAX)).await
    }
}

/// A store that looks up the snapshot twice: the events may follow a newer one than the one returned.
#[derive(Default)]
pub(crate) struct LoadsInTwoSteps;

#[async_trait]
impl Flaw for LoadsInTwoSteps {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        let snapshot = store.load(load.clone()).await?.snapshot;
        dawdle().await;
        let events = store.load(load).await?.events;
        Ok(Loaded { snapshot, events })
    }
}

#[derive(Default)]
pub(crate) struct ForgetsCategories;

const ONLY_CATEGORY: Name = Name::from_static("Everything");

#[async_trait]
impl Flaw for ForgetsCategories {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .streams
            .iter_mut()
            .for_each(|part| part.stream.category = ONLY_CATEGORY);
        append
            .snapshots
            .iter_mut()
            .for_each(|snapshot| snapshot.stream.category = ONLY_CATEGORY);
        store.append(append).await
    }

    async fn read_stream(
        &self,
        store: &MemoryStore,
        mut query: StreamQuery,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let category = std::mem::replace(&mut query.stream.category, ONLY_CATEGORY);
        let mut events = store.read_stream(query).await?;
        events
            .iter_mut()
            .for_each(|event| event.stream.category = category.clone());
        Ok(events)
    }
}

/// A store whose pages of the log are changed before they are returned.
macro_rules! changes_pages {
    ($($flaw:ident = |$page:ident, $query:ident, $head:ident| $change:block)*) => {$(
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn read_log(&self, store: &MemoryStore, $query: LogQuery) -> Result<LogPage, StoreError> {
                let mut page = store.read_log($query.clone()).await?;
                let $page = &mut page;
                let $head = store.head().await?;
                $change;
                Ok(page)
            }
        }
    )*};
}

changes_pages! {
    CeilingOneTooHigh = |page, _query, head| {
        page.ceiling = Position::new(page.ceiling.as_u64() + 1).min(head);
    }

    CeilingOneTooLow = |page, query, head| {
        if page.ceiling < head {
            page.ceiling = Position::new(page.ceiling.as_u64() - 1).max(query.after);
        }
    }

    CeilingIsTheHead = |page, _query, head| {
        page.ceiling = page.ceiling.min(head);
    }

    CeilingIsTheLastWanted = |page, query, _head| {
        page.ceiling = page.events.last().map_or(query.after, |event| event.position);
    }
}

/// A store whose ceiling is beyond an event that has a position and is not committed yet.
#[derive(Default)]
pub(crate) struct ShowsTheNewestLate {
    written: Mutex<Option<Instant>>,
}

#[async_trait]
impl Flaw for ShowsTheNewestLate {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        *self.written.lock().expect("no panic") = Some(Instant::now());
        store.append(append).await
    }

    async fn read_log(&self, store: &MemoryStore, query: LogQuery) -> Result<LogPage, StoreError> {
        let mut page = store.read_log(query).await?;
        let head = store.head().await?;
        let written = *self.written.lock().expect("no panic");
        let just_now =
            written.is_some_and(|written| written.elapsed() < Duration::from_micros(300));
        if just_now
            && page
                .events
                .last()
                .is_some_and(|event| event.position == head)
        {
            page.events.pop();
        }
        Ok(page)
    }
}

#[derive(Default)]
pub(crate) struct IgnoresNames;

#[async_trait]
impl Flaw for IgnoresNames {
    async fn read_log(
        &self,
        store: &MemoryStore,
        mut query: LogQuery,
    ) -> Result<LogPage, StoreError> {
        query.filter.names.clear();
        store.read_log(query).await
    }
}

#[derive(Default)]
pub(crate) struct IgnoresFirstOfStream;

#[async_trait]
impl Flaw for IgnoresFirstOfStream {
    async fn read_log(
        &self,
        store: &MemoryStore,
        mut query: LogQuery,
    ) -> Result<LogPage, StoreError> {
        query.filter.first_of_stream = false;
        store.read_log(query).await
    }
}

#[derive(Default)]
pub(crate) struct HeadRunsAhead;

#[async_trait]
impl Flaw for HeadRunsAhead {
    async fn head(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        Ok(Position::new(store.head().await?.as_u64() + 1))
    }
}

/// A store that counts positions reserved by failed appends, as a sequence does.
#[derive(Default)]
pub(crate) struct HeadCountsRefusedAppends {
    refused: AtomicU64,
}

#[async_trait]
impl Flaw for HeadCountsRefusedAppends {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let result = store.append(append).await;
        self.refused
            .fetch_add(u64::from(result.is_err()), Ordering::SeqCst);
        result
    }

    async fn head(&self, store: &MemoryStore) -> Result<Position, StoreError> {
        Ok(Position::new(
            store.head().await?.as_u64() + self.refused.load(Ordering::SeqCst),
        ))
    }
}

#[derive(Default)]
pub(crate) struct ReusesPositionsOfRefusedAppends {
    refused: AtomicU64,
}

#[async_trait]
impl Flaw for ReusesPositionsOfRefusedAppends {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let result = store.append(append).await;
        self.refused
            .fetch_add(u64::from(result.is_err()), Ordering::SeqCst);
        let mut appended = result?;
        let position = appended.receipt.position.as_u64();
        appended.receipt.position =
            Position::new(position.saturating_sub(self.refused.load(Ordering::SeqCst)));
        Ok(appended)
    }
}
