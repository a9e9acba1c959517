//! `Live`: tells open pages that something has happened, whichever process wrote it.
//!
//! Nothing but the fact is told; a page then asks for itself again. So what a page shows is made in one place, and a
//! message that is lost costs nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{HeaderName, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Sse};
use axum::routing::get;
use eventsourcing::store::{EventStore, Name, Position, Receipt, StoreError};
use eventsourcing::{ReadModel, RunningSystem, SystemError};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::State;
use crate::system::EventSourcedBank;

/// How long the followers are given before pages are told all the same.
const TIMEOUT: Duration = Duration::from_millis(300);
/// How often at most pages are told.
const PULSE: Duration = Duration::from_millis(100);
/// How soon it is tried again when the store does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a page hears something at least: what it shows may have changed without an event, such as a lease.
const TICK: Duration = Duration::from_secs(5);

/// The end of the log as pages know it. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Live {
    changes: watch::Receiver<Position>,
    stopping: Arc<watch::Sender<bool>>,
}

pub(super) fn router() -> Router<State> {
    Router::new().route("/live", get(events))
}

impl Live {
    /// Watches the log in a task of its own, until nobody is interested any more.
    pub(super) fn watch(bank: &RunningSystem<EventSourcedBank>) -> Self {
        let (sender, changes) = watch::channel(Position::ZERO);
        let watcher = Watcher {
            store: Arc::clone(bank.accounts.store()),
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

    /// Ends all streams, so that nobody has to wait for them.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

struct Watcher {
    store: Arc<dyn EventStore>,
    read_models: [ReadModel; 2],
}

impl Watcher {
    async fn run(&self, changes: &watch::Sender<Position>) {
        let mut seen = Position::ZERO;
        let mut epoch = self.store.epoch();
        loop {
            let head = match self.store.wait_beyond(seen, Some(epoch)).await {
                Ok(head) => head,
                // The log may have gone back: what has been seen is no measure any more.
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

    /// Whether what pages show is still behind after a while.
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
/// Proxies are asked to pass each on at once: neither to gather them (`X-Accel-Buffering`, as nginx has it) nor to compress
/// them. The ticks keep those awake that close what is silent.
async fn events(Extract(state): Extract<State>) -> impl IntoResponse {
    (UNBUFFERED, Sse::new(messages(&state)))
}

/// Has every message passed on as it comes.
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
            // At once, so that the page knows that it is connected.
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
