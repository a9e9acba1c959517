//! [`Projection`]: build a read model from another application's events.

use std::error::Error;

use crate::{Aggregate, Recorded};

/// Builds a read model in memory from the events of `A`.
///
/// It is made with `Default` and sees the whole log each time the system starts, then every further event, in order
/// and once. It is read while it is written, so it keeps its data behind a lock of its own.
pub trait Projection<A: Aggregate>: Send + Sync + 'static {
    /// Why it may fail. A failure stops the projection at the event.
    type Error: Error + Send + Sync + 'static;

    /// Takes one event into the read model. Runs again for an event it failed on, if the system is started again.
    fn project(&self, event: &Recorded<A>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
