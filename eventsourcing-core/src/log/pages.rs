//! [`LogPages`]: the log page by page. While the program processes one page, the next one is read.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};

use crate::store::{
    Epoch, EventRef, EventStore, KnownPlace, LogPage, LogQuery, Position, StoreError,
};

/// The pages of a log from a position on, in order. After a full page the next one is read ahead:
/// the store and the program work at the same time, and at most one page is held that was not asked
/// for yet.
///
/// The pages belong to one epoch of the log. If the store may have lost events, the last event that
/// was returned is compared with the log as it is now: if the log still has the event, the pages
/// continue after it, without a gap; otherwise they end in [`StoreError::LogWentBack`].
///
/// `LogPages` is made for reading much of a log at once. To get each event as it is recorded, use a
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
/// let mut pages = app.log_pages(LogQuery::after(Position::ZERO).limit(1));
/// let mut events = 0;
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
    /// The query for the next page, with the epoch in which its place is proven; without one before
    /// the first page.
    query: LogQuery,
    /// The last event of the pages that were returned, or the place where they began.
    known: KnownPlace,
    /// The value of `known` before the last page was returned.
    before: KnownPlace,
    /// The next page, if it has been read.
    read: Option<LogPage>,
    /// The page after `read`, which is being read ahead.
    ahead: Option<Ahead>,
}

/// A page that is being read by a task. Dropping it ends the task.
struct Ahead(JoinHandle<Result<LogPage, StoreError>>);

impl LogPages {
    /// Returns the pages of the events of `store` that match `query`. The query's limit is the size
    /// of a page.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, query: LogQuery) -> Self {
        let known = KnownPlace::new(query.after, None);
        Self::after_place(store, query, known)
    }

    /// Like [`new`](Self::new), for callers that remember the last event and not only its position:
    /// the pages begin after the event if the log still has it.
    #[must_use]
    pub fn after_event(store: Arc<dyn EventStore>, query: LogQuery, last: EventRef) -> Self {
        Self::after_place(store, query, KnownPlace::new(last.position, Some(last)))
    }

    /// Returns the pages after a place that is already proven in `epoch`.
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

    /// Returns the position after which the next page begins.
    #[must_use]
    pub fn after(&self) -> Position {
        self.query.after
    }

    /// Returns the next page. A page without events whose ceiling is that of the page before marks
    /// the end of the log for now: [`EventStore::wait_beyond`] tells when there is more. Dropping
    /// the future loses no event.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: the log has lost events that were read from it. Other errors as
    /// [`EventStore::read_log`]. The next call reads the same page again.
    pub async fn next(&mut self) -> Result<LogPage, StoreError> {
        loop {
            if self.is_outdated() {
                self.prove().await?;
            }
            match self.next_in_epoch().await {
                // The store has begun another epoch between the proof and the read. Without an
                // epoch the next round proves the place anew, so the loop ends unless epochs keep
                // changing.
                Err(StoreError::OutdatedEpoch { .. }) => self.query.epoch = None,
                page => return page,
            }
        }
    }

    /// Returns `true` if another epoch has begun since the last page.
    pub(crate) fn is_outdated(&self) -> bool {
        self.query.epoch != Some(self.store.epoch())
    }

    /// Returns the epoch of the last page; `None` before the first one.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.query.epoch
    }

    /// Returns the last event that was returned before the last page.
    pub(crate) fn before(&self) -> KnownPlace {
        self.before
    }

    /// Continues after `last`, an event of the last page. A caller that takes the events of a page
    /// one by one has not seen those after it.
    pub(crate) fn return_to(&mut self, last: KnownPlace) {
        self.known = last;
        self.query.epoch = None;
    }

    /// Checks that the log still has the last event that was returned, and discards pages that were
    /// read ahead.
    async fn prove(&mut self) -> Result<(), StoreError> {
        // Pages read ahead belong to the epoch that has ended and may have events that were lost.
        self.read = None;
        self.ahead = None;
        let proof = self.known.verify(&*self.store).await?;
        self.known.event = self.known.event.or(proof.event);
        self.query.after = self.known.position;
        self.query.epoch = Some(proof.epoch);
        Ok(())
    }

    async fn next_in_epoch(&mut self) -> Result<LogPage, StoreError> {
        if self.read.is_none() {
            let page = self.read().await?;
            self.ahead = self.read_behind(&page);
            self.read = Some(page);
            // The spawned task cannot run before this one gives up its thread. Yielding once lets
            // the task send its query before the caller processes this page; otherwise nothing
            // would be read ahead.
            if self.ahead.is_some() {
                yield_now().await;
            }
        }
        // The page stays in `self.read` until here: a caller that drops the future at one of the
        // awaits above gets the same page from the next call.
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
                Err(error) => Err(StoreError::unavailable(
                    "reading the log page was interrupted",
                    error,
                )),
            },
            None => self.store.read_log(self.query.clone()).await,
        }
    }

    /// Begins to read the page after a full one. Outside a tokio runtime no task can be spawned, so
    /// nothing is read ahead.
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
