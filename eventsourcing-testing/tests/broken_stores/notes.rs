//! Stores that keep the notes of followers wrongly.

use std::collections::BTreeMap;

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, EventStore, FollowerNotes, FollowerStore, MemoryStore, NOTE_KEY_BYTES_MAX,
    NotesQuery, Revision, StoreError, Tracking,
};

use super::flawed_store::{Flaw, dawdle};

/// A store whose steps are changed by a function.
macro_rules! changes_steps {
    ($($(#[$doc:meta])* $flaw:ident = |$store:ident, $step:ident| $change:block)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn append(&self, $store: &MemoryStore, mut append: Append) -> Result<Appended, StoreError> {
                if let Some($step) = &mut append.tracking {
                    $change;
                }
                $store.append(append).await
            }
        }
    )*};
}

/// A store whose queries of notes are changed by a function.
macro_rules! changes_queries {
    ($($(#[$doc:meta])* $flaw:ident = |$store:ident, $query:ident| $answer:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn notes(&self, $store: &MemoryStore, $query: NotesQuery) -> Result<FollowerNotes, StoreError> {
                $answer
            }
        }
    )*};
}

changes_steps! {
    IgnoresRevisions = |store, step| { step.revision = None; }
    /// Refuses outdated revisions only if the follower moves.
    ChecksRevisionsOfMovesOnly = |store, step| {
        if step.from == step.to {
            step.revision = None;
        }
    }
    DropsNotes = |store, step| { step.notes.clear(); }
    ForgetsNothing = |store, step| { step.notes.retain(|_, value| value.is_some()); }
    KeepsTheFirstNote = |store, step| {
        let kept = all_notes(store, step).await?.notes;
        step.notes.retain(|key, value| value.is_none() || !kept.contains_key(key));
    }
    CannotForgetWhatIsMissing = |store, step| {
        let kept = all_notes(store, step).await?.notes;
        if let Some((key, _)) = step.notes.iter().find(|(key, value)| value.is_none() && !kept.contains_key(*key)) {
            return Err(StoreError::Invalid { reason: format!("there is no note {key:?}") });
        }
    }
    TrimsNotes = |store, step| {
        step.notes.values_mut().flatten().for_each(|value| *value = value.trim().to_owned());
    }
    CutsLongKeys = |store, step| {
        let notes = std::mem::take(&mut step.notes);
        let cut = |key: String| key.chars().take(NOTE_KEY_BYTES_MAX).collect();
        step.notes = notes.into_iter().map(|(key, value)| (cut(key), value)).collect();
    }
}

async fn all_notes(
    store: &MemoryStore,
    Tracking {
        follower, upstream, ..
    }: &Tracking,
) -> Result<FollowerNotes, StoreError> {
    store
        .notes(NotesQuery::new(follower.clone(), *upstream, ""))
        .await
}

/// A store that keeps the notes before it checks the step.
#[derive(Default)]
pub(crate) struct NotesFirst;

#[async_trait]
impl Flaw for NotesFirst {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.validate()?;
        if let Some(step) = &mut append.tracking {
            let notes = Tracking {
                to: step.from,
                notes: std::mem::take(&mut step.notes),
                ..step.clone()
            };
            store
                .append(Append::new(append.recorded_at).with_tracking(notes))
                .await?;
            step.revision = None;
        }
        store.append(append).await
    }
}

/// A store that reads the revision some time before it writes.
#[derive(Default)]
pub(crate) struct ChecksRevisionsThenSteps;

#[async_trait]
impl Flaw for ChecksRevisionsThenSteps {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        if let Some(step) = &mut append.tracking {
            let FollowerNotes {
                position, revision, ..
            } = all_notes(store, step).await?;
            let Tracking { follower, from, .. } = step.clone();
            if step
                .revision
                .take()
                .is_some_and(|wanted| wanted != revision)
            {
                return Err(StoreError::TrackingConflict {
                    follower,
                    expected: from,
                    actual: position,
                });
            }
        }
        dawdle().await;
        store.append(append).await
    }
}

changes_queries! {
    /// Does not count a step in place.
    CountsMovesOnly = |store, query| {
        let notebook = store.notes(query).await?;
        Ok(FollowerNotes { revision: Revision::new(notebook.position.as_u64()), ..notebook })
    };
    IgnoresPrefixes = |store, query| store.notes(NotesQuery { prefix: String::new(), ..query }).await;
    /// Ignores case, as `LIKE` does by default.
    FoldsTheCaseOfPrefixes = |store, query| {
        let notebook = store.notes(NotesQuery { prefix: String::new(), limit: usize::MAX, ..query.clone() }).await?;
        let prefix = query.prefix.to_lowercase();
        let notes = notebook.notes.into_iter().filter(|(key, _)| key.to_lowercase().starts_with(&prefix));
        Ok(FollowerNotes { notes: notes.take(query.limit).collect(), ..notebook })
    };
    ReadsFromTheKey = |store, query| {
        let mut notebook = store.notes(query.clone()).await?;
        let before = store.notes(NotesQuery { after: String::new(), limit: usize::MAX, ..query.clone() }).await?.notes;
        notebook.notes.extend(before.into_iter().filter(|(key, _)| *key == query.after));
        Ok(notebook)
    };
    IgnoresTheLimit = |store, query| store.notes(NotesQuery { limit: usize::MAX, ..query }).await;
    /// Sorts by UTF-16, as JavaScript and some databases do.
    SortsByUtf16 = |store, query| {
        let everything = NotesQuery { after: String::new(), limit: usize::MAX, ..query.clone() };
        let notebook = store.notes(everything).await?;
        let utf16 = |key: &str| key.encode_utf16().collect::<Vec<_>>();
        let sorted: BTreeMap<_, _> = notebook.notes.into_iter().map(|note| (utf16(&note.0), note)).collect();
        let after = sorted.into_iter().filter(|(key, _)| *key > utf16(&query.after));
        Ok(FollowerNotes { notes: after.take(query.limit).map(|(_, note)| note).collect(), ..notebook })
    };
    /// Reads the position some time before the notes.
    ReadsInTwoSteps = |store, query| {
        let FollowerNotes { position, revision, .. } = store.notes(NotesQuery { limit: 0, ..query.clone() }).await?;
        dawdle().await;
        Ok(FollowerNotes { position, revision, ..store.notes(query).await? })
    };
}
