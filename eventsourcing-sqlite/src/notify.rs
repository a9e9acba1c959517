//! Wakes those who wait for events, whoever wrote them.
//!
//! The writer of this process publishes the head after each commit. What other processes commit is found by looking
//! at the head every poll interval, but only while somebody waits, and by one of the waiting for all of them.

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{Position, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::read;
use crate::readers::Readers;

/// The highest position known to be readable.
#[derive(Clone)]
pub(crate) struct Head(Arc<watch::Sender<Position>>);

impl Head {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Position::ZERO)))
    }

    pub(crate) fn publish(&self, head: Position) {
        self.0.send_if_modified(|known| {
            let news = head > *known;
            *known = head.max(*known);
            news
        });
    }
}

/// Where waiting happens.
pub(crate) struct Waiting {
    head: Head,
    watcher: Readers,
    poll_interval: Duration,
    /// Held by whoever looks for all. Dropping a waiting future passes it on.
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
