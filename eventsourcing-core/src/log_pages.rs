//! [`LogPages`]: the log page by page. While one is dealt with, the next one is read.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};

use crate::store::{EventStore, LogPage, LogQuery, Position, StoreError};

/// The pages of a log from a position on, in order. Where a page is full, the next one is read while whoever asked deals with this
/// one: the store works and the program works, and at most one page is held that nobody has asked for yet.
///
/// For those who read much of a log at once. Whoever wants each event as it comes uses a
/// [`Subscription`](crate::Subscription).
///
/// ```
/// # use eventsourcing_core::{Aggregate, Application, MemoryStore, Recorded, Root, event};
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
///     let doors: Vec<Recorded<Door>> = page.decode()?;
///     events += doors.len();
/// }
/// assert_eq!(events, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct LogPages {
    store: Arc<dyn EventStore>,
    /// Where the next page begins.
    query: LogQuery,
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
        Self { store, query, read: None, ahead: None }
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
    /// As [`EventStore::read_log`]. The next call reads the same page again.
    pub async fn next(&mut self) -> Result<LogPage, StoreError> {
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
        let (store, query) = (Arc::clone(&self.store), LogQuery { after: page.ceiling, ..self.query.clone() });
        Some(Ahead(runtime.spawn(async move { store.read_log(query).await })))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for LogPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogPages").field("query", &self.query).finish_non_exhaustive()
    }
}
