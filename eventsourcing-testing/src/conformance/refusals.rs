//! P32: a refused or dropped operation keeps its transaction from being committed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use eventsourcing_core::sql::Transaction;
use eventsourcing_core::store::{EventStore, FollowerStore, Name, Position, StoreError, Tracking};
use eventsourcing_core::values;

use super::FollowerFixture;
use super::assertions::{
    Picture, assert_invalid, assert_tracking_conflict, stream_of, tracking_of,
};
use super::builders::{FOLLOWER, append_to, step_from, stream};
use super::transactions::{begin, carry_out, commit, database_of};

const CREATE: &str = "CREATE TABLE entries (account TEXT PRIMARY KEY)";
const INSERT: &str = "INSERT INTO entries (account) VALUES ($1)";
const OTHER: Name = Name::from_static("other");

/// Begins a transaction with a row and a step, which a wrong commit would keep.
async fn begin_and_write(store: &impl FollowerStore) -> Box<dyn Transaction> {
    let mut transaction = begin(store).await;
    let step = step_from(0, store.log_id()).by(OTHER).to(1);
    transaction
        .step(&step)
        .await
        .expect("the other follower is at 0");
    write(&mut *transaction, "before").await;
    transaction
}

async fn write(transaction: &mut dyn Transaction, account: &str) {
    transaction
        .execute(INSERT, &values![account])
        .await
        .expect("the table is there");
}

async fn assert_nothing_written<F: FollowerFixture>(fixture: &F, what: &str) {
    let fresh = fixture.open().await;
    let rows = database_of(&fresh)
        .query("SELECT account FROM entries", &[])
        .await
        .expect("the table is there");
    assert_eq!(rows, [], "after {what}");
    for follower in [&OTHER, &FOLLOWER] {
        assert_eq!(
            tracking_of(&fresh, follower, fresh.log_id()).await,
            Position::ZERO,
            "{follower} after {what}"
        );
    }
}

/// P32: A transaction in which a step was refused is not committed, whatever operations follow.
pub async fn commit_after_a_refused_step_writes_nothing_and_says_so<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let log_id = store.log_id();
    carry_out(&store, &[CREATE]).await;
    let before = Picture::with_followers(&store, &[], &[&FOLLOWER, &OTHER]).await;
    let steps: [(&str, Tracking); 3] = [
        ("a step from elsewhere", step_from(3, log_id).to(4)),
        ("a step backwards", step_from(4, log_id).to(3)),
        (
            "a follower without a name",
            step_from(0, log_id).by("").to(1),
        ),
    ];
    for (what, step) in &steps {
        for goes_on in [false, true] {
            let mut transaction = begin_and_write(&store).await;
            let refused = transaction.step(step).await;
            match step.from <= step.to && !step.follower.as_str().is_empty() {
                true => assert_tracking_conflict(refused, &FOLLOWER, 0),
                false => assert_invalid(refused, what),
            }
            if goes_on {
                let sound = step_from(0, log_id).to(1);
                assert!(
                    transaction.step(&sound).await.is_err(),
                    "a step after {what}"
                );
                assert!(
                    transaction
                        .execute(INSERT, &values!["after"])
                        .await
                        .is_err(),
                    "a statement after {what}"
                );
                assert!(
                    transaction
                        .query("SELECT account FROM entries", &[])
                        .await
                        .is_err(),
                    "a query after {what}"
                );
            }
            assert_invalid(transaction.commit().await, what);
            assert_nothing_written(fixture, what).await;
        }
    }
    assert_eq!(
        before,
        Picture::with_followers(&fixture.open().await, &[], &[&FOLLOWER, &OTHER]).await
    );
    assert_goes_on(&store).await;
}

/// P32: A transaction in which a statement or a query was refused is not committed, whatever operations follow.
pub async fn commit_after_a_refused_statement_writes_nothing_and_says_so<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    carry_out(&store, &[CREATE]).await;
    let statements = [
        ("INSERT INTO missing (account) VALUES ('Ada')", vec![]),
        ("INSERT INTO entries (account) VALUES ('before')", vec![]),
        ("INSERT INTO entries (account) VALUES ($1)", vec![]),
        ("not a statement", vec![]),
        ("SELECT account FROM missing", vec![]),
        (
            "SELECT account FROM entries WHERE account = $1",
            values!["Ada", 2_i64].to_vec(),
        ),
        ("COMMIT", vec![]),
        ("/* at last */ COMMIT", vec![]),
        ("-- at last\nEND", vec![]),
        (";COMMIT", vec![]),
        ("/* /* */ COMMIT", vec![]),
        ("ROLLBACK", vec![]),
        ("BEGIN", vec![]),
        ("SAVEPOINT a", vec![]),
        ("RELEASE a", vec![]),
    ];
    for (sql, values) in &statements {
        for queried in [false, true] {
            let mut transaction = begin_and_write(&store).await;
            let refused = match queried {
                true => transaction.query(sql, values).await.map(drop),
                false => transaction.execute(sql, values).await.map(drop),
            };
            assert!(refused.is_err(), "{sql} is refused");
            if queried {
                assert!(
                    transaction
                        .execute(INSERT, &values!["after"])
                        .await
                        .is_err(),
                    "a statement after {sql}"
                );
            }
            assert_invalid(transaction.commit().await, sql);
            assert_nothing_written(fixture, sql).await;
        }
    }
    assert_goes_on(&store).await;
}

/// P32: A transaction in which the future of an operation was dropped is not committed.
pub async fn commit_after_a_dropped_operation_writes_nothing_and_says_so<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    carry_out(&store, &[CREATE]).await;
    let mut dropped = 0;
    for round in 0..24 {
        let mut transaction = begin_and_write(&store).await;
        let step = step_from(0, store.log_id()).to(1);
        let values = values!["dropped"];
        let is_unfinished = match round % 3 {
            0 => drop_after_one_poll(transaction.execute(INSERT, &values)).await,
            1 => drop_after_one_poll(transaction.query("SELECT account FROM entries", &[])).await,
            _ => drop_after_one_poll(transaction.step(&step)).await,
        };
        // A future that is ready at its first poll was not dropped midway, so such a case shows nothing.
        if !is_unfinished {
            continue;
        }
        dropped += 1;
        let committed = transaction.commit().await;
        assert!(
            matches!(committed, Err(StoreError::Unavailable { .. })),
            "an answer stayed out, but {committed:?}"
        );
        assert_nothing_written(fixture, "a dropped future").await;
    }
    assert!(dropped > 0, "every operation is answered at once");
    assert_goes_on(&store).await;
}

async fn drop_after_one_poll(operation: impl Future) -> bool {
    let mut operation = pin!(operation);
    poll_fn(|context| Poll::Ready(operation.as_mut().poll(context).is_pending())).await
}

/// Checks that appends and transactions work as before.
async fn assert_goes_on(store: &impl FollowerStore) {
    let stream = stream();
    store
        .append(append_to(&stream, "one"))
        .await
        .expect("any version");
    commit(begin_and_write(store).await).await;
    let rows = database_of(store)
        .query("SELECT account FROM entries", &[])
        .await
        .expect("the table is there");
    assert_eq!(rows.len(), 1);
    assert_eq!(stream_of(store, &stream).await.len(), 1);
}
