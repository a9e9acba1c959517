//! `Live`: tells open pages that something has changed, whichever process wrote it.
//!
//! The message carries no data; a page that receives it loads itself again. So the content of a page is made in one
//! place, and a lost message costs nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{HeaderName, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Sse};
use axum::routing::get;
use eventsourcing::store::{FollowerStore, Name, Position, Receipt, StoreError};
use eventsourcing::{ReadModel, RunningSystem, SystemError};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::State;
use crate::system::EventSourcedBank;

/// The time that the followers get to catch up before pages are told anyway.
const TIMEOUT: Duration = Duration::from_millis(300);
/// The shortest interval between two messages.
const PULSE: Duration = Duration::from_millis(100);
/// The pause before the next attempt when the store does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest interval between two messages: the content of a page can change without an event, for example a lease.
const TICK: Duration = Duration::from_secs(5);

/// The end of the log as pages know it. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live {
    changes: watch::Receiver<Position>,
    stopping: Arc<watch::Sender<bool>>,
}

pub(super) fn router() -> Router<State> {
    Router::new().route("/live", get(events))
}

impl Live {
    /// Watches the log in a task of its own, until no page is interested any more.
    pub(super) fn watch(bank: &RunningSystem<EventSourcedBank>) -> Self {
        let (sender, changes) = watch::channel(Position::ZERO);
        let watcher = Watcher {
            store: Arc::clone(bank.stores().first().expect("the bank has applications")),
            read_models: [
                ReadModel::clone(&bank.activity),
                ReadModel::clone(&bank.summaries),
            ],
        };
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = watcher.run(&sender) => {}
            }
        });
        Self {
            changes,
            stopping: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Ends all streams, so that the shutdown does not wait for them.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

struct Watcher {
    store: Arc<dyn FollowerStore>,
    read_models: [ReadModel; 2],
}

impl Watcher {
    async fn run(&self, changes: &watch::Sender<Position>) {
        let mut seen = Position::ZERO;
        let mut epoch = self.store.epoch();
        loop {
            let head = match self.store.wait_beyond(seen, Some(epoch)).await {
                Ok(head) => head,
                // The log may have been restored to an earlier moment, so the last position seen means nothing any
                // more.
                Err(StoreError::OutdatedEpoch { current, .. }) => {
                    seen = Position::ZERO;
                    epoch = current;
                    continue;
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            while self.store.epoch() == epoch && self.is_late(head).await {
                changes.send_replace(head);
            }
            changes.send_replace(head);
            seen = head;
            tokio::time::sleep(PULSE).await;
        }
    }

    /// Returns `true` if the read models are still behind after a while.
    async fn is_late(&self, head: Position) -> bool {
        let receipt = Receipt::at(self.store.log_id(), head);
        let [activity, summaries] = &self.read_models;
        let (activity, summaries, ledger) = tokio::join!(
            activity.wait_for(&receipt, TIMEOUT),
            summaries.wait_for(&receipt, TIMEOUT),
            tokio::time::timeout(TIMEOUT, self.ledger_at(head)),
        );
        let is_late =
            |waited: Result<(), SystemError>| matches!(waited, Err(SystemError::TimedOut { .. }));
        is_late(activity) || is_late(summaries) || ledger.is_err()
    }

    async fn ledger_at(&self, position: Position) {
        let name = Name::from_static("ledger");
        while self
            .store
            .tracking(&name, self.store.log_id())
            .await
            .is_ok_and(|reached| reached < position)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Server-sent events: `changed` when something has happened, `tick` from time to time.
///
/// Headers ask proxies to pass each message on at once: not to buffer them (`X-Accel-Buffering`, as in nginx) and not
/// to compress them. The ticks keep proxies from closing a silent connection.
async fn events(Extract(state): Extract<State>) -> impl IntoResponse {
    (UNBUFFERED, Sse::new(messages(&state)))
}

/// The headers that make proxies pass every message on at once.
const UNBUFFERED: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("x-accel-buffering"), "no"),
    (header::CACHE_CONTROL, "no-cache, no-store, no-transform"),
];

fn messages(state: &State) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let mut changes = state.live.changes.clone();
    changes.mark_unchanged();
    let begin = (changes, state.live.stopping.subscribe(), true);
    stream::unfold(begin, async |(mut changes, mut stopping, is_first)| {
        let name = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return None,
            // The first tick comes at once, so that the page knows that it is connected.
            () = std::future::ready(()), if is_first => "tick",
            changed = changes.changed() => { changed.ok()?; "changed" }
            () = tokio::time::sleep(TICK) => "tick",
        };
        let position = changes.borrow().to_string();
        Some((
            Ok(Event::default().event(name).data(position)),
            (changes, stopping, false),
        ))
    })
}
