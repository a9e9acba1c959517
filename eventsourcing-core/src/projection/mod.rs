//! [`Projection`] and [`SqlProjection`]: build a read model from another application's events.

mod sql;
mod table;

use std::error::Error;

pub(crate) use sql::WaitForFollower;
pub use sql::{ReadModel, SqlProjection, SqlReadModel, Tx};
use table::Names;
pub use table::Table;
pub(crate) use table::{check_tables, quoted, table_of};

use crate::{Aggregate, RecordedEvent};

/// Builds a read model in memory, or in a foreign target, from the events of `A`.
///
/// In memory (`#[projection(follows(…))]`) the read model is made with `Default` and sees the whole
/// log each time the system starts, then every further event, in order and once. It is read while
/// it is written, so it keeps its data behind a lock of its own.
///
/// A foreign target (`#[projection(foreign, follows(…))]`) is a search engine, a cache, a mail
/// server: a system that shares no transaction with a store. The projection is given with
/// [`with_projection`](crate::SystemBuilder::with_projection), and its position is kept in the
/// store that all applications share. It sees every event in order and at least once: after a
/// crash, the last ones again. Each event has its [`position`](RecordedEvent::position), which only
/// grows: a target that stores the last position can recognize events that it has already seen.
///
/// In a SQL database, [`SqlProjection`] processes each event exactly once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` follows `{A}`, but does not say what to do with its events",
    label = "write `impl Projection<{A}> for {Self}`"
)]
pub trait Projection<A: Aggregate>: Send + Sync + 'static {
    /// The error of `project`. A failure stops the projection at the event.
    type Error: Error + Send + Sync + 'static;

    /// Applies one event to the read model. An event on which it failed is applied again when the
    /// system is started again.
    fn project(
        &self,
        event: &RecordedEvent<A>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
