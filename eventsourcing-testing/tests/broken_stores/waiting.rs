//! Stores that wake their readers wrongly.

use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use eventsourcing_core::store::{Epoch, EventStore, MemoryStore, Position, StoreError};

use super::flawed_store::Flaw;

/// A store that loses a notification and never polls.
#[derive(Default)]
pub(crate) struct NeverWakes;

#[async_trait]
impl Flaw for NeverWakes {
    async fn wait_beyond(
        &self,
        store: &MemoryStore,
        position: Position,
        _: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        match store.head().await? {
            head if head > position => Ok(head),
            _ => pending().await,
        }
    }
}

#[derive(Default)]
pub(crate) struct WakesForNothing;

#[async_trait]
impl Flaw for WakesForNothing {
    async fn wait_beyond(
        &self,
        store: &MemoryStore,
        _: Position,
        _: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        store.head().await
    }
}

#[derive(Default)]
pub(crate) struct WaitsForTheNextEvent;

#[async_trait]
impl Flaw for WaitsForTheNextEvent {
    async fn wait_beyond(
        &self,
        store: &MemoryStore,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        let head = store.head().await?;
        store.wait_beyond(head.max(position), epoch).await
    }
}

/// A store that checks for new events, and only then begins to listen.
#[derive(Default)]
pub(crate) struct LooksAwayBeforeWaiting;

#[async_trait]
impl Flaw for LooksAwayBeforeWaiting {
    async fn wait_beyond(
        &self,
        store: &MemoryStore,
        position: Position,
        epoch: Option<Epoch>,
    ) -> Result<Position, StoreError> {
        let head = store.head().await?;
        if head > position {
            return Ok(head);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        store.wait_beyond(store.head().await?, epoch).await
    }
}
