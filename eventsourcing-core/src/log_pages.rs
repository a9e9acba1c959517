//! [`LogPages`]: the log page by page. While one is dealt with, the next one is read.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

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
    ahead: Option<Ahead>,
}

/// A page that is being read. Dropped, it is read no further.
struct Ahead(JoinHandle<Result<LogPage, StoreError>>);

impl LogPages {
    /// The events of `store` that `query` wants. The query's limit is the size of the pages.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, query: LogQuery) -> Self {
        Self { store, query, ahead: None }
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
        let page = match self.ahead.take() {
            Some(mut ahead) => match (&mut ahead.0).await {
                Ok(page) => page?,
                Err(error) => return Err(StoreError::unavailable("a read was broken off", error)),
            },
            None => self.store.read_log(self.query.clone()).await?,
        };
        self.query.after = page.ceiling;
        // Outside of a runtime nothing can be done besides.
        if page.events.len() >= self.query.limit.max(1)
            && let Ok(runtime) = Handle::try_current()
        {
            let (store, query) = (Arc::clone(&self.store), self.query.clone());
            self.ahead = Some(Ahead(runtime.spawn(async move { store.read_log(query).await })));
        }
        Ok(page)
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
