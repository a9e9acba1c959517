//! In which epoch of the log a connection was made.
//!
//! A server that forgets commits has ended all its connections before: by a crash, at a promotion, for a restore. So whatever two
//! connections show is of one life of the log if the server of the newer one still knows the session of the older one: that
//! session is a *witness*. A new connection that finds no witness begins the next epoch, before anything is read or
//! written with it. That is no proof of a loss: somebody may have ended all connections of a server that lives on. It costs
//! that what is known is proven anew.
//!
//! Start times and timelines are not asked: a server that starts afresh because one of its processes was killed loses commits
//! under `Durability::Normal`, and changes neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsourcing_core::store::{Epoch, Position};
use tokio::sync::watch;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use crate::address::Place;

const SESSION_IS_KNOWN: &str = include_str!("queries/session_is_known.sql");

/// How many sessions are remembered. More than a store has connections, so that hardly ever all of them have ended by themselves.
const SESSIONS_MAX: usize = 64;

/// The epochs of a store. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Lives(Arc<Shared>);

struct Shared {
    place: Place,
    epoch: watch::Sender<Epoch>,
    /// Changed only together with the epoch.
    known: Mutex<Known>,
}

/// What is known of the present epoch.
#[derive(Default)]
struct Known {
    /// Its sessions, the newest last.
    sessions: VecDeque<Session>,
    /// The highest position that was seen or written.
    highest: Position,
}

/// A process of the server, and when it was started: no other process is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    process: i32,
    /// Microseconds since 1970.
    started: i64,
}

impl Lives {
    pub(crate) fn new(place: Place) -> Self {
        Self(Arc::new(Shared {
            place,
            epoch: watch::Sender::new(Epoch::FIRST),
            known: Mutex::default(),
        }))
    }

    /// The epoch it is now.
    pub(crate) fn epoch(&self) -> Epoch {
        *self.0.epoch.borrow()
    }

    /// Returns as soon as another epoch than `epoch` has begun.
    pub(crate) async fn ended(&self, epoch: Epoch) {
        let mut current = self.0.epoch.subscribe();
        let ended = current.wait_for(|current| *current != epoch).await;
        ended.expect("the sender lives as long as this store");
    }

    /// Begins the next epoch, unless another one than `epoch` has begun already: the log of a living server has shown that it is not
    /// what it was.
    pub(crate) fn suspect(&self, epoch: Epoch) {
        let mut known = self.known();
        if self.epoch() == epoch {
            known.highest = Position::ZERO;
            self.0.epoch.send_replace(epoch.next());
        }
    }

    /// The position was seen in the log in this epoch, or written.
    pub(crate) fn note(&self, epoch: Epoch, position: Position) {
        let mut known = self.known();
        if self.epoch() == epoch {
            known.highest = known.highest.max(position);
        }
    }

    /// The highest position that is known to have been given out in this epoch.
    pub(crate) fn highest(&self, epoch: Epoch) -> Position {
        let known = self.known();
        if self.epoch() == epoch {
            known.highest
        } else {
            Position::ZERO
        }
    }

    /// Finds out in which epoch a connection was made that nobody has used yet.
    pub(crate) async fn admit(&self, client: &Client) -> Result<Epoch, Error> {
        loop {
            let epoch = self.epoch();
            let sessions: Vec<_> = self.known().sessions.iter().copied().collect();
            let (session, is_witnessed) = look(client, &sessions).await?;
            let mut known = self.known();
            if self.epoch() != epoch {
                // Another new connection was faster, and may be a witness of this one.
                continue;
            }
            if !is_witnessed && !sessions.is_empty() {
                *known = Known::default();
                self.0.epoch.send_replace(epoch.next());
                let place = &self.0.place;
                tracing::warn!(%place, "all connections to the server were lost; what was read before is proven anew");
            }
            known.sessions.push_back(session);
            if known.sessions.len() > SESSIONS_MAX {
                known.sessions.pop_front();
            }
            return Ok(self.epoch());
        }
    }

    /// A panic while the lock is held cannot leave the list half changed.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session of `client`, and whether its server knows one of `known`.
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
