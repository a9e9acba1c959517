//! The log as readers see it: pages and the head, never beyond what is decided.
//!
//! All readers of a store share its ceiling. A page before the ceiling is one statement. At the end of the log one
//! round trip looks how far the ceiling may rise and reads what is there; a second one asks for the holders of the
//! appender lock, but only where a number is missing. `fences.rs` says why that is right. What matters here is the order:
//! a page reaches only as far as was decided *before* the statement began that read it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eventsourcing_core::store::{LogPage, LogQuery, Position, StoreError, StoredEvent};

use crate::address::Place;
use crate::fences::Fences;
use crate::read;
use crate::readers::Readers;

/// The log of one store.
pub(crate) struct Log {
    place: Place,
    fences: Mutex<Fences>,
}

impl Log {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, fences: Mutex::default() }
    }

    /// A page whose ceiling never passes an event that could still appear.
    pub(crate) async fn page(&self, readers: &Readers, query: &LogQuery) -> Result<LogPage, StoreError> {
        let decided = self.fences().decided();
        if query.after < decided {
            let wanted = (query, decided);
            let events = readers.run(&wanted, |client, (query, decided)| Box::pin(read::log(client, query, *decided)));
            let page = page_of(events.await?, query, decided);
            if page.events.len() >= query.limit.max(1) {
                return Ok(page);
            }
        }
        self.page_at_end(readers, query).await
    }

    /// The position of the last event that is readable.
    pub(crate) async fn head(&self, readers: &Readers) -> Result<Position, StoreError> {
        let decided = self.fences().decided();
        let seen = readers.run(&decided, |client, decided| Box::pin(read::seen(client, *decided))).await?;
        self.fences().advance(seen.run_end);
        if seen.run_end < seen.highest {
            let probe = self.fences().begin(seen.highest);
            let holders = readers.run(&(), |client, ()| Box::pin(read::holders(client))).await?;
            self.fences().settle(probe, &holders);
            self.name_who_is_stuck();
        }
        Ok(self.fences().decided())
    }

    /// Whether an append under way keeps events from being read.
    pub(crate) fn is_holding_back(&self) -> bool {
        self.fences().is_holding_back()
    }

    async fn page_at_end(&self, readers: &Readers, query: &LogQuery) -> Result<LogPage, StoreError> {
        let decided = self.fences().decided();
        let (seen, events) = readers
            .run(&(decided, query), |client, (decided, query)| Box::pin(read::seen_then_log(client, *decided, query)))
            .await?;
        self.fences().advance(seen.run_end);
        if seen.run_end >= seen.highest {
            return Ok(page_of(events, query, seen.run_end));
        }
        self.page_before_hole(readers, query, seen.highest).await
    }

    async fn page_before_hole(
        &self,
        readers: &Readers,
        query: &LogQuery,
        highest: Position,
    ) -> Result<LogPage, StoreError> {
        let probe = self.fences().begin(highest);
        let (holders, events) =
            readers.run(query, |client, query| Box::pin(read::holders_then_log(client, query))).await?;
        let ceiling = self.fences().settle(probe, &holders);
        self.name_who_is_stuck();
        Ok(page_of(events, query, ceiling))
    }

    fn name_who_is_stuck(&self) {
        if let Some((age, holders)) = self.fences().note_stuck(Instant::now()) {
            let processes: Vec<_> = holders.iter().map(|holder| holder.process).collect();
            let (place, transactions) = (&self.place, holders.iter().map(|holder| &holder.transaction));
            let transactions: Vec<_> = transactions.collect();
            tracing::warn!(%place, ?age, ?processes, ?transactions, "appends under way hold back the log");
        }
    }

    /// A panic while the lock is held cannot leave the fences half changed: none of their methods panics.
    fn fences(&self) -> MutexGuard<'_, Fences> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of `events`, which begin after `query.after` and lack none that is wanted up to `ceiling`, may be shown.
fn page_of(mut events: Vec<StoredEvent>, query: &LogQuery, ceiling: Position) -> LogPage {
    events.truncate(events.partition_point(|event| event.position <= ceiling));
    let ceiling = match events.last() {
        Some(last) if events.len() >= query.limit.max(1) => last.position,
        _ => ceiling.max(query.after),
    };
    LogPage { events, ceiling }
}
