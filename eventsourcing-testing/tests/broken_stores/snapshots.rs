//! Stores that treat snapshots wrongly.

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, EventStore, Fingerprint, Load, Loaded, MemoryStore, StoreError, Version,
};

use super::flawed_store::{Flaw, version_of};

#[derive(Default)]
pub(crate) struct FindsTheOldest;

#[async_trait]
impl Flaw for FindsTheOldest {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        for version in 1..=version_of(store, &load.stream).await.min(load.to).as_u64() {
            let snapshot = store
                .load(Load {
                    to: Version::new(version),
                    ..load.clone()
                })
                .await?
                .snapshot;
            if snapshot.is_some() {
                let mut events = store
                    .load(Load {
                        fingerprint: None,
                        ..load
                    })
                    .await?
                    .events;
                events.retain(|event| event.version.as_u64() > version);
                return Ok(Loaded { snapshot, events });
            }
        }
        store.load(load).await
    }
}

#[derive(Default)]
pub(crate) struct GoesBeyond;

#[async_trait]
impl Flaw for GoesBeyond {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        store
            .load(Load {
                to: Version::MAX,
                ..load
            })
            .await
    }
}

#[derive(Default)]
pub(crate) struct IgnoresFingerprints;

const ONLY_FINGERPRINT: Fingerprint = Fingerprint(1);

#[async_trait]
impl Flaw for IgnoresFingerprints {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .snapshots
            .iter_mut()
            .for_each(|snapshot| snapshot.fingerprint = ONLY_FINGERPRINT);
        store.append(append).await
    }

    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        store
            .load(Load {
                fingerprint: load.fingerprint.map(|_| ONLY_FINGERPRINT),
                ..load
            })
            .await
    }
}

#[derive(Default)]
pub(crate) struct DropsSnapshotsBeyond;

#[async_trait]
impl Flaw for DropsSnapshotsBeyond {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        let result = store.append(append.clone()).await;
        if let Err(StoreError::Invalid { .. }) = result {
            append.snapshots.clear();
            return store.append(append).await;
        }
        result
    }
}

/// A store that leaves out events that a snapshot covers, also in loads without a snapshot.
#[derive(Default)]
pub(crate) struct CannotDoWithout;

#[async_trait]
impl Flaw for CannotDoWithout {
    async fn load(&self, store: &MemoryStore, load: Load) -> Result<Loaded, StoreError> {
        let mut loaded = store.load(load).await?;
        if loaded.snapshot.is_none() {
            loaded
                .events
                .retain(|event| event.version > Version::new(5));
        }
        Ok(loaded)
    }
}
