//! The log as readers see it: pages and the head, never beyond what is decided.
//!
//! All readers of a store share its ceiling. A page before the ceiling is one statement. At the end of the log one
//! round trip looks how far the ceiling may rise and reads what is there; a second one asks for the holders of the
//! appender lock, but only where a number is missing. `fences.rs` says why that is right. What matters here is the order:
//! a page reaches only as far as was decided *before* the statement began that read it.
//!
//! All of that holds for one epoch: an answer from a connection of another one is thrown away, and the fences with it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eventsourcing_core::store::{
    Epoch, LogPage, LogQuery, Position, StoreError, StoredEvent, VisibleLog,
};

use crate::address::Place;
use crate::fences::Fences;
use crate::lives::Lives;
use crate::read::{self, Seen};
use crate::readers::Readers;
use crate::session::Sessions;

/// The log of one store.
pub(crate) struct Log {
    place: Place,
    lives: Lives,
    /// What is decided in the epoch that is named: nothing of it holds in another one.
    fences: Mutex<(Epoch, Fences)>,
}

/// Another epoch has begun while something was read: what was read is not used.
struct EpochEnded;

/// Why something is not read: the epoch has ended, or an error.
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
            place: sessions.place.clone(),
            lives: sessions.lives.clone(),
            fences: Mutex::default(),
        }
    }

    /// A page whose ceiling never passes an event that could still appear.
    pub(crate) async fn page(
        &self,
        readers: &Readers,
        query: &LogQuery,
    ) -> Result<LogPage, StoreError> {
        loop {
            let epoch = self.lives.epoch();
            epoch.check(query.epoch)?;
            match self.page_in(epoch, readers, query).await {
                Ok(page) => return Ok(page),
                Err(Unread::EpochEnded) => {}
                Err(Unread::Failed(error)) => return Err(error),
            }
        }
    }

    /// The epoch, and the position of the last event that is readable.
    pub(crate) async fn head(&self, readers: &Readers) -> Result<(Epoch, Position), StoreError> {
        loop {
            let epoch = self.lives.epoch();
            match self.head_in(epoch, readers).await {
                Ok(head) => return Ok((epoch, head)),
                Err(Unread::EpochEnded) => {}
                Err(Unread::Failed(error)) => return Err(error),
            }
        }
    }

    /// The end of what is visible and the event at `position`, decided or not.
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

    /// Whether an append under way keeps events from being read.
    pub(crate) fn is_holding_back(&self) -> bool {
        self.lock().1.is_holding_back()
    }

    async fn page_in(
        &self,
        epoch: Epoch,
        readers: &Readers,
        query: &LogQuery,
    ) -> Result<LogPage, Unread> {
        // A position that a follower has recorded was decided by the process that recorded it, whatever this one has seen.
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

    /// Raises the ceiling as far as no number is missing. A log that ends before it was taken out of the hands of this store, by a
    /// restore into the running server or a DELETE: nothing that was known of it holds any more.
    fn take_note(&self, epoch: Epoch, decided: Position, seen: Seen) -> Result<(), EpochEnded> {
        if seen.highest < decided {
            let place = &self.place;
            let end = seen.highest;
            tracing::error!(%place, %decided, %end, "the log ends before what was read of it; it is read anew");
            self.lives.suspect(epoch);
            return Err(EpochEnded);
        }
        self.fences(epoch)?.advance(seen.run_end);
        self.lives.note(epoch, seen.highest);
        Ok(())
    }

    fn name_who_is_stuck(&self) {
        if let Some((age, holders)) = self.lock().1.note_stuck(Instant::now()) {
            let processes: Vec<_> = holders.iter().map(|holder| holder.process).collect();
            let place = &self.place;
            let transactions = holders.iter().map(|holder| &holder.transaction);

            let transactions: Vec<_> = transactions.collect();
            tracing::warn!(%place, ?age, ?processes, ?transactions, "appends under way hold back the log");
        }
    }

    /// The fences of this epoch: new ones if it has just begun.
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

    /// A panic while the lock is held cannot leave the fences half changed: none of their methods panics.
    fn lock(&self) -> MutexGuard<'_, (Epoch, Fences)> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fences of an epoch, locked.
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

/// What was read, if it is of this epoch.
fn of_epoch<T>(epoch: Epoch, (read_in, answer): (Epoch, T)) -> Result<T, EpochEnded> {
    if read_in == epoch {
        Ok(answer)
    } else {
        Err(EpochEnded)
    }
}

/// The part of `events`, which begin after `query.after` and lack none that is wanted up to `ceiling`, may be shown. The
/// statement that read them began after the caller knew that `query.decided` is decided, so they lack none up to there.
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
