//! [`Membership`]: the choice of the partitions of a follower that this process should run, so that
//! they spread over all processes.
//!
//! A follower in n partitions has n places, and each process takes one by a lease. With m members,
//! the member with i others before it runs the partitions p with p % m == i. A process that dies
//! loses its place when the lease expires, and the others move up. An outdated view does no harm:
//! the leases on the partitions themselves decide which process runs what.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, info};

use super::LeaseConfig;
use crate::store::{FollowerStore, Lease, LeaseRequest, LeaseToken, LogId, Name, StoreError};
use crate::system::follower::{FollowerWorker, Partition};
use crate::system::notes;

/// The members that share the partitions of one follower in one log, as this process sees them.
pub(crate) struct Membership {
    lease_config: LeaseConfig,
    home: Arc<dyn FollowerStore>,
    follower: Name,
    upstream: LogId,
    places: u32,
    view: Mutex<MembershipView>,
}

struct MembershipView {
    /// The place of this process, and the token of its lease.
    own: Option<(u32, LeaseToken)>,
    /// `true` for each place that is taken.
    taken: Vec<bool>,
    look_at: Instant,
    /// The time until which this process takes no place.
    yields_until: Option<Instant>,
}

impl Membership {
    /// Returns the membership for the follower of which the worker runs a partition; `None` if it
    /// has only one.
    pub(crate) fn of<S>(
        worker: &FollowerWorker<S>,
        lease_config: LeaseConfig,
    ) -> Option<Arc<Self>> {
        let places = worker.partition.count();
        if places == 1 || !worker.is_shared() {
            return None;
        }
        let (home, _, upstream) = worker.home();
        let view = Mutex::new(MembershipView {
            own: None,
            taken: Vec::new(),
            look_at: Instant::now(),
            yields_until: None,
        });
        let home = Arc::clone(home);
        let follower = worker.name.clone();

        Some(Arc::new(Self {
            lease_config,
            home,
            follower,
            upstream,
            places,
            view,
        }))
    }

    /// Returns `true` if this is the membership for the follower of which the worker runs a
    /// partition.
    pub(crate) fn is_of<S>(&self, worker: &FollowerWorker<S>) -> bool {
        worker.name == self.follower && worker.upstream.log_id() == self.upstream
    }

    /// Returns `true` if this process should run the partition.
    pub(crate) async fn should_run(&self, partition: Partition) -> Result<bool, StoreError> {
        let mut view = self.view.lock().await;
        let now = Instant::now();
        if view.yields_until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        if now >= view.look_at {
            self.look(&mut view).await?;
            view.look_at = now + self.lease_config.duration / 3;
        }
        let Some((own, _)) = view.own else {
            return Ok(false);
        };
        // The own place is taken as well, so there is at least one member and the division below
        // cannot fail.
        let members = view.taken.iter().filter(|taken| **taken).count() as u32;
        let members_before = view.taken[..own as usize]
            .iter()
            .filter(|taken| **taken)
            .count() as u32;
        Ok(partition.number() % members == members_before)
    }

    /// Renews the place of this process, or takes a free one, and reads which others are taken.
    async fn look(&self, view: &mut MembershipView) -> Result<(), StoreError> {
        let before = view.own;
        view.own = match before {
            Some((own, _)) => self.join(own).await?,
            None => None,
        };
        let mut taken = Vec::new();
        for place in 0..self.places {
            if view.own.is_none() {
                view.own = self.join(place).await?;
            }
            let is_own = view.own.is_some_and(|(own, _)| own == place);
            taken.push(
                is_own
                    || self
                        .home
                        .lease_holder(&self.name(place), self.upstream)
                        .await?
                        .is_some(),
            );
        }
        if taken != view.taken || view.own != before {
            let members = taken.iter().filter(|taken| **taken).count();
            info!(follower = %self.follower, processes = members, "partitions of the follower are shared among processes");
        }
        view.taken = taken;
        Ok(())
    }

    async fn join(&self, place: u32) -> Result<Option<(u32, LeaseToken)>, StoreError> {
        let LeaseConfig { holder, duration } = self.lease_config;
        let request = LeaseRequest {
            follower: self.name(place),
            upstream: self.upstream,
            holder,
            duration,
        };
        Ok(match self.home.lease(request).await? {
            Lease::Held { token, .. } => Some((place, token)),
            Lease::Taken { .. } => None,
        })
    }

    /// Leaves the place, so that the others move up at once.
    pub(crate) async fn leave(&self) {
        let Some((place, token)) = self.view.lock().await.own.take() else {
            return;
        };
        if let Err(error) = self
            .home
            .release(&self.name(place), self.upstream, token)
            .await
        {
            debug!(follower = %self.follower, %error, "place among the processes could not be given back; its lease will expire");
        }
    }

    /// Leaves the place for the duration of a lease if there are other members, so that they take
    /// the partitions which this process cannot continue.
    pub(crate) async fn yield_temporarily(&self) {
        let mut view = self.view.lock().await;
        if view.taken.iter().filter(|taken| **taken).count() > 1 {
            view.yields_until = Some(Instant::now() + self.lease_config.duration);
            drop(view);
            self.leave().await;
        }
    }

    fn name(&self, place: u32) -> Name {
        notes::member(&self.follower, place + 1, self.places)
    }
}
