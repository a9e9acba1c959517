//! [`LeaseKeeper`]: takes, renews and gives back the lease of one follower.
//!
//! A lease saves work. It does not make a follower exactly once: the position does, which each
//! append checks. In addition, the fencing token keeps a process that was paused past the end of
//! its lease from writing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::membership::Membership;
use super::{LeaseConfig, this_process};
use crate::store::{
    FollowerStore, HolderId, Lease, LeaseRequest, LeaseToken, Position, StoreError,
};
use crate::system::follower::FollowerWorker;
use crate::system::notes::HolderInfo;

/// The shortest interval between looks of a process that stands by. It is woken by each write, and
/// without this pause a busy log would make it read as often as the active process writes.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// The interval at which a process that stands by asks for the lease, which may have been given
/// back before it expires.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// The lease of one follower, as this process sees it.
pub(crate) struct LeaseKeeper {
    /// `None`: the follower runs without leases.
    lease_config: Option<LeaseConfig>,
    /// The choice of the partitions that this process should run, if the follower has several.
    membership: Option<Arc<Membership>>,
    held: Option<HeldLease>,
    other: Option<OtherHolder>,
}

struct HeldLease {
    token: LeaseToken,
    renew_at: Instant,
}

struct OtherHolder {
    holder: HolderId,
    ask_at: Instant,
}

/// The process that should run the follower now.
pub(crate) enum LeaseState {
    Held,
    /// Another process runs the follower. Look again when something is written beyond `seen`, and
    /// ask for the lease at `ask_at`.
    HeldElsewhere {
        seen: Position,
        ask_at: Instant,
    },
}

impl LeaseKeeper {
    pub(crate) fn new(
        lease_config: Option<LeaseConfig>,
        membership: Option<Arc<Membership>>,
    ) -> Self {
        Self {
            lease_config,
            membership,
            held: None,
            other: None,
        }
    }

    /// Takes the lease, or renews it when a third of its duration has passed.
    pub(crate) async fn keep<S>(
        &mut self,
        worker: &FollowerWorker<S>,
    ) -> Result<LeaseState, StoreError> {
        if worker.is_observer() {
            return self.observe(worker).await;
        }
        let Some(lease_config) = self.lease_config.filter(|_| worker.is_shared()) else {
            return Ok(LeaseState::Held);
        };
        if !self.should_run(worker).await? {
            return self.observe(worker).await;
        }
        if self
            .held
            .as_ref()
            .is_some_and(|held| Instant::now() < held.renew_at)
        {
            return Ok(LeaseState::Held);
        }
        match &self.other {
            Some(other) if Instant::now() < other.ask_at => {}
            _ => self.ask(lease_config, worker).await?,
        }
        match &self.other {
            None => Ok(LeaseState::Held),
            Some(OtherHolder { holder, ask_at }) => Ok(LeaseState::HeldElsewhere {
                seen: worker.stand_by(Some(*holder)).await?,
                ask_at: *ask_at,
            }),
        }
    }

    /// Observes the follower and leaves the lease to others.
    async fn observe<S>(&mut self, worker: &FollowerWorker<S>) -> Result<LeaseState, StoreError> {
        self.give_back(worker).await;
        let holder = self.holder_of(worker).await?;
        let ask_at = Instant::now() + ASK_INTERVAL;

        Ok(LeaseState::HeldElsewhere {
            seen: worker.stand_by(holder).await?,
            ask_at,
        })
    }

    async fn should_run<S>(&self, worker: &FollowerWorker<S>) -> Result<bool, StoreError> {
        match &self.membership {
            Some(membership) => membership.should_run(worker.partition).await,
            None => Ok(true),
        }
    }

    /// Returns the process that runs the follower, if there is one.
    async fn holder_of<S>(
        &self,
        worker: &FollowerWorker<S>,
    ) -> Result<Option<HolderId>, StoreError> {
        let (home, follower, upstream) = worker.home();
        Ok(home
            .lease_holder(&follower, upstream)
            .await?
            .map(|held| held.holder))
    }

    async fn ask<S>(
        &mut self,
        lease_config: LeaseConfig,
        worker: &FollowerWorker<S>,
    ) -> Result<(), StoreError> {
        let LeaseConfig { holder, duration } = lease_config;
        let (home, follower, upstream) = worker.home();
        let now = Instant::now();
        match home
            .lease(LeaseRequest {
                follower,
                upstream,
                holder,
                duration,
            })
            .await?
        {
            Lease::Held { token, .. } => {
                let is_renewed = self.held.as_ref().is_some_and(|held| held.token == token);
                let keeps_its_name = match is_renewed {
                    true => worker.look_again().await?,
                    false => worker.take_over(token, &holder_info(holder)).await?,
                };
                if !keeps_its_name {
                    // Another generation has become live meanwhile, so the follower has a new name.
                    // The lease just taken is that of the old name. The next step asks for the
                    // lease of the new one; the old one expires by itself.
                    let other = OtherHolder {
                        holder,
                        ask_at: now,
                    };
                    (self.held, self.other) = (None, Some(other));
                    return Ok(());
                }
                if !is_renewed {
                    info!(follower = %worker.name, %token, "this process runs the follower");
                }
                (self.held, self.other) = (
                    Some(HeldLease {
                        token,
                        renew_at: now + duration / 3,
                    }),
                    None,
                );
            }
            Lease::Taken { holder, expires_in } => {
                if self.other.is_none() {
                    debug!(follower = %worker.name, %holder, "another process runs the follower");
                }
                let ask_at = now + expires_in.min(ASK_INTERVAL);
                (self.held, self.other) = (None, Some(OtherHolder { holder, ask_at }));
            }
        }
        Ok(())
    }

    /// Forgets the lease after another process has taken it.
    pub(crate) fn lose(&mut self) {
        (self.held, self.other) = (None, None);
    }

    /// Waits until the lease has to be renewed; forever without a lease.
    pub(crate) async fn renewal(&self) {
        match &self.held {
            Some(held) => tokio::time::sleep_until(held.renew_at).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until something is written beyond `seen`, or until it is time to ask for the lease.
    pub(crate) async fn stand_by<S>(worker: &FollowerWorker<S>, seen: Position, ask_at: Instant) {
        tokio::time::sleep(LOOK_INTERVAL_MIN).await;
        let (home, ..) = worker.home();
        let written = home.wait_beyond(seen, None);
        let _ = tokio::time::timeout_at(ask_at, written).await;
    }

    /// Gives the lease and the place among the processes back, because this process stops.
    pub(crate) async fn end<S>(&mut self, worker: &FollowerWorker<S>) {
        self.give_back(worker).await;
        if let Some(membership) = &self.membership {
            membership.leave().await;
        }
    }

    /// Leaves the follower to a process that can continue it, if there is one. This process may
    /// take the lease again later.
    pub(crate) async fn yield_temporarily<S>(&mut self, worker: &FollowerWorker<S>) {
        self.give_back(worker).await;
        if let Some(membership) = &self.membership {
            membership.yield_temporarily().await;
        }
    }

    /// Gives the lease back, so that others need not wait until it expires.
    pub(crate) async fn give_back<S>(&mut self, worker: &FollowerWorker<S>) {
        let Some(held) = self.held.take() else { return };
        let (home, follower, upstream) = worker.home();
        if let Err(error) = home.release(&follower, upstream, held.token).await {
            debug!(follower = %worker.name, %error, "lease could not be given back; it will expire");
        }
    }
}

fn holder_info(holder: HolderId) -> HolderInfo {
    HolderInfo {
        holder,
        process: this_process(),
    }
}
