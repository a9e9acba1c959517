//! The epochs of a log, and the epoch in which each connection was made.
//!
//! A server that forgets commits has ended all its connections before: by a crash, at a promotion, for a restore. So
//! two connections show the same state of the log if the server of the newer one still knows the session of the older
//! one: that session is a *witness*. A new connection that finds no witness begins the next epoch, before anything is
//! read or written with it. That is no proof of a loss, because all connections of a living server may have been ended.
//! The cost of a false alarm is that known positions are verified again.
//!
//! Start times and timelines are no substitute: a server that restarts because one of its processes was killed loses
//! commits under `Durability::Normal`, and changes neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsourcing_core::store::{Epoch, Position};
use tokio::sync::watch;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use crate::address::Endpoint;

const SESSION_IS_KNOWN: &str = include_str!("queries/session_is_known.sql");

/// The most sessions that are remembered. A store has fewer connections, so it is very unlikely that all remembered
/// sessions have ended by themselves.
const SESSIONS_MAX: usize = 64;

/// The epochs of a store. Clones share them.
#[derive(Clone)]
pub(crate) struct Epochs(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    epoch: watch::Sender<Epoch>,
    /// Changes only together with the epoch. The epoch changes only under this lock, so a position is never recorded
    /// for an epoch that has ended.
    known: Mutex<Known>,
}

/// The knowledge about the present epoch.
#[derive(Default)]
struct Known {
    /// The sessions of the epoch, newest last.
    sessions: VecDeque<Session>,
    /// The highest position that was seen or written.
    highest: Position,
}

/// A server process and its start time, which no other process shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    process: i32,
    /// The start time in microseconds since 1970.
    started: i64,
}

impl Epochs {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self(Arc::new(Shared {
            endpoint,
            epoch: watch::Sender::new(Epoch::FIRST),
            known: Mutex::default(),
        }))
    }

    /// Returns the present epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        *self.0.epoch.borrow()
    }

    /// Returns as soon as the present epoch is not `epoch`.
    pub(crate) async fn ended(&self, epoch: Epoch) {
        let mut current = self.0.epoch.subscribe();
        let ended = current.wait_for(|current| *current != epoch).await;
        ended.expect("the sender epochs as long as this store");
    }

    /// Begins the next epoch, unless `epoch` has ended already: the log of a living server contradicts what was read
    /// from it.
    pub(crate) fn suspect(&self, epoch: Epoch) {
        let mut known = self.known();
        if self.epoch() == epoch {
            // The position belongs to the epoch that ends. If it were kept, every new event below it would be reported as
            // written before others that were read.
            known.highest = Position::ZERO;
            self.0.epoch.send_replace(epoch.next());
        }
    }

    /// Records a position that was seen or written in `epoch`.
    pub(crate) fn note(&self, epoch: Epoch, position: Position) {
        let mut known = self.known();
        if self.epoch() == epoch {
            known.highest = known.highest.max(position);
        }
    }

    /// Returns the highest position that is known to have been assigned in `epoch`.
    pub(crate) fn highest(&self, epoch: Epoch) -> Position {
        let known = self.known();
        if self.epoch() == epoch {
            known.highest
        } else {
            Position::ZERO
        }
    }

    /// Determines the epoch of a connection that has not been used yet.
    pub(crate) async fn admit(&self, client: &Client) -> Result<Epoch, Error> {
        loop {
            let epoch = self.epoch();
            let sessions: Vec<_> = self.known().sessions.iter().copied().collect();
            let (session, is_witnessed) = look(client, &sessions).await?;
            let mut known = self.known();
            if self.epoch() != epoch {
                // Another new connection was faster, and may be a witness for this one.
                continue;
            }
            if !is_witnessed && !sessions.is_empty() {
                *known = Known::default();
                self.0.epoch.send_replace(epoch.next());
                let endpoint = &self.0.endpoint;
                tracing::warn!(%endpoint, "all connections to the server were lost; positions read before are verified again");
            }
            known.sessions.push_back(session);
            if known.sessions.len() > SESSIONS_MAX {
                known.sessions.pop_front();
            }
            return Ok(self.epoch());
        }
    }

    /// A panic while the lock is held cannot leave the list half changed, so a poisoned lock is used further.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the session of `client`, and whether its server knows one of `known`.
async fn look(client: &Client, known: &[Session]) -> Result<(Session, bool), Error> {
    let processes: Vec<i32> = known.iter().map(|session| session.process).collect();
    let starts: Vec<i64> = known.iter().map(|session| session.started).collect();
    let arguments = [
        (&processes as _, Type::INT4_ARRAY),
        (&starts as _, Type::INT8_ARRAY),
    ];
    let rows = client.query_typed(SESSION_IS_KNOWN, &arguments).await?;
    let row = rows.first().expect("a SELECT of expressions has one row");
    Ok((
        Session {
            process: row.try_get(0)?,
            started: row.try_get(1)?,
        },
        row.try_get(2)?,
    ))
}
