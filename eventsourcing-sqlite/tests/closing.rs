//! The end of a store: what is queued is committed, and the file is left tidy.

mod fixture;

use std::time::Duration;

use eventsourcing_core::store::{EventStore, Position, StoreError};
use fixture::{Place, append};
use rusqlite::{Connection, TransactionBehavior};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn closed_store_leaves_one_file() {
    let place = Place::new();
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    store.close().await;
    store.close().await;
    assert_eq!(std::fs::read_dir(place.folder()).expect("a folder").count(), 1, "the write-ahead log is gone");
}

#[tokio::test]
async fn closed_store_is_unavailable_for_all_clones() {
    let place = Place::new();
    let store = place.store().await;
    let clone = store.clone();
    let waiting = clone.wait_beyond(Position::ZERO);
    let (waited, ()) = tokio::join!(waiting, store.close());
    assert!(matches!(waited, Err(StoreError::Unavailable { .. })), "{waited:?}");
    let appended = clone.append(append()).await;
    assert!(matches!(appended, Err(StoreError::Unavailable { .. })), "{appended:?}");
    let head = clone.head().await;
    assert!(matches!(head, Err(StoreError::Unavailable { .. })), "{head:?}");
}

#[tokio::test]
async fn dropped_store_commits_what_is_queued() {
    let place = Place::new();
    let store = place.store().await;
    let mut outsider = Connection::open(place.file()).expect("a connection");
    let lock = outsider.transaction_with_behavior(TransactionBehavior::Immediate).expect("the lock");
    let (first, second) = (store.append(append()), store.append(append()));
    let asked = timeout(Duration::from_millis(20), async { tokio::join!(first, second) }).await;
    assert!(asked.is_err(), "the writer waits for the lock");
    drop(store);
    lock.rollback().expect("the lock is given back");

    let store = place.store().await;
    for _ in 0..500 {
        if store.head().await.expect("a head") == Position::new(2) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("what was queued has not been committed");
}
