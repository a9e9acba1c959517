//! [`Subscription`]: the log as a stream that catches up and then waits for more.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::watch;

use crate::LogPages;
use crate::retry::{Backoff, RetryPolicy};
use crate::store::{EventRef, EventStore, KnownPlace, LogQuery, StoreError, StoredEvent};

/// The events of a log from a position on, in order and each once: first the recorded ones, then
/// every further one as it is recorded.
///
/// A subscription reads at most one page ahead of the page whose events are taken, so a slow reader
/// is never flooded. While the store is unavailable the subscription waits and retries, unless the
/// store can [never be used again](EventStore::fault). The subscription ends when
/// [`SubscriptionHandle::stop`] is called, when it is dropped, or with [`StoreError::LogWentBack`]
/// when the log has lost the last event that was taken; as long as the log has that event, the
/// subscription continues after it. To continue later, remember the last event as an [`EventRef`]
/// and subscribe [after it](Self::after_event), or at least its position.
///
/// ```
/// # use eventsourcing_core::{Aggregate, Application, MemoryStore, Root, event};
/// # use eventsourcing_core::store::{LogQuery, Position};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Aggregate, Serialize, Deserialize)] struct Door { open: bool }
/// # #[event] impl Door {
/// #     fn built() -> Self { Self { open: false } }
/// #     fn opened(&mut self) { self.open = true; }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let app = Application::new("doors", MemoryStore::new());
/// let mut opened = app.subscribe(LogQuery::after(Position::ZERO).names(["Opened"]));
///
/// let mut door = Root::<Door>::create([DoorEvent::Built, DoorEvent::Opened]);
/// app.save(&mut door).await?;
///
/// let event = opened.next().await.expect("it ends only when told to")?;
/// assert_eq!(event.stream, door.id().stream());
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Subscription {
    events: Pin<Box<dyn Stream<Item = Result<StoredEvent, StoreError>> + Send>>,
    stop: Arc<watch::Sender<bool>>,
}

/// Ends a [`Subscription`] from another task.
#[derive(Clone, Debug)]
pub struct SubscriptionHandle(Arc<watch::Sender<bool>>);

impl Subscription {
    /// Subscribes to the events of `store` that match `query`. The query's limit is the size of the
    /// pages that are read.
    #[must_use]
    pub fn new(store: impl EventStore, query: LogQuery) -> Self {
        let known = KnownPlace::new(query.after, None);
        Self::after_place(Arc::new(store), query, known)
    }

    /// Like [`new`](Self::new), for callers that remember the last event and not only its position:
    /// the subscription begins after the event if the log still has it.
    #[must_use]
    pub fn after_event(store: impl EventStore, query: LogQuery, last: EventRef) -> Self {
        Self::after_place(
            Arc::new(store),
            query,
            KnownPlace::new(last.position, Some(last)),
        )
    }

    fn after_place(store: Arc<dyn EventStore>, query: LogQuery, known: KnownPlace) -> Self {
        let (stop, stopped) = watch::channel(false);
        let backoff = RetryPolicy::UNAVAILABLE.start("subscription");
        let pages = LogPages::after_place(Arc::clone(&store), query, known);
        let reader = Reader {
            store,
            pages,
            page: VecDeque::new(),
            taken: known,
            has_ended: false,
            backoff,
        };
        let events = stream::unfold((reader, stopped), async |(mut reader, mut stopped)| {
            let event = tokio::select! {
                // The stop is polled first, so no event is delivered after `stop` has returned.
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return None,
                event = reader.next() => event?,
            };
            Some((event, (reader, stopped)))
        });
        Self {
            events: Box::pin(events),
            stop: Arc::new(stop),
        }
    }

    /// Returns the next event, as soon as there is one, or `None` once the subscription has ended.
    /// Dropping the future loses no event.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: the log has lost events that were taken; this ends the
    /// subscription. Others: the log cannot be read, and waiting will not help. The next call tries
    /// again.
    pub async fn next(&mut self) -> Option<Result<StoredEvent, StoreError>> {
        std::future::poll_fn(|context| self.events.as_mut().poll_next(context)).await
    }

    /// Returns a handle that ends this subscription from another task.
    #[must_use]
    pub fn stopper(&self) -> SubscriptionHandle {
        SubscriptionHandle(Arc::clone(&self.stop))
    }
}

impl SubscriptionHandle {
    /// Ends the subscription, also while it waits. Events that were not taken yet are not
    /// delivered.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

struct Reader {
    store: Arc<dyn EventStore>,
    pages: LogPages,
    /// The events that were read and not yet taken.
    page: VecDeque<StoredEvent>,
    /// The last event that was taken, or the place where the subscription began.
    taken: KnownPlace,
    has_ended: bool,
    backoff: Backoff,
}

impl Reader {
    /// Returns the next event; `None` once the subscription has ended.
    async fn next(&mut self) -> Option<Result<StoredEvent, StoreError>> {
        while !self.has_ended {
            if let Some(event) = self.take() {
                return Some(Ok(event));
            }
            match self.read().await {
                Ok(()) => self.backoff.reset(),
                Err(error @ StoreError::Unavailable { .. }) if self.store.fault().is_none() => {
                    if let Err(error) = self.backoff.wait(error).await {
                        return Some(Err(error));
                    }
                }
                Err(error) => {
                    self.has_ended = matches!(error, StoreError::LogWentBack { .. });
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// Takes the next event of the page, unless the log may have lost it.
    ///
    /// The rest of a page read in an earlier epoch may contain events that the store has lost. It
    /// is discarded, and the log is read again after the last event that the caller has taken.
    fn take(&mut self) -> Option<StoredEvent> {
        if !self.page.is_empty() && self.pages.is_outdated() {
            self.page.clear();
            self.pages.return_to(self.taken);
        }
        let event = self.page.pop_front()?;
        self.taken = KnownPlace::of(&event, self.store.log_id());
        Some(event)
    }

    /// Reads the next page, or waits until there is a reason to read again.
    async fn read(&mut self) -> Result<(), StoreError> {
        let after = self.pages.after();
        let page = self.pages.next().await?;
        if page.events.is_empty() && page.ceiling == after {
            match self.store.wait_beyond(after, self.pages.epoch()).await {
                // Another epoch has begun: reading the next page finds out whether the log has gone
                // back.
                Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // No event of this page is taken yet, so the subscription stands where the pages stood
        // before. Proving that place may have added the identity of its event, which `taken` must
        // know.
        if self.page.is_empty() {
            self.taken = self.pages.before();
        }
        self.page.extend(page.events);
        Ok(())
    }
}

impl Stream for Subscription {
    type Item = Result<StoredEvent, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("stopped", &*self.stop.borrow())
            .finish_non_exhaustive()
    }
}
