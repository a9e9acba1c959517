//! Wakes tasks that wait for events, of this process or of others.
//!
//! A wake-up says that new events are possible: the writers of this process send one after each commit, and the LISTEN
//! connection passes on those of other processes. One of the waiting tasks reads the head for all of them: at each
//! wake-up, at each poll interval in case a wake-up was lost, and in shorter steps while an append under way hides
//! events.

use std::time::Duration;

use eventsourcing_core::store::{Epoch, Position, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::epochs::Epochs;
use crate::log::Log;
use crate::readers::Readers;

/// The shortest and the longest pause between two looks while the log is held back.
const HELD_BACK_MIN: Duration = Duration::from_millis(2);
const HELD_BACK_MAX: Duration = Duration::from_millis(50);

/// The channel for wake-ups.
pub(crate) type Wakeups = watch::Sender<()>;

/// The waiting tasks of a store.
pub(crate) struct Waiting {
    wakeups: Wakeups,
    epochs: Epochs,
    /// The highest position that is known to be readable, and its epoch.
    head: watch::Sender<(Epoch, Position)>,
    poll_interval: Duration,
    /// Held by the task that looks for all. Dropping its future passes the lock to another.
    turn: Mutex<()>,
}

impl Waiting {
    pub(crate) fn new(wakeups: Wakeups, epochs: Epochs, poll_interval: Duration) -> Self {
        Self {
            wakeups,
            epochs,
            head: watch::Sender::default(),
            poll_interval,
            turn: Mutex::new(()),
        }
    }

    /// Waits until an event after `position` is readable in `epoch`, or in the present one, and returns the head.
    pub(crate) async fn beyond(
        &self,
        position: Position,
        epoch: Option<Epoch>,
        log: &Log,
        readers: &Readers,
    ) -> Result<Position, StoreError> {
        let present = self.epochs.epoch();
        present.check(epoch)?;
        let mut known = self.head.subscribe();
        let is_there = |known: &(Epoch, Position)| known.0 == present && known.1 > position;
        if is_there(&known.borrow_and_update()) {
            // The known head may be outdated, so the store is asked.
            return self.head_in(present, log, readers).await;
        }
        tokio::select! {
            biased;
            () = self.epochs.ended(present) => Err(self.outdated(present)),
            head = known.wait_for(is_there) => Ok(head.expect("the sender epochs as long as this store").1),
            head = self.look(position, present, log, readers) => head,
        }
    }

    async fn head_in(
        &self,
        epoch: Epoch,
        log: &Log,
        readers: &Readers,
    ) -> Result<Position, StoreError> {
        let (current, head) = log.head(readers).await?;
        current.check(Some(epoch))?;
        Ok(head)
    }

    fn outdated(&self, asked: Epoch) -> StoreError {
        StoreError::OutdatedEpoch {
            asked,
            current: self.epochs.epoch(),
        }
    }

    async fn look(
        &self,
        position: Position,
        epoch: Epoch,
        log: &Log,
        readers: &Readers,
    ) -> Result<Position, StoreError> {
        let _turn = self.turn.lock().await;
        let mut wakeups = self.wakeups.subscribe();
        let mut held_back = HELD_BACK_MIN;
        loop {
            // Before the head is read: a wake-up during the read then ends the next wait at once, and none is lost.
            wakeups.mark_unchanged();
            let head = self.head_in(epoch, log, readers).await?;
            self.publish(epoch, head);
            if head > position {
                return Ok(head);
            }
            if log.is_holding_back() {
                sleep(held_back.min(self.poll_interval)).await;
                held_back = (held_back * 2).min(HELD_BACK_MAX);
                continue;
            }
            held_back = HELD_BACK_MIN;
            tokio::select! {
                _ = wakeups.changed() => {}
                () = sleep(self.poll_interval) => {}
            }
        }
    }

    fn publish(&self, epoch: Epoch, head: Position) {
        self.head.send_if_modified(|known| {
            let is_new = (epoch, head) > *known;
            *known = (epoch, head).max(*known);
            is_new
        });
    }
}
