//! Time and ids come from outside, so that whole systems can be replayed.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

/// Tells the time. An application stamps events with it; nothing is ever ordered by it.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Makes ids for aggregates and commands.
pub trait IdSource: Send + Sync + 'static {
    /// Returns an id that was never returned before.
    fn next_id(&self) -> Uuid;
}

impl<I: IdSource + ?Sized> IdSource for Arc<I> {
    fn next_id(&self) -> Uuid {
        (**self).next_id()
    }
}

/// Time-ordered random ids (UUID version 7), which keep the hot end of an index small.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
