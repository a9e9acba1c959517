//! P26: waiting readers are woken, and a lost notification delays them by at most the poll interval.

use std::sync::Arc;

use eventsourcing_core::store::{EventStore, LogQuery, Position};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

use super::assertions::{head_of, positions_of};
use super::builders::{append, append_to, step_from, stream};
use super::concurrency::{finished, within};
use super::{Fixture, FollowerFixture};
use crate::Seed;

/// P26: `wait_beyond(p)` returns soon after an event beyond `p` is readable, from any writer, and not before.
pub async fn waiting_ends_when_another_store_writes<F: FollowerFixture>(fixture: &F) {
    let stream = stream();
    let writer = Arc::new(fixture.open().await);
    let same = fixture.open().await;

    writer
        .append(append_to(&stream, "earlier"))
        .await
        .expect("any version");
    let head = head_of(&*writer).await;
    let mut waiting = vec![tokio::spawn(wait_and_read(Arc::clone(&writer), head))];
    for store in [same, fixture.open().await] {
        waiting.push(tokio::spawn(wait_and_read(Arc::new(store), head)));
    }
    sleep(Duration::from_millis(30)).await;
    let step = step_from(0, writer.log_id()).to(1);
    writer
        .append(append().with_tracking(step))
        .await
        .expect("tracking alone");
    sleep(Duration::from_millis(10)).await;
    assert!(
        waiting.iter().all(|task| !task.is_finished()),
        "there is no event to wake up for yet"
    );

    let appended = writer
        .append(append_to(&stream, "awaited"))
        .await
        .expect("any version");
    for woken in woken::<F>(waiting).await {
        assert_eq!(woken, appended.receipt.position);
    }
}

/// Waits, and returns the position after checking that it is that of a readable event.
async fn wait_and_read(store: Arc<impl EventStore>, position: Position) -> Position {
    let woken = store
        .wait_beyond(position, None)
        .await
        .expect("one can wait");
    let page = store
        .read_log(LogQuery::after(position))
        .await
        .expect("the log can be read");
    assert_eq!(
        positions_of(&page.events).last(),
        Some(&woken),
        "the event is readable"
    );
    woken
}

/// Returns the positions to which the waiting readers were woken, within the allowed delay.
async fn woken<F: Fixture>(waiting: Vec<JoinHandle<Position>>) -> Vec<Position> {
    let woken = timeout(F::WAKING_MAX, finished::<F, _>(waiting)).await;
    woken.unwrap_or_else(|_| panic!("a reader was not woken within {:?}", F::WAKING_MAX))
}

/// P26: A wait for an event that already exists returns at once, and a dropped wait does no harm.
pub async fn waiting_ends_at_once_when_the_event_is_already_there<F: Fixture>(fixture: &F) {
    let store = fixture.open().await;
    let stream = stream();

    for _ in 0..3 {
        let wait = timeout(
            Duration::from_millis(5),
            store.wait_beyond(Position::ZERO, None),
        );
        assert!(
            wait.await.is_err(),
            "an empty log gives nothing to return for"
        );
    }
    for text in ["1", "2"] {
        let position = store
            .append(append_to(&stream, text))
            .await
            .expect("any version")
            .receipt
            .position;
        let fresh = fixture.open().await;
        for store in [&store, &fresh] {
            for after in [Position::ZERO, Position::new(position.as_u64() - 1)] {
                let wait = within::<F, _>(
                    "a wait for an event that is there",
                    store.wait_beyond(after, None),
                );
                assert_eq!(
                    wait.await.expect("one can wait"),
                    position,
                    "the head is returned"
                );
            }
        }
    }
}

/// P26: An append at the moment when a wait begins is not missed.
pub async fn append_at_the_moment_of_waiting_is_not_missed<F: Fixture>(fixture: &F) {
    let mut rng = Seed::from_env().rng(0);
    let stream = stream();
    let writer = fixture.open().await;
    let reader = Arc::new(fixture.open().await);

    let mut head = Position::ZERO;
    for round in 0..30 {
        let waiting = Arc::clone(&reader);
        let wait =
            tokio::spawn(
                async move { waiting.wait_beyond(head, None).await.expect("one can wait") },
            );
        for _ in 0..rng.usize(0..4) {
            tokio::task::yield_now().await;
        }
        if rng.bool() {
            sleep(Duration::from_micros(rng.u64(0..300))).await;
        }
        let position = writer
            .append(append_to(&stream, "awaited"))
            .await
            .expect("any version")
            .receipt
            .position;
        assert_eq!(woken::<F>(vec![wait]).await, [position], "round {round}");
        head = position;
    }
}
