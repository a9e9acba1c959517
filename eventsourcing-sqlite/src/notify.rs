//! Wakes tasks that wait for events, of this process or of others.
//!
//! The writer of this process publishes the head after each commit. Commits of other processes are found by reading the
//! head every poll interval, only while tasks wait, and by one of them for all.

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{Position, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::read;
use crate::readers::Readers;

/// The highest position that is known to be readable.
#[derive(Clone)]
pub(crate) struct Head(Arc<watch::Sender<Position>>);

impl Head {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Position::ZERO)))
    }

    pub(crate) fn publish(&self, head: Position) {
        self.0.send_if_modified(|known| {
            let is_new = head > *known;
            *known = head.max(*known);
            is_new
        });
    }
}

/// The waiting tasks of a store.
pub(crate) struct Waiting {
    head: Head,
    watcher: Readers,
    poll_interval: Duration,
    /// Held by the task that polls for all. Dropping its future passes the lock to another.
    turn: Mutex<()>,
}

impl Waiting {
    pub(crate) fn new(head: Head, watcher: Readers, poll_interval: Duration) -> Self {
        Self {
            head,
            watcher,
            poll_interval,
            turn: Mutex::new(()),
        }
    }

    /// Waits until an event after `position` is readable and returns the head.
    pub(crate) async fn beyond(&self, position: Position) -> Result<Position, StoreError> {
        let mut known = self.head.0.subscribe();
        tokio::select! {
            biased;
            head = known.wait_for(|head| *head > position) => {
                Ok(*head.expect("the sender lives as long as this store"))
            }
            head = self.look(position) => head,
        }
    }

    pub(crate) async fn close(&self) {
        self.watcher.close().await;
    }

    async fn look(&self, position: Position) -> Result<Position, StoreError> {
        let _turn = self.turn.lock().await;
        loop {
            let head = self.watcher.run(read::head).await?;
            self.head.publish(head);
            if head > position {
                return Ok(head);
            }
            sleep(self.poll_interval).await;
        }
    }
}
