//! Transactions of read models beside the other users of the file. Promise P32.

mod fixture;

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::sql::{Database, SqlError, TRANSACTION_IDLE_MAX};
use eventsourcing_core::store::{EventStore, FollowerStore, Position, StoreError};
use eventsourcing_core::values;
use eventsourcing_sqlite::{SqliteOptions, SqliteStore};
use fixture::{Place, append, one_line};
use rusqlite::{Connection, TransactionBehavior};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(5);
const CREATE: &str = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount BIGINT)";

fn database(store: &SqliteStore) -> Arc<dyn Database> {
    store.database().expect("a database")
}

#[tokio::test]
async fn statements_that_control_transactions_are_refused_with_what_to_do() {
    let place = Place::new();
    let store = place.store().await;
    for sql in ["COMMIT", "rollback", "SAVEPOINT a", "/* nested */ BEGIN"] {
        let mut transaction = database(&store).begin().await.expect("a transaction");
        transaction.execute(CREATE, &[]).await.expect("a table");
        let error = transaction
            .execute(sql, &[])
            .await
            .expect_err(sql)
            .to_string();
        assert!(
            error.contains("ends with its commit, and is rolled back when it is dropped"),
            "{error}"
        );
        let committed = transaction.commit().await;
        assert!(
            matches!(committed, Err(StoreError::Invalid { .. })),
            "{committed:?}"
        );
        let error = database(&store).query(sql, &[]).await.expect_err(sql);
        assert!(matches!(error, SqlError::Statement { .. }), "{error:?}");
    }
    assert!(
        database(&store)
            .query("SELECT * FROM balances", &[])
            .await
            .is_err(),
        "no table was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_do_not_wait_for_a_transaction_and_appends_do() {
    let place = Place::new();
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    let mut transaction = database(&store).begin().await.expect("a transaction");
    transaction.execute(CREATE, &[]).await.expect("a table");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.append(append()).await }
    });
    let head = timeout(SOON, store.head())
        .await
        .expect("no waiting")
        .expect("a head");
    let one = timeout(SOON, async {
        database(&store).query("SELECT 1 AS one", &[]).await
    })
    .await;
    assert_eq!(
        (head, one.expect("no waiting").expect("a row").len()),
        (Position::new(1), 1)
    );
    sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "there is one writer");
    transaction.commit().await.expect("it is committed");
    waiting.await.expect("a task").expect("a receipt");
    assert_eq!(
        timeout(SOON, store.wait_beyond(Position::new(1), None))
            .await
            .expect("soon")
            .expect("a head")
            .as_u64(),
        2
    );
}

#[tokio::test]
async fn transaction_waits_for_the_lock_of_another_process_and_not_for_ever() {
    let place = Place::new();
    let options = SqliteOptions::new().with_busy_timeout(Duration::from_millis(50));
    let store = options.open(place.file()).await.expect("a store");
    let mut outsider = Connection::open(place.file()).expect("a connection");
    let lock = outsider
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock");
    let Err(error) = database(&store).begin().await else {
        panic!("the lock is taken")
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        one_line(&error).ends_with("busy timeout; this attempt wrote nothing"),
        "{error}"
    );
    lock.rollback().expect("the lock is given back");
    drop(database(&store).begin().await.expect("a transaction"));
    store.append(append()).await.expect("a receipt");
}

#[tokio::test]
async fn transaction_that_was_left_idle_says_so() {
    let store = SqliteStore::in_memory().expect("memory");
    let mut transaction = database(&store).begin().await.expect("a transaction");
    transaction.execute(CREATE, &[]).await.expect("a table");
    timeout(TRANSACTION_IDLE_MAX * 2, store.append(append()))
        .await
        .expect("not for ever")
        .expect("a receipt");
    let error = transaction
        .execute("SELECT 1", &[])
        .await
        .expect_err("it was undone")
        .to_string();
    assert!(
        error.ends_with("idle for too long and has been rolled back; begin another one"),
        "{error}"
    );
}

#[tokio::test]
async fn deferred_constraint_that_does_not_hold_undoes_the_transaction() {
    let store = SqliteStore::in_memory().expect("memory");
    let mut transaction = database(&store).begin().await.expect("a transaction");
    for sql in [
        CREATE,
        "CREATE TABLE entries (account TEXT REFERENCES balances DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO entries VALUES ('Ada')",
    ] {
        transaction
            .execute(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let error = transaction
        .commit()
        .await
        .expect_err("there is no balance of Ada");
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert!(
        one_line(&error).contains("a deferred constraint does not hold"),
        "{error}"
    );
    assert!(
        database(&store)
            .query("SELECT * FROM entries", &[])
            .await
            .is_err(),
        "nothing was kept"
    );
    store.append(append()).await.expect("the store goes on");
}

#[tokio::test]
async fn full_disk_undoes_the_transaction() {
    let store = SqliteStore::in_memory().expect("memory");
    let mut transaction = database(&store).begin().await.expect("a transaction");
    transaction
        .execute("PRAGMA max_page_count = 100", &[])
        .await
        .expect("a small database");
    transaction
        .execute("CREATE TABLE big (bytes BYTEA)", &[])
        .await
        .expect("a table");
    let big = values![vec![0_u8; 1024 * 1024]];
    let error = transaction
        .execute("INSERT INTO big (bytes) VALUES ($1)", &big)
        .await
        .expect_err("there is no room");
    assert!(error.is_unavailable(), "{error:?}");
    drop(transaction);
    let none = database(&store)
        .query("SELECT * FROM big", &[])
        .await
        .expect_err("it was undone");
    assert!(matches!(none, SqlError::Statement { .. }), "{none:?}");
    store.append(append()).await.expect("the store goes on");
}
