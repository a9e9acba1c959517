use std::convert::Infallible;
use std::sync::{PoisonError, RwLock};

use eventsourcing_core::store::{Position, Version};
use eventsourcing_core::{Id, Projection, Recorded};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::account::{Account, AccountEvent};

/// What happened in the bank, newest first.
#[derive(Debug, Default)]
pub struct ActivityFeed {
    oldest_first: RwLock<Vec<Activity>>,
}

/// One line of the feed: everything about an event of an account.
#[derive(Clone, Debug, Serialize)]
pub struct Activity {
    pub name: &'static str,
    pub account: Id<Account>,
    pub version: Version,
    pub position: Position,
    pub recorded_at: Timestamp,
    pub payload: AccountEvent,
}

impl ActivityFeed {
    /// The newest lines, newest first.
    pub fn newest(&self, limit: usize) -> Vec<Activity> {
        let lines = self.oldest_first.read().unwrap_or_else(PoisonError::into_inner);
        lines.iter().rev().take(limit).cloned().collect()
    }
}

impl Projection<Account> for ActivityFeed {
    type Error = Infallible;

    async fn project(&self, event: &Recorded<Account>) -> Result<(), Infallible> {
        let line = Activity {
            name: event.name(),
            account: event.aggregate_id,
            version: event.version,
            position: event.position,
            recorded_at: event.recorded_at,
            payload: event.payload.clone(),
        };
        self.oldest_first.write().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(())
    }
}
