//! [`LogPages`]: the log page by page. While one is dealt with, the next one is read.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};

use crate::store::{
    Epoch, EventRef, EventStore, KnownPlace, LogPage, LogQuery, Position, StoreError,
};

/// The pages of a log from a position on, in order. Where a page is full, the next one is read while whoever asked deals with this
/// one: the store works and the program works, and at most one page is held that nobody has asked for yet.
///
/// The pages are of one life of the log. If the store may have lost events, the last event that was handed out is compared with
/// what the log has now: if it is still there the pages go on behind it, without a gap; otherwise they end in
/// [`StoreError::LogWentBack`].
///
/// For those who read much of a log at once. Whoever wants each event as it comes uses a
/// [`Subscription`](crate::Subscription).
///
/// ```
/// # use eventsourcing_core::{Aggregate, Application, MemoryStore, RecordedEvent, Root, event};
/// # use eventsourcing_core::store::{LogQuery, Position};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Door { open: bool }
/// # #[event] impl Door {
/// #     fn built() -> Self { Self { open: false } }
/// #     fn opened(&mut self) { self.open = true; }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let app = Application::new("doors", MemoryStore::new());
/// app.save(&mut Root::<Door>::create([DoorEvent::Built, DoorEvent::Opened])).await?;
///
/// let (mut pages, mut events) = (app.log_pages(LogQuery::after(Position::ZERO).limit(1)), 0);
/// loop {
///     let page = pages.next().await?;
///     if page.events.is_empty() {
///         break;
///     }
///     let doors: Vec<RecordedEvent<Door>> = page.decode()?;
///     events += doors.len();
/// }
/// assert_eq!(events, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct LogPages {
    store: Arc<dyn EventStore>,
    /// Where the next page begins, in the epoch in which that is proven; in none before the first page.
    query: LogQuery,
    /// The last event of the pages that were handed out, or where they began.
    known: KnownPlace,
    /// The same, before the last page was handed out.
    before: KnownPlace,
    /// The next page, if it has been read.
    read: Option<LogPage>,
    /// The one after what has been read.
    ahead: Option<Ahead>,
}

/// A page that is being read. Dropped, it is read no further.
struct Ahead(JoinHandle<Result<LogPage, StoreError>>);

impl LogPages {
    /// The events of `store` that `query` wants. The query's limit is the size of the pages.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, query: LogQuery) -> Self {
        let known = KnownPlace::new(query.after, None);
        Self::after_place(store, query, known)
    }

    /// As [`new`](Self::new), for whoever remembers which event was the last one and not only where it was: the pages begin behind
    /// it if the log still has it.
    #[must_use]
    pub fn after_event(store: Arc<dyn EventStore>, query: LogQuery, last: EventRef) -> Self {
        Self::after_place(store, query, KnownPlace::new(last.position, Some(last)))
    }

    /// The pages behind a place that is proven in this epoch.
    pub(crate) fn behind(store: Arc<dyn EventStore>, query: LogQuery, epoch: Epoch) -> Self {
        let known = KnownPlace::new(query.after, None);
        let mut pages = Self::after_place(store, query, known);
        pages.query.epoch = Some(epoch);
        pages
    }

    pub(crate) fn after_place(
        store: Arc<dyn EventStore>,
        query: LogQuery,
        known: KnownPlace,
    ) -> Self {
        let query = LogQuery {
            after: known.position,
            epoch: None,
            ..query
        };
        Self {
            store,
            query,
            known,
            before: known,
            read: None,
            ahead: None,
        }
    }

    /// After which position the next page begins.
    #[must_use]
    pub fn after(&self) -> Position {
        self.query.after
    }

    /// The next page. One without events and with the ceiling of the one before is the end of the log for now:
    /// [`EventStore::wait_beyond`] tells when there is more. Dropping the future loses no event.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: the log has lost what was read from it. Others as [`EventStore::read_log`]. The next call
    /// reads the same page again.
    pub async fn next(&mut self) -> Result<LogPage, StoreError> {
        loop {
            if self.is_outdated() {
                self.prove().await?;
            }
            match self.next_in_epoch().await {
                Err(StoreError::OutdatedEpoch { .. }) => self.query.epoch = None,
                page => return page,
            }
        }
    }

    /// Returns `true` if another epoch has begun since the last page.
    pub(crate) fn is_outdated(&self) -> bool {
        self.query.epoch != Some(self.store.epoch())
    }

    /// The epoch of the last page; `None` before the first one.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.query.epoch
    }

    /// The last event that was handed out before the last page.
    pub(crate) fn before(&self) -> KnownPlace {
        self.before
    }

    /// Goes on behind `last`, an event of the last page: whoever takes the events of a page one by one has not had those after it.
    pub(crate) fn return_to(&mut self, last: KnownPlace) {
        (self.known, self.query.epoch) = (last, None);
    }

    /// Finds out whether the log still has what was handed out, and forgets what was not.
    async fn prove(&mut self) -> Result<(), StoreError> {
        (self.read, self.ahead) = (None, None);
        let proof = self.known.verify(&*self.store).await?;
        self.known.event = self.known.event.or(proof.event);
        (self.query.after, self.query.epoch) = (self.known.position, Some(proof.epoch));
        Ok(())
    }

    async fn next_in_epoch(&mut self) -> Result<LogPage, StoreError> {
        if self.read.is_none() {
            let page = self.read().await?;
            self.ahead = self.read_behind(&page);
            self.read = Some(page);
            // A task that was spawned here waits for this thread. It is to ask the store before the page is dealt with.
            if self.ahead.is_some() {
                yield_now().await;
            }
        }
        let page = self.read.take().expect("it has just been read");
        self.query.after = page.ceiling;
        self.before = self.known;
        if let Some(last) = page.events.last() {
            self.known = KnownPlace::of(last, self.store.log_id());
        }
        Ok(page)
    }

    async fn read(&mut self) -> Result<LogPage, StoreError> {
        match self.ahead.take() {
            Some(mut ahead) => match (&mut ahead.0).await {
                Ok(page) => page,
                Err(error) => Err(StoreError::unavailable("a read was broken off", error)),
            },
            None => self.store.read_log(self.query.clone()).await,
        }
    }

    /// Begins to read what follows a full page. Outside of a runtime nothing can be done besides.
    fn read_behind(&self, page: &LogPage) -> Option<Ahead> {
        let is_full = page.events.len() >= self.query.limit.max(1);
        let runtime = Handle::try_current().ok().filter(|_| is_full)?;
        let store = Arc::clone(&self.store);
        let query = LogQuery {
            after: page.ceiling,
            ..self.query.clone()
        };

        Some(Ahead(
            runtime.spawn(async move { store.read_log(query).await }),
        ))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for LogPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogPages")
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}
