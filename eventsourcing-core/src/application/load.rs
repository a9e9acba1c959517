//! Reading: aggregates as they are and as they were, their history, the log.

use std::sync::Arc;

use futures_util::future::join;
use tracing::warn;

use super::Application;
use crate::aggregate::names_of;
use crate::aggregate::root::{AnyRoot, LoadError, Loading, with_cause};
use crate::event::recorded;
use crate::store::{
    Append, EventStore, Fingerprint, Load, LogPage, LogQuery, Position, StoreError, StreamQuery,
    Version,
};
use crate::{Aggregate, ApplicationError, Id, LogPages, RecordedEvent, Root, Subscription};

/// The number of events of an aggregate that are read at once.
const EVENTS_PER_PAGE: usize = 2_000;

impl Application {
    /// Loads an aggregate as it is now.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`]: it has no events. Others as [`EventStore::load`].
    pub async fn load<A: Aggregate>(&self, id: Id<A>) -> Result<Root<A>, ApplicationError> {
        self.find(id).await?.ok_or(ApplicationError::NotFound {
            aggregate: A::NAME,
            id: id.as_uuid(),
        })
    }

    /// Loads an aggregate as it is now, if there is one.
    ///
    /// # Errors
    /// As [`EventStore::load`].
    pub async fn find<A: Aggregate>(&self, id: Id<A>) -> Result<Option<Root<A>>, ApplicationError> {
        self.load_to(id, Version::MAX).await
    }

    /// Loads an aggregate as it was at `version`. It can be looked at; saving changes to it is a conflict.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`], [`ApplicationError::NoSuchVersion`]: it has not come that far. Others as
    /// [`EventStore::load`].
    pub async fn load_at<A: Aggregate>(
        &self,
        id: Id<A>,
        version: Version,
    ) -> Result<Root<A>, ApplicationError> {
        match self.load_to(id, version).await? {
            Some(root) if root.version() == version => Ok(root),
            _ => {
                let latest = self.load(id).await?.version();
                Err(ApplicationError::NoSuchVersion {
                    aggregate: A::NAME,
                    id: id.as_uuid(),
                    asked: version,
                    latest,
                })
            }
        }
    }

    /// Pages of two lives of the log do not make one aggregate, so it is read again if another epoch has begun meanwhile.
    async fn load_to<A: Aggregate>(
        &self,
        id: Id<A>,
        to: Version,
    ) -> Result<Option<Root<A>>, ApplicationError> {
        loop {
            let epoch = self.store.epoch();
            let found = self.load_once(id, to).await;
            if self.store.epoch() == epoch {
                return Ok(found?.map(|root| root.read_in(epoch)));
            }
        }
    }

    async fn load_once<A: Aggregate>(
        &self,
        id: Id<A>,
        to: Version,
    ) -> Result<Option<Root<A>>, ApplicationError> {
        for name in names_of::<A>() {
            if let Some(root) = self.load_under(name, id, to).await? {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    /// Loads an aggregate if it stands under this name.
    async fn load_under<A: Aggregate>(
        &self,
        name: &'static str,
        id: Id<A>,
        to: Version,
    ) -> Result<Option<Root<A>>, ApplicationError> {
        match self
            .load_pages(
                Loading::new(id, name),
                to,
                Some(<A as Aggregate>::FINGERPRINT),
            )
            .await
        {
            Err(LoadError::Snapshot(error)) => {
                warn!(aggregate = name, %id, %error, "a snapshot cannot be used; reading all events");
            }
            Err(LoadError::Store(error)) => return Err(error.into()),
            Ok(root) => return Ok(root),
        }
        match self.load_pages(Loading::new(id, name), to, None).await {
            Err(LoadError::Snapshot(error)) => Err(StoreError::corrupt(
                "load: a snapshot was returned without being requested",
                error,
            )
            .into()),
            Err(LoadError::Store(error)) => Err(error.into()),
            Ok(root) => Ok(root),
        }
    }

    /// Reads the next page while one is folded. Together they are one view: what stands in a stream stays as it is.
    async fn load_pages<A: Aggregate>(
        &self,
        mut loading: Loading<A>,
        to: Version,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Option<Root<A>>, LoadError> {
        let query = Load {
            fingerprint,
            ..Load::new(loading.stream()).to(to).limit(EVENTS_PER_PAGE)
        };
        let mut page = self.store.load(query.clone()).await?;
        while page.events.len() >= EVENTS_PER_PAGE
            && let Some(last) = page.events.last().map(|event| event.version)
        {
            let next = self.store.load(
                Load {
                    fingerprint: None,
                    ..query.clone()
                }
                .after(last),
            );
            let (next, taken) = join(next, async { loading.take(page) }).await;
            taken?;
            page = next?;
        }
        loading.take(page)?;
        Ok(loading.end()?)
    }

    /// Keeps a snapshot of an aggregate as it is now, whatever the policy says.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`], or the store failed.
    pub async fn snapshot<A: Aggregate>(&self, id: Id<A>) -> Result<(), ApplicationError> {
        self.check_owns(A::NAME)?;
        let root = self.load(id).await?;
        let snapshot = root.encode_snapshot(self.settings.encoding);
        let snapshot = snapshot.map_err(|error| StoreError::Invalid {
            reason: with_cause(&error),
        })?;
        self.store
            .append(
                Append::new(self.now())
                    .with_snapshot(snapshot)
                    .in_epoch(root.epoch()),
            )
            .await?;
        Ok(())
    }

    /// Everything that has happened to one aggregate, oldest first; nothing if there is no such aggregate.
    ///
    /// # Errors
    /// The store failed, or an event cannot be decoded.
    pub async fn history<A: Aggregate>(
        &self,
        id: Id<A>,
    ) -> Result<Vec<RecordedEvent<A>>, ApplicationError> {
        for name in names_of::<A>() {
            let events = self
                .store
                .read_stream(StreamQuery::new(id.stream_under(name)))
                .await?;
            if !events.is_empty() {
                return Ok(recorded::decode_all(&events)?);
            }
        }
        Ok(Vec::new())
    }

    /// A page of the log, as stored. It shows all applications that share the store.
    ///
    /// # Errors
    /// The store failed.
    pub async fn log(&self, query: LogQuery) -> Result<LogPage, ApplicationError> {
        Ok(self.store.read_log(query).await?)
    }

    /// The log page by page, from any position on: the quickest way to read much of it.
    #[must_use]
    pub fn log_pages(&self, query: LogQuery) -> LogPages {
        LogPages::new(Arc::clone(&self.store), query)
    }

    /// The log as a stream, from any position on, that waits for more. It shows all applications that share the store.
    #[must_use]
    pub fn subscribe(&self, query: LogQuery) -> Subscription {
        Subscription::new(Arc::clone(&self.store), query)
    }

    /// A page of the ids of all aggregates of one kind, in the order in which they were created.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ids<A: Aggregate>(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<IdPage<A>, ApplicationError> {
        let query = LogQuery::after(after)
            .limit(limit)
            .categories(names_of::<A>())
            .first_of_stream();
        let LogPage {
            events, ceiling, ..
        } = self.store.read_log(query).await?;
        Ok(IdPage {
            ids: events
                .iter()
                .map(|event| Id::from_uuid(event.stream.id))
                .collect(),
            ceiling,
        })
    }
}

/// A page of ids.
#[derive(Clone, Debug)]
pub struct IdPage<A> {
    /// The ids, oldest aggregate first.
    pub ids: Vec<Id<A>>,
    /// Continue after it. The last page is the first one with fewer ids than asked for.
    pub ceiling: Position,
}
