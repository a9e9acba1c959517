//! Stores that track followers wrongly.

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, EventStore, FollowerNotes, FollowerPosition, FollowerStore, FollowersQuery,
    LogId, MemoryStore, Name, NotesQuery, Position, StoreError, Tracking,
};
use uuid::Uuid;

use super::flawed_store::{Flaw, dawdle};

#[derive(Default)]
pub(crate) struct TracksFirst;

#[async_trait]
impl Flaw for TracksFirst {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.validate()?;
        if let Some(tracking) = append.tracking.take() {
            store
                .append(Append::new(append.recorded_at).with_tracking(tracking))
                .await?;
        }
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct StepsFromAnywhere;

#[async_trait]
impl Flaw for StepsFromAnywhere {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        step_from_here(store, &mut append).await?;
        store.append(append).await
    }
}

async fn step_from_here(store: &MemoryStore, append: &mut Append) -> Result<(), StoreError> {
    if let Some(tracking) = &mut append.tracking {
        tracking.from = store
            .tracking(&tracking.follower, tracking.upstream)
            .await?;
        tracking.to = tracking.to.max(tracking.from);
    }
    Ok(())
}

/// A store that treats every step as one that may go back.
#[derive(Default)]
pub(crate) struct StepsBackUnasked;

#[async_trait]
impl Flaw for StepsBackUnasked {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .tracking
            .iter_mut()
            .for_each(|step| step.goes_back = true);
        store.append(append).await
    }
}

/// A store that ignores a step back.
#[derive(Default)]
pub(crate) struct NeverStepsBack;

#[async_trait]
impl Flaw for NeverStepsBack {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .tracking
            .iter_mut()
            .for_each(|step| step.to = step.to.max(step.from));
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct ChecksTheStepThenWrites;

#[async_trait]
impl Flaw for ChecksTheStepThenWrites {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        if let Some(Tracking {
            follower,
            upstream,
            from,
            ..
        }) = append.tracking.clone()
        {
            let actual = store.tracking(&follower, upstream).await?;
            if actual != from {
                return Err(StoreError::TrackingConflict {
                    follower,
                    expected: from,
                    actual,
                });
            }
        }
        dawdle().await;
        step_from_here(store, &mut append).await?;
        store.append(append).await
    }
}

#[derive(Default)]
pub(crate) struct FoldsFollowers;

fn folded(follower: &Name) -> Name {
    Name::from(follower.as_str().to_lowercase())
}

#[async_trait]
impl Flaw for FoldsFollowers {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .tracking
            .iter_mut()
            .for_each(|tracking| tracking.follower = folded(&tracking.follower));
        store.append(append).await
    }

    async fn tracking(
        &self,
        store: &MemoryStore,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Position, StoreError> {
        store.tracking(&folded(follower), upstream).await
    }

    async fn notes(
        &self,
        store: &MemoryStore,
        query: NotesQuery,
    ) -> Result<FollowerNotes, StoreError> {
        store
            .notes(NotesQuery {
                follower: folded(&query.follower),
                ..query
            })
            .await
    }
}

#[derive(Default)]
pub(crate) struct IgnoresUpstreams;

const ONLY_UPSTREAM: LogId = LogId::from_uuid(Uuid::nil());

#[async_trait]
impl Flaw for IgnoresUpstreams {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .tracking
            .iter_mut()
            .for_each(|tracking| tracking.upstream = ONLY_UPSTREAM);
        store.append(append).await
    }

    async fn tracking(
        &self,
        store: &MemoryStore,
        follower: &Name,
        _: LogId,
    ) -> Result<Position, StoreError> {
        store.tracking(follower, ONLY_UPSTREAM).await
    }

    async fn notes(
        &self,
        store: &MemoryStore,
        query: NotesQuery,
    ) -> Result<FollowerNotes, StoreError> {
        store
            .notes(NotesQuery {
                upstream: ONLY_UPSTREAM,
                ..query
            })
            .await
    }
}

#[derive(Default)]
pub(crate) struct HasManyLogIds;

impl Flaw for HasManyLogIds {
    fn log_id(&self, _: &MemoryStore) -> LogId {
        LogId::new()
    }
}

/// Makes a store that lists followers wrongly.
macro_rules! lists_followers {
    ($($flaw:ident = |$store:ident, $query:ident| $list:expr;)*) => {$(
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn followers(
                &self,
                $store: &MemoryStore,
                $query: FollowersQuery,
            ) -> Result<Vec<FollowerPosition>, StoreError> {
                $list
            }
        }
    )*};
}

fn by_utf16(follower: &FollowerPosition) -> Vec<u16> {
    follower.follower.as_str().encode_utf16().collect()
}

lists_followers! {
    ListsFollowersAgain = |store, query| store.followers(FollowersQuery::all().limit(query.limit)).await;
    ListsTooManyFollowers = |store, query| store.followers(query.limit(usize::MAX)).await;
    LeavesOutTheFirstFollower = |store, query| Ok(store.followers(query).await?.into_iter().skip(1).collect());
    ListsFollowersBackwards = |store, query| Ok(store.followers(query).await?.into_iter().rev().collect());
    ListsFollowersByUtf16 = |store, query| {
        let mut followers = store.followers(query).await?;
        followers.sort_by_key(by_utf16);
        Ok(followers)
    };
}

/// Writes an append without its step.
#[derive(Default)]
pub(crate) struct DropsSteps;

#[async_trait]
impl Flaw for DropsSteps {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append.tracking = None;
        store.append(append).await
    }
}

/// Looks for a follower under the first characters of its name.
#[derive(Default)]
pub(crate) struct TakesNoLongNames;

#[async_trait]
impl Flaw for TakesNoLongNames {
    async fn tracking(
        &self,
        store: &MemoryStore,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Position, StoreError> {
        let short: String = follower.as_str().chars().take(12).collect();
        store.tracking(&short.into(), upstream).await
    }
}
