//! [`FollowerStore`]: what a system needs of a store besides its events.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    AuditStore, EventStore, FollowerNotes, FollowerPosition, FollowersQuery, Lease, LeaseHolder,
    LeaseRequest, LeaseToken, LogId, Name, NotesQuery, Position, StoreError,
};
use crate::sql::Database;

/// A store that also keeps the positions, notes and leases of followers. Systems run on it.
///
/// The steps of followers are part of an [`Append`](super::Append). A store that implements
/// [`EventStore`] alone refuses an append with a step as [`StoreError::Invalid`].
#[async_trait]
pub trait FollowerStore: EventStore {
    /// Returns the position of `follower` in the log `upstream`; zero if the follower was never
    /// seen. Promise P22.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError>;

    /// Lists the followers that have made a step, with their positions. Promise P40.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError>;

    /// Returns the position and the notes of a follower, from one consistent view. Promise P30.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError>;

    /// Takes the lease on a follower, or renews it. Promise P23.
    ///
    /// The lease is granted if it is free, if it has expired on the store's clock, or to its
    /// holder, who keeps the token. Each new holder gets a larger token than all before. If this
    /// future is dropped the lease may have been taken; asking again renews it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], [`StoreError::Unavailable`].
    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError>;

    /// Returns the holder of the lease on a follower, or `None` if the lease is free. Promise P23.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError>;

    /// Releases the lease on a follower, so that another process need not wait until it expires.
    /// Nothing happens if `token` is outdated. Promise P23.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError>;

    /// Returns the SQL database in which read models live beside the log, if the store has one.
    /// Promise P32.
    fn database(&self) -> Option<Arc<dyn Database>> {
        None
    }

    /// Returns this store as one that can be audited, or `None` if it has neither checksums nor lists
    /// of receipts. Then `verify` ends in an error that says so, and the lag of followers is counted
    /// by reading their events. There is no default, because it would switch `verify` off.
    fn audit(&self) -> Option<&dyn AuditStore>;
}

/// Returns `store` as one that can be audited.
///
/// # Errors
/// [`StoreError::Invalid`]: it cannot, because its [`audit`](FollowerStore::audit) is `None`.
pub fn audit_of(store: &dyn FollowerStore) -> Result<&dyn AuditStore, StoreError> {
    store.audit().ok_or_else(|| StoreError::Invalid {
        reason: "the store has neither checksums nor lists of receipts, so it can neither be verified nor exported; \
                 use a store that implements AuditStore"
            .into(),
    })
}

#[async_trait]
impl<S: FollowerStore + ?Sized> FollowerStore for Arc<S> {
    async fn tracking(&self, follower: &Name, upstream: LogId) -> Result<Position, StoreError> {
        (**self).tracking(follower, upstream).await
    }

    async fn followers(&self, query: FollowersQuery) -> Result<Vec<FollowerPosition>, StoreError> {
        (**self).followers(query).await
    }

    async fn notes(&self, query: NotesQuery) -> Result<FollowerNotes, StoreError> {
        (**self).notes(query).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease, StoreError> {
        (**self).lease(request).await
    }

    async fn lease_holder(
        &self,
        follower: &Name,
        upstream: LogId,
    ) -> Result<Option<LeaseHolder>, StoreError> {
        (**self).lease_holder(follower, upstream).await
    }

    async fn release(
        &self,
        follower: &Name,
        upstream: LogId,
        token: LeaseToken,
    ) -> Result<(), StoreError> {
        (**self).release(follower, upstream, token).await
    }

    fn database(&self) -> Option<Arc<dyn Database>> {
        (**self).database()
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        (**self).audit()
    }
}
