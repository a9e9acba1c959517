//! [`Tenure`]: of the many processes that run a system, which one runs a follower.
//!
//! A lease saves work; it is not what makes a follower exactly once. That is the position, which each append checks.
//! The token makes sure besides that a process which was paused past its lease writes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::membership::Seats;
use super::{Terms, this_process};
use crate::store::{EventStore, HolderId, Lease, LeaseRequest, LeaseToken, Position, StoreError};
use crate::system::follower::Feed;
use crate::system::notes::HolderInfo;

/// How often a follower that stands by looks where the active one is, at most: it is woken by what is written.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// How often it asks for the lease, which may have been given back.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// A follower's hold on its lease.
pub(crate) struct Tenure {
    /// `None`: it runs without a lease.
    terms: Option<Terms>,
    /// Which partitions this process should run, if the follower has several.
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

/// Whose turn it is.
pub(crate) enum Turn {
    Ours,
    /// Another process runs the follower. Look again when something is written beyond `seen`, and ask at this time.
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

    /// Takes the lease, or renews it when it is time to.
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

    /// Leaves the follower to others.
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

    /// Who runs the follower, as far as anybody does.
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
                    // It has just got another name; with the next step it asks under that one.
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

    /// Forgets the lease: somebody else has it.
    pub(crate) fn lose(&mut self) {
        (self.held, self.theirs) = (None, None);
    }

    /// Waits until the lease has to be renewed; for ever without one.
    pub(crate) async fn renewal(&self) {
        match &self.held {
            Some(held) => tokio::time::sleep_until(held.renew_at).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until it makes sense to look again, or to ask.
    pub(crate) async fn stand_by<S>(feed: &Feed<S>, seen: Position, ask_at: Instant) {
        tokio::time::sleep(LOOK_INTERVAL_MIN).await;
        let (home, ..) = feed.home();
        let written = home.wait_beyond(seen, None);
        let _ = tokio::time::timeout_at(ask_at, written).await;
    }

    /// This process stops.
    pub(crate) async fn end<S>(&mut self, feed: &Feed<S>) {
        self.give_back(feed).await;
        if let Some(seats) = &self.seats {
            seats.leave().await;
        }
    }

    /// Leaves the follower to a process that can go on with it, if there is one. The lease may be taken again later.
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
            debug!(follower = %feed.name, %error, "the lease is not given back; it will expire");
        }
    }
}

fn introduction(holder: HolderId) -> HolderInfo {
    HolderInfo {
        holder,
        process: this_process(),
    }
}
