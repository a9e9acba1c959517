//! [`AcceptedLog`]: where a follower goes on in a log that was restored to an earlier moment.

use std::fmt;

use crate::store::{LogId, Name, Position};

/// A follower that goes on in a log that was restored to an earlier moment. From
/// [`RunningSystem::accept_restored_log`](crate::RunningSystem::accept_restored_log).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedLog {
    /// The name under which the follower, or this partition of it, keeps its position.
    pub follower: Name,
    /// The log.
    pub log: LogId,
    /// The position of the follower before.
    pub from: Position,
    /// The position of the follower now: that of the last event that still counts as processed, or
    /// zero if it starts over.
    pub to: Position,
    /// The number of events that the follower had processed or parked and that no longer count: the
    /// log has lost them, or they are processed again.
    pub events: u64,
}

impl fmt::Display for AcceptedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            follower,
            from,
            to,
            events,
            ..
        } = self;
        let plural = if *events == 1 { "" } else { "s" };
        write!(
            f,
            "{follower} goes on after position {to}; it was at {from}, and had processed {events} event{plural} in between"
        )
    }
}
