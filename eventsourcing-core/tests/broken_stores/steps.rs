//! Stores that keep cuts and last events wrongly.

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, Cut, EventStore, FollowerNotes, MemoryStore, NotesQuery, StoreError, Tracking,
};

use super::flawed_store::{Flaw, dawdle};

/// Takes the cut away from a step before the step is made.
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

/// Records the cut first, in an append of its own.
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

/// Looks at the cut, and makes the step a moment later.
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
        // Whether another step has recorded a cut meanwhile is not looked at again.
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

/// Forgets the last event with each step that names none.
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
