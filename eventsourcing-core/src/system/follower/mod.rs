//! Followers: policies and projections, and the worker that runs one of them on one log.
//!
//! The worker reads a page of events, has them processed, and writes the effects and its position
//! together. Tasks, leases and stores are chosen elsewhere.

mod agreed_events;
mod causes;
mod cursor;
mod cuts;
mod declaration;
mod event_filter;
mod failure;
mod followed_events;
mod handlers;
mod page;
mod partition;
mod progress;
mod reads;
mod rewind;
mod sinks;
mod standby;
mod status;
mod timer_notes;
mod timers;
mod worker;

pub(crate) use causes::described;
pub use cursor::checksum_note;
pub(crate) use cursor::read_checksum;
pub(in crate::system) use cursor::{Cursor, NextStep};
pub(crate) use cuts::check_cut;
pub(crate) use cuts::partitions_of;
pub use declaration::{Follower, PolicyFollower, ProjectionFollower, SqlProjectionFollower};
pub(crate) use declaration::{FollowerTarget, Routes};
pub(crate) use event_filter::EventFilter;
pub(crate) use failure::StepFailure;
pub(in crate::system) use failure::describe;
pub(crate) use followed_events::FollowedEvents;
pub(crate) use handlers::SqlProjectionHandler;
pub use partition::Partition;
pub(crate) use progress::ParkedLookup;
pub(crate) use rewind::Rewound;
pub(crate) use sinks::{Handlers, PlainSink, PolicySink, Sink, catching};
pub(crate) use status::{Status, Step};
pub(in crate::system) use timer_notes::write_timer;
pub(crate) use timers::PendingTimers;
pub(crate) use worker::{FollowerWorker, WorkerSettings};

/// The maximum number of events in a page. Two pages are in memory: the one that is processed, and
/// the one that is read ahead.
pub(in crate::system) const EVENTS_PER_PAGE_MAX: usize = 256;
/// The maximum number of streams, and of timers, that a follower parks before it stops. So many
/// failures have a cause that lies outside the events, such as a mistake in the handler, and
/// parking more would only move the whole log into notes.
pub(in crate::system) const PARKED_STREAMS_MAX: usize = 10_000;
