//! The end of a store: the queue is committed, and the file is left tidy.

mod fixture;

use std::time::Duration;

use eventsourcing_core::sql::TRANSACTION_IDLE_MAX;
use eventsourcing_core::store::{EventStore, FollowerStore, Position, StoreError};
use eventsourcing_sqlite::SqliteStore;
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
    assert_eq!(
        std::fs::read_dir(place.folder()).expect("a folder").count(),
        1,
        "the write-ahead log is gone"
    );
}

#[tokio::test]
async fn closed_store_is_unavailable_for_all_clones() {
    let place = Place::new();
    let store = place.store().await;
    let clone = store.clone();
    let waiting = clone.wait_beyond(Position::ZERO, None);
    let (waited, ()) = tokio::join!(waiting, store.close());
    assert!(
        matches!(waited, Err(StoreError::Unavailable { .. })),
        "{waited:?}"
    );
    let appended = clone.append(append()).await;
    assert!(
        matches!(appended, Err(StoreError::Unavailable { .. })),
        "{appended:?}"
    );
    let head = clone.head().await;
    assert!(
        matches!(head, Err(StoreError::Unavailable { .. })),
        "{head:?}"
    );
}

#[tokio::test]
async fn dropped_store_commits_what_is_queued() {
    let place = Place::new();
    let store = place.store().await;
    let mut outsider = Connection::open(place.file()).expect("a connection");
    let lock = outsider
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock");
    let first = store.append(append());
    let second = store.append(append());

    let asked = timeout(Duration::from_millis(20), async {
        tokio::join!(first, second)
    })
    .await;
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

#[tokio::test]
async fn closing_undoes_an_open_transaction_and_does_not_wait_for_it() {
    let place = Place::new();
    for store in [
        place.store().await,
        SqliteStore::in_memory().expect("memory"),
    ] {
        let database = store.database().expect("a database");
        let mut transaction = database.begin().await.expect("a transaction");
        transaction
            .execute("CREATE TABLE balances (account TEXT)", &[])
            .await
            .expect("a table");
        let next = tokio::spawn({
            let database = store.database().expect("a database");
            async move { database.begin().await.map(drop) }
        });
        sleep(Duration::from_millis(20)).await;
        timeout(TRANSACTION_IDLE_MAX / 2, store.close())
            .await
            .expect("closing does not wait for the transaction");
        let error = transaction
            .execute("DROP TABLE balances", &[])
            .await
            .expect_err("it was undone")
            .to_string();
        assert!(
            error.ends_with("the store has been closed, and the transaction was rolled back"),
            "{error}"
        );
        let committed = transaction.commit().await;
        assert!(
            matches!(committed, Err(StoreError::Unavailable { .. })),
            "{committed:?}"
        );
        let next = next.await.expect("a task");
        assert!(
            matches!(next, Err(StoreError::Unavailable { .. })),
            "{next:?}"
        );
        assert!(
            database
                .query("SELECT 1", &[])
                .await
                .expect_err("it is closed")
                .is_unavailable()
        );
    }
    assert_eq!(
        std::fs::read_dir(place.folder()).expect("a folder").count(),
        1,
        "the write-ahead log is gone"
    );
    let database = place.store().await.database().expect("a database");
    assert!(
        database.query("SELECT * FROM balances", &[]).await.is_err(),
        "the table was undone"
    );
}

#[tokio::test]
async fn transaction_keeps_its_store_open() {
    let place = Place::new();
    let mut transaction = place
        .store()
        .await
        .database()
        .expect("a database")
        .begin()
        .await
        .expect("a transaction");
    sleep(Duration::from_millis(50)).await;
    transaction
        .execute("CREATE TABLE balances (account TEXT)", &[])
        .await
        .expect("a table");
    transaction.commit().await.expect("it is committed");
    let database = place.store().await.database().expect("a database");
    assert_eq!(
        database
            .query("SELECT * FROM balances", &[])
            .await
            .expect("the table is there"),
        []
    );
}
