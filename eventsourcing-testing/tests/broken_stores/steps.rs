//! Stores that keep cuts and last events wrongly.

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, Cut, EventStore, FollowerNotes, FollowerStore, MemoryStore, NotesQuery,
    StoreError, Tracking,
};

use super::flawed_store::{Flaw, dawdle};

/// A store that drops the cut of a step.
#[derive(Default)]
pub(crate) struct IgnoresCuts;

#[async_trait]
impl Flaw for IgnoresCuts {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.validate()?;
        append.tracking.iter_mut().for_each(|step| step.cut = None);
        store.append(append).await
    }
}

/// A store that records the cut first, in an append of its own.
#[derive(Default)]
pub(crate) struct RecordsCutsOfRefusedSteps;

#[async_trait]
impl Flaw for RecordsCutsOfRefusedSteps {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        append.validate()?;
        if let Some(Tracking {
            follower,
            upstream,
            cut: Some(cut),
            ..
        }) = &append.tracking
        {
            let actual = store.tracking(follower, *upstream).await?;
            let step =
                Tracking::new(follower.clone(), *upstream, actual, actual).with_cut(cut.clone());
            store
                .append(Append::new(append.recorded_at).with_tracking(step))
                .await?;
        }
        store.append(append).await
    }
}

/// A store that reads the cut some time before it makes the step.
#[derive(Default)]
pub(crate) struct ChecksTheCutThenWrites;

#[async_trait]
impl Flaw for ChecksTheCutThenWrites {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        let Some(Tracking {
            upstream,
            cut: Some(Cut {
                follower,
                partitions,
            }),
            ..
        }) = append.tracking.clone()
        else {
            return store.append(append).await;
        };
        let recorded = store
            .notes(NotesQuery::new(follower.clone(), upstream, ""))
            .await?
            .partitions;
        if let Some(actual) = recorded.filter(|recorded| *recorded != partitions) {
            return Err(StoreError::CutChanged {
                follower,
                expected: partitions,
                actual,
            });
        }
        dawdle().await;
        // The flaw: a cut that another step has recorded meanwhile is not checked.
        let recorded = store
            .notes(NotesQuery::new(follower, upstream, ""))
            .await?
            .partitions;
        if let Some(step) = append.tracking.as_mut().filter(|_| recorded.is_some()) {
            step.cut = None;
        }
        store.append(append).await
    }
}

/// A store that forgets the last event at each step that names none.
#[derive(Default)]
pub(crate) struct ForgetsTheLastEvent;

#[async_trait]
impl Flaw for ForgetsTheLastEvent {
    async fn notes(
        &self,
        store: &MemoryStore,
        query: NotesQuery,
    ) -> Result<FollowerNotes, StoreError> {
        let notebook = store.notes(query).await?;
        let last_event = notebook
            .last_event
            .filter(|event| event.position == notebook.position);
        Ok(FollowerNotes {
            last_event,
            ..notebook
        })
    }
}
