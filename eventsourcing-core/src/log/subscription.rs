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

/// The events of a log from a position on, in order and each once: first those there are, then every further one as it
/// is recorded.
///
/// It reads at most one page beyond the one whose events are taken, so a slow reader is never flooded. While the store does not answer
/// it waits and tries again, unless the store can [never be used again](EventStore::fault). It ends when [`SubscriptionHandle::stop`] is called or it is dropped, or with [`StoreError::LogWentBack`] when the log has lost
/// the last event that was taken; as long as the log has it, the subscription goes on behind it. To go on later, remember the last
/// event as an [`EventRef`] and subscribe [after it](Self::after_event), or at least its position.
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

/// Ends a [`Subscription`] from elsewhere.
#[derive(Clone, Debug)]
pub struct SubscriptionHandle(Arc<watch::Sender<bool>>);

impl Subscription {
    /// The events of `store` that `query` wants. The query's limit is the size of the pages that are read.
    #[must_use]
    pub fn new(store: impl EventStore, query: LogQuery) -> Self {
        let known = KnownPlace::new(query.after, None);
        Self::after_place(Arc::new(store), query, known)
    }

    /// As [`new`](Self::new), for whoever remembers which event was the last one and not only where it was: the subscription begins
    /// behind it if the log still has it.
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

    /// The next event, as soon as there is one; nothing once it has ended. Dropping the future loses no event.
    ///
    /// # Errors
    /// [`StoreError::LogWentBack`]: the log has lost events that were taken; this ends the subscription. Others: the log cannot
    /// be read, and waiting will not help. The next call tries again.
    pub async fn next(&mut self) -> Option<Result<StoredEvent, StoreError>> {
        std::future::poll_fn(|context| self.events.as_mut().poll_next(context)).await
    }

    /// What ends this subscription from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> SubscriptionHandle {
        SubscriptionHandle(Arc::clone(&self.stop))
    }
}

impl SubscriptionHandle {
    /// Ends the subscription, also while it waits. Events that were not taken yet are not delivered.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

struct Reader {
    store: Arc<dyn EventStore>,
    pages: LogPages,
    /// What was read and not yet taken.
    page: VecDeque<StoredEvent>,
    /// The last event that was taken, or what was known where the subscription began.
    taken: KnownPlace,
    has_ended: bool,
    backoff: Backoff,
}

impl Reader {
    /// `None`: it has ended.
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

    /// The next event of the page, unless the log may have lost it.
    fn take(&mut self) -> Option<StoredEvent> {
        if !self.page.is_empty() && self.pages.is_outdated() {
            self.page.clear();
            self.pages.return_to(self.taken);
        }
        let event = self.page.pop_front()?;
        self.taken = KnownPlace::of(&event, self.store.log_id());
        Some(event)
    }

    /// Reads the next page, or waits until it makes sense to read again.
    async fn read(&mut self) -> Result<(), StoreError> {
        let after = self.pages.after();
        let page = self.pages.next().await?;
        if page.events.is_empty() && page.ceiling == after {
            match self.store.wait_beyond(after, self.pages.epoch()).await {
                // The next page tells whether the log has gone back.
                Ok(_) | Err(StoreError::OutdatedEpoch { .. }) => {}
                Err(error) => return Err(error),
            }
        }
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
