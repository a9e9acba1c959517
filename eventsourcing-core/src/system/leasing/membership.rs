//! [`Seats`]: the choice of the partitions of a follower that this process should run, so that they spread over all processes.
//!
//! A follower in n partitions has n places, and each process takes one by a lease. With m members, the member with i others before it
//! runs the partitions p with p % m == i. A process that dies loses its place when the lease expires, and the others move up. An
//! outdated view does no harm: the leases on the partitions themselves decide which process runs what.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, info};

use super::Terms;
use crate::store::{EventStore, Lease, LeaseRequest, LeaseToken, LogId, Name, StoreError};
use crate::system::follower::{Feed, Partition};
use crate::system::notes;

/// The members that share the partitions of one follower in one log, as this process sees them.
pub(crate) struct Seats {
    terms: Terms,
    home: Arc<dyn EventStore>,
    follower: Name,
    upstream: LogId,
    number_of_seats: u32,
    view: Mutex<View>,
}

struct View {
    /// The place of this process, and the token of its lease.
    mine: Option<(u32, LeaseToken)>,
    /// `true` for each place that is taken.
    taken: Vec<bool>,
    look_at: Instant,
    /// The time until which this process takes no place.
    aside_until: Option<Instant>,
}

impl Seats {
    /// Returns the membership for the follower of which the worker runs a partition; `None` if it has only one.
    pub(crate) fn of<S>(feed: &Feed<S>, terms: Terms) -> Option<Arc<Self>> {
        let number_of_seats = feed.partition.count();
        if number_of_seats == 1 || !feed.is_shared() {
            return None;
        }
        let (home, _, upstream) = feed.home();
        let view = Mutex::new(View {
            mine: None,
            taken: Vec::new(),
            look_at: Instant::now(),
            aside_until: None,
        });
        let home = Arc::clone(home);
        let follower = feed.name.clone();

        Some(Arc::new(Self {
            terms,
            home,
            follower,
            upstream,
            number_of_seats,
            view,
        }))
    }

    /// Returns `true` if this is the membership for the follower of which the worker runs a partition.
    pub(crate) fn are_of<S>(&self, feed: &Feed<S>) -> bool {
        feed.name == self.follower && feed.upstream.log_id() == self.upstream
    }

    /// Returns `true` if this process should run the partition.
    pub(crate) async fn want(&self, partition: Partition) -> Result<bool, StoreError> {
        let mut view = self.view.lock().await;
        let now = Instant::now();
        if view.aside_until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        if now >= view.look_at {
            self.look(&mut view).await?;
            view.look_at = now + self.terms.duration / 3;
        }
        let Some((mine, _)) = view.mine else {
            return Ok(false);
        };
        let sitting = view.taken.iter().filter(|taken| **taken).count() as u32;
        let before_me = view.taken[..mine as usize]
            .iter()
            .filter(|taken| **taken)
            .count() as u32;
        Ok(partition.number() % sitting == before_me)
    }

    /// Renews the place of this process, or takes a free one, and reads which others are taken.
    async fn look(&self, view: &mut View) -> Result<(), StoreError> {
        let before = view.mine;
        view.mine = match before {
            Some((mine, _)) => self.sit(mine).await?,
            None => None,
        };
        let mut taken = Vec::new();
        for seat in 0..self.number_of_seats {
            if view.mine.is_none() {
                view.mine = self.sit(seat).await?;
            }
            let is_mine = view.mine.is_some_and(|(mine, _)| mine == seat);
            taken.push(
                is_mine
                    || self
                        .home
                        .lease_holder(&self.name(seat), self.upstream)
                        .await?
                        .is_some(),
            );
        }
        if taken != view.taken || view.mine != before {
            let sitting = taken.iter().filter(|taken| **taken).count();
            info!(follower = %self.follower, processes = sitting, "partitions of the follower are shared among processes");
        }
        view.taken = taken;
        Ok(())
    }

    async fn sit(&self, seat: u32) -> Result<Option<(u32, LeaseToken)>, StoreError> {
        let Terms { holder, duration } = self.terms;
        let request = LeaseRequest {
            follower: self.name(seat),
            upstream: self.upstream,
            holder,
            duration,
        };
        Ok(match self.home.lease(request).await? {
            Lease::Held { token, .. } => Some((seat, token)),
            Lease::Taken { .. } => None,
        })
    }

    /// Leaves the place, so that the others move up at once.
    pub(crate) async fn leave(&self) {
        let Some((seat, token)) = self.view.lock().await.mine.take() else {
            return;
        };
        if let Err(error) = self
            .home
            .release(&self.name(seat), self.upstream, token)
            .await
        {
            debug!(follower = %self.follower, %error, "place among the processes could not be given back; its lease will expire");
        }
    }

    /// Leaves the place for the duration of a lease if there are other members, so that they take the partitions which this process
    /// cannot continue.
    pub(crate) async fn stand_aside(&self) {
        let mut view = self.view.lock().await;
        if view.taken.iter().filter(|taken| **taken).count() > 1 {
            view.aside_until = Some(Instant::now() + self.terms.duration);
            drop(view);
            self.leave().await;
        }
    }

    fn name(&self, seat: u32) -> Name {
        notes::seat(&self.follower, seat + 1, self.number_of_seats)
    }
}
