//! Stores that lease wrongly.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::store::{
    Append, Appended, EventStore, FollowerStore, HolderId, Lease, LeaseHolder, LeaseRequest,
    LeaseToken, LogId, MemoryStore, Name, StoreError,
};

use super::flawed_store::{Flaw, dawdle};

/// A store whose requests for leases are changed by a function.
macro_rules! changes_requests {
    ($($(#[$doc:meta])* $flaw:ident = |$request:ident| $change:block)*) => {$(
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn lease(&self, store: &MemoryStore, mut $request: LeaseRequest) -> Result<Lease, StoreError> {
                $change;
                store.lease($request).await
            }
        }
    )*};
}

changes_requests! {
    GivesToAll = |request| { request.holder = HolderId::from_uuid(uuid::Uuid::nil()); }
    RefusesRenewal = |request| { request.holder = HolderId::new(); }
    NeverExpires = |request| { request.duration = LeaseRequest::DURATION_MAX; }
    /// Treats all followers in all logs as one.
    LeasesTheStore = |request| {
        request.validate()?;
        (request.follower, request.upstream) = ("all".into(), LogId::from_uuid(uuid::Uuid::nil()));
    }
    TakesAnyDuration = |request| {
        request.duration = request.duration.clamp(Duration::from_millis(1), LeaseRequest::DURATION_MAX);
    }
}

/// A store that keeps its own list, and reads it some time before it writes to it.
#[derive(Default)]
pub(crate) struct LooksThenGives(Mutex<HashMap<Name, HolderId>>);

#[async_trait]
impl Flaw for LooksThenGives {
    async fn lease(&self, store: &MemoryStore, request: LeaseRequest) -> Result<Lease, StoreError> {
        let holder = self
            .0
            .lock()
            .expect("no panic meanwhile")
            .get(&request.follower)
            .copied();
        dawdle().await;
        if let Some(holder) = holder.filter(|holder| *holder != request.holder) {
            return Ok(Lease::Taken {
                holder,
                expires_in: request.duration,
            });
        }
        self.0
            .lock()
            .expect("no panic meanwhile")
            .insert(request.follower.clone(), request.holder);
        let position = store.tracking(&request.follower, request.upstream).await?;
        Ok(Lease::Held {
            token: LeaseToken::new(1),
            position,
        })
    }
}

#[derive(Default)]
pub(crate) struct GivesEveryoneTheSameToken;

#[async_trait]
impl Flaw for GivesEveryoneTheSameToken {
    async fn lease(&self, store: &MemoryStore, request: LeaseRequest) -> Result<Lease, StoreError> {
        Ok(match store.lease(request).await? {
            Lease::Held { position, .. } => Lease::Held {
                token: LeaseToken::new(1),
                position,
            },
            taken @ Lease::Taken { .. } => taken,
        })
    }
}

/// A store that keeps the first duration forever.
#[derive(Default)]
pub(crate) struct ForgetsRenewals(Mutex<HashMap<HolderId, Lease>>);

#[async_trait]
impl Flaw for ForgetsRenewals {
    async fn lease(&self, store: &MemoryStore, request: LeaseRequest) -> Result<Lease, StoreError> {
        let known = self
            .0
            .lock()
            .expect("no panic meanwhile")
            .get(&request.holder)
            .copied();
        if let Some(lease) = known {
            return Ok(lease);
        }
        let holder = request.holder;
        let lease = store.lease(request).await?;
        self.0
            .lock()
            .expect("no panic meanwhile")
            .insert(holder, lease);
        Ok(lease)
    }
}

#[derive(Default)]
pub(crate) struct IgnoresTokens;

#[async_trait]
impl Flaw for IgnoresTokens {
    async fn append(
        &self,
        store: &MemoryStore,
        mut append: Append,
    ) -> Result<Appended, StoreError> {
        append
            .tracking
            .iter_mut()
            .for_each(|tracking| tracking.lease = None);
        store.append(append).await
    }
}

/// A store that refuses the step, but keeps the events.
#[derive(Default)]
pub(crate) struct WritesPastTheLease;

#[async_trait]
impl Flaw for WritesPastTheLease {
    async fn append(&self, store: &MemoryStore, append: Append) -> Result<Appended, StoreError> {
        let outcome = store.append(append.clone()).await;
        if matches!(outcome, Err(StoreError::LeaseLost { .. })) {
            store
                .append(Append {
                    tracking: None,
                    ..append
                })
                .await?;
        }
        outcome
    }
}

#[derive(Default)]
pub(crate) struct NeverReleases;

#[async_trait]
impl Flaw for NeverReleases {
    async fn release(
        &self,
        _: &MemoryStore,
        _: &Name,
        _: LogId,
        _: LeaseToken,
    ) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that releases a lease for any token.
#[derive(Default)]
pub(crate) struct ReleasesForAnybody;

#[async_trait]
impl Flaw for ReleasesForAnybody {
    async fn release(
        &self,
        store: &MemoryStore,
        follower: &Name,
        log: LogId,
        _: LeaseToken,
    ) -> Result<(), StoreError> {
        for number in 0..10 {
            store
                .release(follower, log, LeaseToken::new(number))
                .await?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct NamesNobody;

#[async_trait]
impl Flaw for NamesNobody {
    async fn lease_holder(
        &self,
        _: &MemoryStore,
        _: &Name,
        _: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        Ok(None)
    }
}

/// A store that shows a holder after the end of its lease.
#[derive(Default)]
pub(crate) struct NamesWhoeverWasLast(Mutex<HashMap<(Name, LogId), LeaseHolder>>);

#[async_trait]
impl Flaw for NamesWhoeverWasLast {
    async fn lease(&self, store: &MemoryStore, request: LeaseRequest) -> Result<Lease, StoreError> {
        let LeaseRequest {
            holder,
            duration: expires_in,
            ..
        } = request.clone();
        let key = (request.follower.clone(), request.upstream);

        let lease = store.lease(request).await?;
        if let Lease::Held { token, .. } = lease {
            self.0.lock().expect("no panic meanwhile").insert(
                key,
                LeaseHolder {
                    holder,
                    token,
                    expires_in,
                },
            );
        }
        Ok(lease)
    }

    async fn lease_holder(
        &self,
        _: &MemoryStore,
        who: &Name,
        log: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        Ok(self
            .0
            .lock()
            .expect("no panic meanwhile")
            .get(&(who.clone(), log))
            .copied())
    }
}
