//! The log as readers see it: pages and the head, never beyond the decided positions.
//!
//! All readers of a store share its ceiling. A page before the ceiling is one statement. At the end of the log one
//! round trip determines how far the ceiling may rise, and reads the events there; a second round trip lists the
//! holders of the appender lock, but only where a number is missing. `fences.rs` proves that this is right. The order
//! matters here: a page extends only to the position that was decided *before* the statement began that read it.
//!
//! All of that holds within one epoch: an answer from a connection of another epoch is discarded, and the fences with
//! it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eventsourcing_core::store::{
    Epoch, LogPage, LogQuery, Position, StoreError, StoredEvent, VisibleLog,
};

use crate::address::Endpoint;
use crate::epochs::Epochs;
use crate::fences::Fences;
use crate::read::{self, Seen};
use crate::readers::Readers;
use crate::session::Sessions;

/// The log of one store.
pub(crate) struct Log {
    endpoint: Endpoint,
    epochs: Epochs,
    /// The fences of the given epoch. Their conclusions do not hold in another epoch.
    fences: Mutex<(Epoch, Fences)>,
}

/// Another epoch began during a read, so the answer is discarded.
struct EpochEnded;

/// The reason why a read has no answer.
enum Unread {
    EpochEnded,
    Failed(StoreError),
}

impl From<EpochEnded> for Unread {
    fn from(EpochEnded: EpochEnded) -> Self {
        Self::EpochEnded
    }
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Log {
    pub(crate) fn new(sessions: &Sessions) -> Self {
        Self {
            endpoint: sessions.endpoint.clone(),
            epochs: sessions.epochs.clone(),
            fences: Mutex::default(),
        }
    }

    /// Returns a page whose ceiling never passes an event that may still appear.
    pub(crate) async fn page(
        &self,
        readers: &Readers,
        query: &LogQuery,
    ) -> Result<LogPage, StoreError> {
        loop {
            let epoch = self.epochs.epoch();
            epoch.check(query.epoch)?;
            match self.page_in(epoch, readers, query).await {
                Ok(page) => return Ok(page),
                Err(Unread::EpochEnded) => {}
                Err(Unread::Failed(error)) => return Err(error),
            }
        }
    }

    /// Returns the epoch, and the position of the last readable event.
    pub(crate) async fn head(&self, readers: &Readers) -> Result<(Epoch, Position), StoreError> {
        loop {
            let epoch = self.epochs.epoch();
            match self.head_in(epoch, readers).await {
                Ok(head) => return Ok((epoch, head)),
                Err(Unread::EpochEnded) => {}
                Err(Unread::Failed(error)) => return Err(error),
            }
        }
    }

    /// Returns the end of the visible log and the event at `position`, decided or not.
    pub(crate) async fn visible(
        &self,
        readers: &Readers,
        position: Position,
    ) -> Result<VisibleLog, StoreError> {
        let reading = readers.run_in_epoch(&position, |client, at| {
            Box::pin(read::event_then_end(client, *at))
        });
        let (epoch, (event, end)) = reading.await?;
        Ok(VisibleLog { epoch, end, event })
    }

    /// Returns `true` if an append under way hides events from readers.
    pub(crate) fn is_holding_back(&self) -> bool {
        self.lock().1.is_holding_back()
    }

    async fn page_in(
        &self,
        epoch: Epoch,
        readers: &Readers,
        query: &LogQuery,
    ) -> Result<LogPage, Unread> {
        // A position that a follower has recorded was decided by the process that recorded it, even if this process has
        // not seen it.
        let decided = self.fences(epoch)?.decided().max(query.decided);
        if query.after < decided {
            let wanted = (query, decided);
            let reading = readers.run_in_epoch(&wanted, |client, (query, decided)| {
                Box::pin(read::log(client, query, *decided))
            });
            let page = page_of(of_epoch(epoch, reading.await?)?, query, decided, epoch);
            if page.events.len() >= query.limit.max(1) {
                return Ok(page);
            }
        }
        self.page_at_end(epoch, readers, query).await
    }

    async fn head_in(&self, epoch: Epoch, readers: &Readers) -> Result<Position, Unread> {
        let decided = self.fences(epoch)?.decided();
        let reading = readers.run_in_epoch(&decided, |client, decided| {
            Box::pin(read::seen(client, *decided))
        });
        let seen = of_epoch(epoch, reading.await?)?;
        self.take_note(epoch, decided, seen)?;
        if seen.run_end < seen.highest {
            // The probe is taken before the list is requested, so that the list cannot strike a fence made later: such a
            // fence may name holders that came after the list.
            let probe = self.fences(epoch)?.begin(seen.highest);
            let reading = readers.run_in_epoch(&(), |client, ()| Box::pin(read::holders(client)));
            let holders = of_epoch(epoch, reading.await?)?;
            self.fences(epoch)?.settle(probe, &holders);
            self.name_who_is_stuck();
        }
        Ok(self.fences(epoch)?.decided())
    }

    async fn page_at_end(
        &self,
        epoch: Epoch,
        readers: &Readers,
        query: &LogQuery,
    ) -> Result<LogPage, Unread> {
        let decided = self.fences(epoch)?.decided();
        let wanted = (decided, query);
        let reading = readers.run_in_epoch(&wanted, |client, (decided, query)| {
            Box::pin(read::seen_then_log(client, *decided, query))
        });
        let (seen, events) = of_epoch(epoch, reading.await?)?;
        self.take_note(epoch, decided, seen)?;
        if seen.run_end >= seen.highest {
            return Ok(page_of(events, query, seen.run_end, epoch));
        }
        self.page_before_hole(epoch, readers, query, seen.highest)
            .await
    }

    async fn page_before_hole(
        &self,
        epoch: Epoch,
        readers: &Readers,
        query: &LogQuery,
        highest: Position,
    ) -> Result<LogPage, Unread> {
        let probe = self.fences(epoch)?.begin(highest);
        let reading = readers.run_in_epoch(query, |client, query| {
            Box::pin(read::holders_then_log(client, query))
        });
        let (holders, events) = of_epoch(epoch, reading.await?)?;
        let ceiling = self.fences(epoch)?.settle(probe, &holders);
        self.name_who_is_stuck();
        Ok(page_of(events, query, ceiling, epoch))
    }

    /// Raises the ceiling up to the first missing number. A log that ends before the ceiling was changed behind this
    /// store's back, by a restore into the running server or a DELETE: all conclusions about it are discarded.
    fn take_note(&self, epoch: Epoch, decided: Position, seen: Seen) -> Result<(), EpochEnded> {
        if seen.highest < decided {
            let endpoint = &self.endpoint;
            let end = seen.highest;
            tracing::error!(%endpoint, %decided, %end, "the log ends before a position that was read; reading it from the start of a new epoch");
            self.epochs.suspect(epoch);
            return Err(EpochEnded);
        }
        self.fences(epoch)?.advance(seen.run_end);
        self.epochs.note(epoch, seen.highest);
        Ok(())
    }

    fn name_who_is_stuck(&self) {
        if let Some((age, holders)) = self.lock().1.note_stuck(Instant::now()) {
            let processes: Vec<_> = holders.iter().map(|holder| holder.process).collect();
            let endpoint = &self.endpoint;
            let transactions = holders.iter().map(|holder| &holder.transaction);

            let transactions: Vec<_> = transactions.collect();
            tracing::warn!(%endpoint, ?age, ?processes, ?transactions, "appends under way hold back the log");
        }
    }

    /// Returns the fences of this epoch, which are new if it has just begun.
    fn fences(&self, epoch: Epoch) -> Result<FencesGuard<'_>, EpochEnded> {
        let mut fences = self.lock();
        if fences.0 < epoch {
            *fences = (epoch, Fences::default());
        }
        if fences.0 == epoch {
            Ok(FencesGuard(fences))
        } else {
            Err(EpochEnded)
        }
    }

