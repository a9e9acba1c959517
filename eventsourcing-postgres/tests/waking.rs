//! Tasks that wait hear of events by others: at once by notification, and by the next poll where that is lost. Promise
//! P26.

mod support;

use std::time::{Duration, Instant};

use eventsourcing_core::store::{EventStore, Position};
use eventsourcing_postgres::PostgresStore;
use support::{Place, append};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

/// Long enough that a task that is woken sooner was not woken by a poll.
const SLOW_POLL: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(10);

/// Starts a store of this place that waits beyond the head, and returns the moment it was woken.
fn wait_for_more(
    store: &PostgresStore,
    head: Position,
) -> tokio::task::JoinHandle<(Position, Instant)> {
    let store = store.clone();
    tokio::spawn(async move {
        (
            store.wait_beyond(head, None).await.expect("a head"),
            Instant::now(),
        )
    })
}

async fn woken_after(
    waiting: tokio::task::JoinHandle<(Position, Instant)>,
    start: Instant,
    max: Duration,
) -> Duration {
    let (_, woken) = timeout(max, waiting)
        .await
        .expect("woken in time")
        .expect("a waiting task");
    woken.saturating_duration_since(start)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_store_is_woken_well_before_it_would_poll() {
    let place = Place::new();
    let writer = place.store().await;
    let waiter = place
        .options()
        .with_poll_interval(SLOW_POLL)
        .connect(place.url())
        .await
        .expect("a store");
    // The first round also waits until the listener is ready.
    for round in 0..20 {
        let waiting = wait_for_more(&waiter, waiter.head().await.expect("a head"));
        sleep(Duration::from_millis(if round == 0 { 500 } else { 20 })).await;
        let start = Instant::now();
        let written = writer
            .append(append())
            .await
            .expect("a receipt")
            .receipt
            .position;
        let delay = woken_after(waiting, start, SOON).await;
        assert!(
            delay < Duration::from_secs(2),
            "round {round}: woken after {delay:?}, position {written}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_listener_costs_the_server_nothing_and_hears_nothing_of_other_schemas() {
    let place = Place::with_database().await;
    let other = Place::new();

    let waiter = place
        .options()
        .with_poll_interval(SLOW_POLL)
        .connect(place.url())
        .await
        .expect("a store");
    let waiting = wait_for_more(&waiter, Position::ZERO);
    sleep(Duration::from_millis(300)).await;
    other
        .store()
        .await
        .append(append())
        .await
        .expect("a receipt");
    let neighbour = Place::at(place.url().to_owned());
    neighbour
        .store()
        .await
        .append(append())
        .await
        .expect("a receipt");
    sleep(Duration::from_millis(300)).await;
    assert!(
        !waiting.is_finished(),
        "events of another schema are no reason to wake"
    );
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_listener_delays_to_the_poll_at_most_and_listens_again() {
    const POLL: Duration = Duration::from_millis(1500);

    let place = Place::with_database().await;
    let writer = place.store().await;
    let waiter = place
        .options()
        .with_poll_interval(POLL)
        .connect(place.url())
        .await
        .expect("a store");
    let outsider = place.outsider().await;
    for round in 0..3 {
        let waiting = wait_for_more(&waiter, waiter.head().await.expect("a head"));
        wait_for_listeners(&outsider, 2).await;
        assert_eq!(
            kill_listeners(&outsider).await,
            2,
            "round {round}: each store listens"
        );
        let start = Instant::now();
        writer.append(append()).await.expect("a receipt");
        let delay = woken_after(waiting, start, SOON).await;
        assert!(
            delay < POLL + Duration::from_secs(1),
            "round {round}: woken after {delay:?}"
        );
    }
    let patient = place
        .options()
        .with_poll_interval(SLOW_POLL)
        .connect(place.url())
        .await
        .expect("a store");
    let waiting = wait_for_more(&patient, patient.head().await.expect("a head"));
    wait_for_listeners(&outsider, 3).await;
    assert_eq!(kill_listeners(&outsider).await, 3, "each store listens");
    wait_for_listeners(&outsider, 3).await;
    sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    writer.append(append()).await.expect("a receipt");
    let delay = woken_after(waiting, start, SOON).await;
    assert!(
        delay < Duration::from_secs(2),
        "who listens again is notified again: woken after {delay:?}"
    );
}

/// Selects connections by their last statement: one that listens also notifies.
const LISTENERS: &str = "datname = current_database() AND query ~* '^(listen|select pg_notify)'";

async fn kill_listeners(outsider: &Client) -> i64 {
    let kill =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {LISTENERS}");
    outsider
        .query_one(&kill, &[])
        .await
        .expect("the superuser may do that")
        .get(0)
}

async fn wait_for_listeners(outsider: &Client, wanted: i64) {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE {LISTENERS}");
    let waiting = async {
        while outsider
            .query_one(&count, &[])
            .await
            .expect("a number")
            .get::<_, i64>(0)
            < wanted
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waiting).await.expect("all listen again");
}
