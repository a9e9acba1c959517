//! [`Health`]: how the followers of a running system are doing, for people and programs that watch it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::{BuildProgress, FollowerFailure};
use crate::store::{Acknowledged, HolderId, LogHolder, LogId, Name, Position};

/// What a follower does about an event that its policy or projection cannot deal with.
///
/// In any case what came before the event stands, nothing of the event's own work is written, and nothing is skipped
/// silently. An event that this release [does not know](FollowerState::WaitingForRelease) is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Stops before the event until it is [resumed](crate::RunningSystem::resume) or the system is started again: for mistakes,
    /// which waiting does not mend.
    #[default]
    Stop,
    /// Tries again, with waits that grow to five seconds, until it succeeds: for causes that pass by themselves.
    /// The inline runner tries again with each save.
    Retry,
    /// Puts the event aside, holds back the later events of the same aggregate, and goes on with all others. What is
    /// parked is kept in the store until somebody [deals with it](crate::RunningSystem::parking). A timer is put aside in the same way,
    /// and nothing waits behind it. A follower that has parked 10,000 aggregates, or as many timers, stops: then it is not the
    /// events that are wrong.
    Park,
}

/// How the followers of a running system are doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Each follower, in the order of declaration; one that follows several logs once for each.
    pub followers: Vec<FollowerHealth>,
    /// The appends that have held back a followed log for long. While one does, no follower sees what was written behind
    /// it, and each has the end of what it sees as its head.
    pub log_holders: Vec<LogHolder>,
    /// The accidents that an acknowledged command survives, for each log that an application writes to. It says nothing
    /// about followers: a system on one machine can be [healthy](Self::is_healthy).
    pub acknowledged: BTreeMap<LogId, Acknowledged>,
}

/// How one follower is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerHealth {
    /// Its name.
    pub name: Name,
    /// Everything up to here is dealt with.
    pub position: Position,
    /// The end of the log it follows.
    pub head: Position,
    /// How many events wait for it.
    pub lag: u64,
    /// How many aggregates it has parked, with at least one event that waits for somebody to deal with it.
    pub parked: u64,
    /// How many timers it has parked.
    pub parked_timers: u64,
    /// How long the first event it has not dealt with has been waiting, on the clock of the application; zero if
    /// there is none.
    pub behind: Duration,
    /// The process that runs it, if it is run under a lease.
    pub holder: Option<Holder>,
    /// How far the next generation of a read model is, if one is being built in this process.
    pub build: Option<BuildProgress>,
    /// How many timers it has scheduled that it has neither dealt with nor parked.
    pub timers: u64,
    /// When the first of them is due, by the clock of the application.
    pub next_due: Option<Timestamp>,
    /// Whether it works, and if not, why.
    pub state: FollowerState,
}

/// A process that runs a follower.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// Its id, another one each time a system is started.
    pub holder: HolderId,
    /// Where to find it: its number and its host.
    pub process: String,
    /// How long it is waited for if it gives no sign of life from now on.
    pub expires_in: Duration,
}

/// Whether a follower works.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum FollowerState {
    /// It deals with events as they come.
    #[default]
    Running,
    /// Another process runs it; this one takes over if that one ends.
    StandingBy {
        /// Who runs it; `None` if nobody does at this moment.
        holder: Option<HolderId>,
    },
    /// It failed and tries again.
    Retrying(FollowerFailure),
    /// It has met an event that this release does not know. It is not skipped: a process with a newer release can take over at
    /// any time, and until one does this one tries again now and then.
    WaitingForRelease(FollowerFailure),
    /// It failed and stopped, or the log has lost the last event it has dealt with
    /// ([`LogWentBack`](crate::store::StoreError::LogWentBack)): then a read model in a SQL database can be
    /// [built anew](crate::RunningSystem::rebuild), and any other follower can
    /// [accept](crate::RunningSystem::accept_restored_log) that, when what it made of lost events was looked at. Otherwise mend the cause, and [resume](crate::RunningSystem::resume) it or start the system again.
    Stopped(FollowerFailure),
}

impl Health {
    /// Whether all followers work, and nothing is parked.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let works =
            |follower: &FollowerHealth| follower.failure().is_none() && !follower.has_parked();
        self.followers.iter().all(works)
    }
}

impl FollowerHealth {
    /// Returns `true` if anything is parked, be it events or timers.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        self.parked > 0 || self.parked_timers > 0
    }

    /// Why it does not work, or `None` if it does.
    #[must_use]
    pub fn failure(&self) -> Option<&FollowerFailure> {
        self.state.failure()
    }
}

impl FollowerState {
    /// Why the follower does not work, or `None` if it does.
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
