//! A reader that survives every failure, and the events it has seen.

use std::time::{Duration, Instant};

use eventsourcing_core::store::{EventStore, LogQuery, Position, StoreError, StoredEvent};
use eventsourcing_postgres::PostgresStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The time limit of each call, whatever happens to the server.
const CALL_MAX: Duration = Duration::from_secs(30);
/// The time limit for a reader to reach the end.
const CATCHING_UP_MAX: Duration = Duration::from_secs(60);

/// Reads the log page by page, in a task of its own, until it is told the end.
pub(crate) struct Follower {
    end: watch::Sender<Position>,
    task: JoinHandle<Vec<(Instant, StoredEvent)>>,
}

impl Follower {
    /// Follows the events that `query` selects, from its start.
    pub(crate) fn start(store: PostgresStore, query: LogQuery) -> Self {
        let end = watch::Sender::new(Position::MAX);
        let task = tokio::spawn(follow(store, query, end.subscribe()));
        Self { end, task }
    }

    /// Returns the events seen up to `end`, with the moment of each: once each, in order.
    pub(crate) async fn seen_until(self, end: Position) -> Vec<(Instant, StoredEvent)> {
        self.end.send_replace(end);
        let seen = timeout(CATCHING_UP_MAX, self.task)
            .await
            .expect("the reader reaches the end")
            .expect("a reader");
        let in_order = seen.is_sorted_by(|(_, one), (_, next)| one.position < next.position);
        assert!(in_order, "every event is seen once, in order of position");
        seen
    }
}

async fn follow(
    store: PostgresStore,
    query: LogQuery,
    end: watch::Receiver<Position>,
) -> Vec<(Instant, StoredEvent)> {
    let mut seen = Vec::new();
    let mut after = query.after;

    while after < *end.borrow() {
        let page = LogQuery {
            after,
            ..query.clone()
        };
        match timeout(CALL_MAX, store.read_log(page))
            .await
            .expect("read_log never hangs")
        {
            Ok(page) => {
                let now = Instant::now();
                seen.extend(page.events.into_iter().map(|event| (now, event)));
                if page.ceiling == after {
                    wait_for_more(&store, after, end.clone()).await;
                }
                assert!(
                    page.ceiling >= after,
                    "the ceiling is never before the position asked for"
                );
                after = page.ceiling;
            }
            Err(StoreError::Unavailable { .. } | StoreError::OutdatedEpoch { .. }) => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("read_log: {error:?}"),
        }
    }
    seen
}

async fn wait_for_more(store: &PostgresStore, after: Position, mut end: watch::Receiver<Position>) {
    tokio::select! {
        waited = store.wait_beyond(after, None) => match waited {
            Ok(_) => {}
            Err(StoreError::Unavailable { .. } | StoreError::OutdatedEpoch { .. }) => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("wait_beyond: {error:?}"),
        },
        _ = end.changed() => {}
        // The log may be quiet for long; this is not a deadline.
        () = sleep(Duration::from_secs(5)) => {}
    }
}
