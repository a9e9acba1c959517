//! [`Health`]: the state of the followers of a running system, for people and programs that monitor
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::{FollowerFailure, RebuildProgress};
use crate::store::{Acknowledged, HolderId, LogHolder, LogId, Name, Position};

/// The reaction of a follower to an event that its policy or projection fails to process.
///
/// In each case the work for earlier events stands, nothing of the failed event's own work is
/// written, and no event is skipped silently. An event that this release [does not
/// know](FollowerState::WaitingForRelease) is not a failure of this kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Stops before the event until the follower is [resumed](crate::RunningSystem::resume) or the
    /// system is started again: for mistakes, which waiting does not fix.
    #[default]
    Stop,
    /// Retries, with waits that grow to five seconds, until it succeeds: for causes that pass by
    /// themselves. The inline runner retries with each save.
    Retry,
    /// Parks the event (a dead letter), holds back the later events of the same aggregate, and goes
    /// on with all others. A parked event stays in the store until it is [retried or
    /// discarded](crate::RunningSystem::parking). A timer is parked in the same way, and nothing
    /// waits behind it. A follower that has parked 10,000 aggregates, or as many timers, stops: so
    /// many failures have a cause that lies outside the events.
    Park,
}

/// The state of a running system.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The followers in the order of declaration; a follower of several logs has one entry for each
    /// log.
    pub followers: Vec<FollowerHealth>,
    /// The appends that have been under way for long. Until such an append ends, no follower sees
    /// the events written behind it, and the head of each follower is the end of the events that it
    /// sees.
    pub log_holders: Vec<LogHolder>,
    /// The accidents that an acknowledged command survives, for each log that an application writes
    /// to. This field says nothing about followers: a system on one machine can be
    /// [healthy](Self::is_healthy).
    pub acknowledged: BTreeMap<LogId, Acknowledged>,
}

/// The state of one follower on one log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerHealth {
    /// The name of the follower.
    pub name: Name,
    /// The position up to which all events are processed.
    pub position: Position,
    /// The end of the followed log.
    pub head: Position,
    /// The number of events that are still to be processed.
    pub lag: u64,
    /// The number of aggregates that the follower has parked. Each has at least one event that
    /// waits to be retried or discarded.
    pub parked: u64,
    /// The number of timers that the follower has parked.
    pub parked_timers: u64,
    /// The age of the first event that is not processed yet, on the clock of the application; zero
    /// if there is none.
    pub behind: Duration,
    /// The process that runs the follower, if it runs under a lease.
    pub holder: Option<Holder>,
    /// The progress of the next generation of a read model, if this process builds one.
    pub build: Option<RebuildProgress>,
    /// The number of timers that are pending: scheduled, and neither processed nor parked.
    pub timers: u64,
    /// The time at which the next of these timers is due, on the clock of the application.
    pub next_due: Option<Timestamp>,
    /// The state of the follower, with the failure if there is one.
    pub state: FollowerState,
}

/// A process that runs a follower.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// The id of the process, a new one each time a system is started.
    pub holder: HolderId,
    /// The process number and the host, so that people can find it.
    pub process: String,
    /// The time until another process may take over, if this one does not renew its lease any more.
    pub expires_in: Duration,
}

/// The state of a follower.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum FollowerState {
    /// The follower processes events as they come.
    #[default]
    Running,
    /// Another process runs the follower; this one takes over when that one ends.
    StandingBy {
        /// The process that runs it; `None` if none does at this moment.
        holder: Option<HolderId>,
    },
    /// The follower failed and retries.
    Retrying(FollowerFailure),
    /// The follower has met an event that this release does not know. The event is not skipped: a
    /// process with a newer release can take over at any time, and until then this process retries
    /// now and then.
    WaitingForRelease(FollowerFailure),
    /// The follower has stopped.
    ///
    /// If it failed, fix the cause, and [resume](crate::RunningSystem::resume) the follower or
    /// start the system again. If the log has lost the last event that the follower has processed
    /// ([`LogWentBack`](crate::store::StoreError::LogWentBack)),
    /// [rebuild](crate::RunningSystem::rebuild) a read model in a SQL database; for any other
    /// follower, check the effects of the lost events and then [accept the restored
    /// log](crate::RunningSystem::accept_restored_log).
    Stopped(FollowerFailure),
}

impl Health {
    /// Returns `true` if no follower has failed and nothing is parked.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let works =
            |follower: &FollowerHealth| follower.failure().is_none() && !follower.has_parked();
        self.followers.iter().all(works)
    }
}

impl FollowerHealth {
    /// Returns `true` if the follower has parked events or timers.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        self.parked > 0 || self.parked_timers > 0
    }

    /// Returns the failure of the follower, or `None` if it works.
    #[must_use]
    pub fn failure(&self) -> Option<&FollowerFailure> {
        self.state.failure()
    }
}

impl FollowerState {
    /// Returns the failure of the follower, or `None` if it works.
    #[must_use]
    pub fn failure(&self) -> Option<&FollowerFailure> {
        match self {
            Self::Running | Self::StandingBy { .. } => None,
            Self::Retrying(failure) | Self::WaitingForRelease(failure) | Self::Stopped(failure) => {
                Some(failure)
            }
        }
    }

    pub(crate) fn stopped(&self) -> Option<&FollowerFailure> {
        match self {
            Self::Stopped(failure) => Some(failure),
            Self::Running
            | Self::StandingBy { .. }
            | Self::Retrying(_)
            | Self::WaitingForRelease(_) => None,
        }
    }
}

impl fmt::Display for FollowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::StandingBy { .. } => "standing by",
            Self::Retrying(_) => "retrying",
            Self::WaitingForRelease(_) => "waiting for a newer release",
            Self::Stopped(_) => "stopped",
        })
    }
}