    /// A panic while the lock is held cannot leave the fences half changed, because none of their methods panics.
    fn lock(&self) -> MutexGuard<'_, (Epoch, Fences)> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The locked fences of one epoch.
struct FencesGuard<'a>(MutexGuard<'a, (Epoch, Fences)>);

impl Deref for FencesGuard<'_> {
    type Target = Fences;

    fn deref(&self) -> &Fences {
        &self.0.1
    }
}

impl DerefMut for FencesGuard<'_> {
    fn deref_mut(&mut self) -> &mut Fences {
        &mut self.0.1
    }
}

/// Returns an answer that was read in this epoch.
fn of_epoch<T>(epoch: Epoch, (read_in, answer): (Epoch, T)) -> Result<T, EpochEnded> {
    if read_in == epoch {
        Ok(answer)
    } else {
        Err(EpochEnded)
    }
}

/// Cuts the events to those that may be shown. `events` begin after `query.after` and lack none that is wanted up to
/// `ceiling`. The statement that read them began after the caller knew that `query.decided` is decided, so they lack
/// none up to there either.
fn page_of(
    mut events: Vec<StoredEvent>,
    query: &LogQuery,
    ceiling: Position,
    epoch: Epoch,
) -> LogPage {
    let ceiling = ceiling.max(query.decided);
    events.truncate(events.partition_point(|event| event.position <= ceiling));
    let ceiling = match events.last() {
        Some(last) if events.len() >= query.limit.max(1) => last.position,
        _ => ceiling.max(query.after),
    };
    LogPage {
        events,
        ceiling,
        epoch,
    }
}
