//! [`Tenure`]: takes, renews and gives back the lease of one follower.
//!
//! A lease saves work. It does not make a follower exactly once: the position does, which each append checks. In addition, the
//! fencing token keeps a process that was paused past the end of its lease from writing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::membership::Seats;
use super::{Terms, this_process};
use crate::store::{EventStore, HolderId, Lease, LeaseRequest, LeaseToken, Position, StoreError};
use crate::system::follower::Feed;
use crate::system::notes::HolderInfo;

/// The shortest interval between looks of a process that stands by. It is woken by each write, and without this pause a busy log would
/// make it read as often as the active process writes.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// The interval at which a process that stands by asks for the lease, which may have been given back before it expires.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// The lease of one follower, as this process sees it.
pub(crate) struct Tenure {
    /// `None`: the follower runs without leases.
    terms: Option<Terms>,
    /// The choice of the partitions that this process should run, if the follower has several.
    seats: Option<Arc<Seats>>,
    held: Option<Held>,
    theirs: Option<Theirs>,
}

struct Held {
    token: LeaseToken,
    renew_at: Instant,
}

struct Theirs {
    holder: HolderId,
    ask_at: Instant,
}

/// The process that should run the follower now.
pub(crate) enum Turn {
    Ours,
    /// Another process runs the follower. Look again when something is written beyond `seen`, and ask for the lease at `ask_at`.
    Theirs {
        seen: Position,
        ask_at: Instant,
    },
}

impl Tenure {
    pub(crate) fn new(terms: Option<Terms>, seats: Option<Arc<Seats>>) -> Self {
        Self {
            terms,
            seats,
            held: None,
            theirs: None,
        }
    }

    /// Takes the lease, or renews it when a third of its duration has passed.
    pub(crate) async fn keep<S>(&mut self, feed: &Feed<S>) -> Result<Turn, StoreError> {
        if feed.looks_on() {
            return self.look_on(feed).await;
        }
        let Some(terms) = self.terms.filter(|_| feed.is_shared()) else {
            return Ok(Turn::Ours);
        };
        if !self.wants(feed).await? {
            return self.look_on(feed).await;
        }
        if self
            .held
            .as_ref()
            .is_some_and(|held| Instant::now() < held.renew_at)
        {
            return Ok(Turn::Ours);
        }
        match &self.theirs {
            Some(theirs) if Instant::now() < theirs.ask_at => {}
            _ => self.ask(terms, feed).await?,
        }
        match &self.theirs {
            None => Ok(Turn::Ours),
            Some(Theirs { holder, ask_at }) => Ok(Turn::Theirs {
                seen: feed.stand_by(Some(*holder)).await?,
                ask_at: *ask_at,
            }),
        }
    }

    /// Observes the follower and leaves the lease to others.
    async fn look_on<S>(&mut self, feed: &Feed<S>) -> Result<Turn, StoreError> {
        self.give_back(feed).await;
        let holder = self.holder_of(feed).await?;
        let ask_at = Instant::now() + ASK_INTERVAL;

        Ok(Turn::Theirs {
            seen: feed.stand_by(holder).await?,
            ask_at,
        })
    }

    async fn wants<S>(&self, feed: &Feed<S>) -> Result<bool, StoreError> {
        match &self.seats {
            Some(seats) => seats.want(feed.partition).await,
            None => Ok(true),
        }
    }

    /// Returns the process that runs the follower, if there is one.
    async fn holder_of<S>(&self, feed: &Feed<S>) -> Result<Option<HolderId>, StoreError> {
        let (home, follower, upstream) = feed.home();
        Ok(home
            .lease_holder(&follower, upstream)
            .await?
            .map(|held| held.holder))
    }

    async fn ask<S>(&mut self, terms: Terms, feed: &Feed<S>) -> Result<(), StoreError> {
        let Terms { holder, duration } = terms;
        let (home, follower, upstream) = feed.home();
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
                    true => feed.look_again().await?,
                    false => feed.take_over(token, &introduction(holder)).await?,
                };
                if !keeps_its_name {
                    // Another generation has become live meanwhile, so the follower has a new name. The lease just taken is that of the old
                    // name. The next step asks for the lease of the new one; the old one expires by itself.
                    let theirs = Theirs {
                        holder,
                        ask_at: now,
                    };
                    (self.held, self.theirs) = (None, Some(theirs));
                    return Ok(());
                }
                if !is_renewed {
                    info!(follower = %feed.name, %token, "this process runs the follower");
                }
                (self.held, self.theirs) = (
                    Some(Held {
                        token,
                        renew_at: now + duration / 3,
                    }),
                    None,
                );
            }
            Lease::Taken { holder, expires_in } => {
                if self.theirs.is_none() {
                    debug!(follower = %feed.name, %holder, "another process runs the follower");
                }
                let ask_at = now + expires_in.min(ASK_INTERVAL);
                (self.held, self.theirs) = (None, Some(Theirs { holder, ask_at }));
            }
        }
        Ok(())
    }

    /// Forgets the lease after another process has taken it.
    pub(crate) fn lose(&mut self) {
        (self.held, self.theirs) = (None, None);
    }

    /// Waits until the lease has to be renewed; forever without a lease.
    pub(crate) async fn renewal(&self) {
        match &self.held {
            Some(held) => tokio::time::sleep_until(held.renew_at).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until something is written beyond `seen`, or until it is time to ask for the lease.
    pub(crate) async fn stand_by<S>(feed: &Feed<S>, seen: Position, ask_at: Instant) {
        tokio::time::sleep(LOOK_INTERVAL_MIN).await;
        let (home, ..) = feed.home();
        let written = home.wait_beyond(seen, None);
        let _ = tokio::time::timeout_at(ask_at, written).await;
    }

    /// Gives the lease and the place among the processes back, because this process stops.
    pub(crate) async fn end<S>(&mut self, feed: &Feed<S>) {
        self.give_back(feed).await;
        if let Some(seats) = &self.seats {
            seats.leave().await;
        }
    }

    /// Leaves the follower to a process that can continue it, if there is one. This process may take the lease again later.
    pub(crate) async fn stand_aside<S>(&mut self, feed: &Feed<S>) {
        self.give_back(feed).await;
        if let Some(seats) = &self.seats {
            seats.stand_aside().await;
        }
    }

    /// Gives the lease back, so that others need not wait until it expires.
    pub(crate) async fn give_back<S>(&mut self, feed: &Feed<S>) {
        let Some(held) = self.held.take() else { return };
        let (home, follower, upstream) = feed.home();
        if let Err(error) = home.release(&follower, upstream, held.token).await {
            debug!(follower = %feed.name, %error, "lease could not be given back; it will expire");
        }
    }
}

fn introduction(holder: HolderId) -> HolderInfo {
    HolderInfo {
        holder,
        process: this_process(),
    }
}
