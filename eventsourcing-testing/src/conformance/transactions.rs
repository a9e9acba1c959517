//! P32: the statements and the step of a transaction happen together or not at all, however the transaction ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::sql::{Database, SqlError, TRANSACTION_IDLE_MAX, Transaction};
use eventsourcing_core::store::{
    EventStore, FollowerNotes, FollowerStore, HolderId, Lease, LeaseRequest, LeaseToken, Name,
    Position, Revision, StoreError, Tracking,
};
use eventsourcing_core::values;
use tokio::time::{sleep, timeout};

use super::FollowerFixture;
use super::assertions::{
    Picture, assert_invalid, assert_tracking_conflict, notebook_of, stream_of, texts_of,
    tracking_of,
};
use super::builders::{FOLLOWER, append, append_to, step_from, stream};
use super::concurrency::{Start, drop_midway, finished, open_many, race, within};
use crate::Seed;

/// A time longer than that of any query that waits for no lock.
const SOON: Duration = Duration::from_millis(500);

pub(super) fn database_of(store: &impl FollowerStore) -> Arc<dyn Database> {
    store
        .database()
        .expect("a store that is put to the promises about databases has one")
}

pub(super) async fn begin(store: &impl FollowerStore) -> Box<dyn Transaction> {
    database_of(store)
        .begin()
        .await
        .expect("a transaction can begin")
}

pub(super) async fn commit(transaction: Box<dyn Transaction>) {
    transaction
        .commit()
        .await
        .expect("a transaction can be committed");
}

/// Runs `statements` in a transaction of their own.
pub(super) async fn carry_out(store: &impl FollowerStore, statements: &[&str]) {
    let mut transaction = begin(store).await;
    for sql in statements {
        transaction
            .execute(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    commit(transaction).await;
}

const CREATE: &str = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount BIGINT)";
const INSERT: &str = "INSERT INTO balances (account, amount) VALUES ($1, $2)";

/// Returns the rows of the table, in order.
async fn balances(database: &dyn Database) -> Vec<(String, i64)> {
    let rows = database
        .query("SELECT account, amount FROM balances ORDER BY amount", &[])
        .await;
    let rows = rows.expect("the table can be read").into_iter();
    rows.map(|row| {
        (
            row.get("account").expect("a text"),
            row.get("amount").expect("a number"),
        )
    })
    .collect()
}

fn row(account: &str, amount: i64) -> (String, i64) {
    (account.to_owned(), amount)
}

/// P32: The statements of a transaction, and its step with its notes, happen together when it is committed, or not at all.
pub async fn transaction_and_its_step_happen_together_or_not_at_all<F: FollowerFixture>(
    fixture: &F,
) {
    let store = fixture.open().await;
    let fresh = fixture.open().await;

    let log_id = store.log_id();
    let database = database_of(&store);
    let elsewhere = database_of(&fresh);

    carry_out(&store, &[CREATE]).await;
    store
        .append(append_to(&stream(), "one"))
        .await
        .expect("any version");
    let log = Picture::of(&fresh, &[]).await;
    let write = async |from: u64, account: &str| {
        let mut transaction = database.begin().await.expect("a transaction can begin");
        let step = step_from(from, log_id)
            .to(from + 3)
            .with_note("last", account)
            .without_note("never there");
        transaction
            .step(&step)
            .await
            .expect("the follower is there");
        let values = values![account, i64::try_from(from).expect("a small number")];
        assert_eq!(
            transaction
                .execute(INSERT, &values)
                .await
                .expect("the table is there"),
            1
        );
        transaction
    };
    commit(write(0, "Ada").await).await;
    let notebook = notebook_of(&fresh, &FOLLOWER, log_id).await;
    assert_eq!(
        (notebook.position, notebook.revision),
        (Position::new(3), Revision::new(1))
    );
    assert_eq!(notebook.notes.get("last").map(String::as_str), Some("Ada"));
    assert_eq!(balances(&*elsewhere).await, [row("Ada", 0)]);

    drop(write(3, "Bob").await);
    let mut refused = database.begin().await.expect("a transaction can begin");
    refused
        .execute(INSERT, &values!["Eve", 9_i64])
        .await
        .expect("the table is there");
    let other = step_from(0, log_id).by("other").to(1);
    refused
        .step(&other)
        .await
        .expect("another follower is at 0");
    assert_tracking_conflict(
        refused.step(&step_from(0, log_id).to(1)).await,
        &FOLLOWER,
        3,
    );
    drop(refused);
    let mut two = write(3, "Cid").await;
    two.step(&other)
        .await
        .expect("nothing has become of its step");
    commit(two).await;
    assert_eq!(
        balances(&*elsewhere).await,
        [row("Ada", 0), row("Cid", 3)],
        "what was not committed is gone"
    );
    assert_eq!(
        tracking_of(&fresh, &FOLLOWER, log_id).await,
        Position::new(6)
    );
    assert_eq!(
        tracking_of(&fresh, &Name::from("other"), log_id).await,
        Position::new(1)
    );

    assert_eq!(
        log,
        Picture::of(&fresh, &[]).await,
        "transactions leave the log alone"
    );
}

/// P32: A step in a transaction is refused for the same reasons as in an append: its position, its revision, its lease, its limits.
pub async fn step_in_a_transaction_is_refused_as_in_an_append<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let log_id = store.log_id();
    carry_out(&store, &[CREATE]).await;
    let lease = async |holder| {
        let request = LeaseRequest {
            follower: FOLLOWER,
            upstream: log_id,
            holder,
            duration: Duration::from_secs(600),
        };
        match store.lease(request).await.expect("leases can be asked for") {
            Lease::Held { token, .. } => token,
            taken @ Lease::Taken { .. } => panic!("the lease is free, but {taken:?}"),
        }
    };
    let outdated = lease(HolderId::new()).await;
    store
        .release(&FOLLOWER, log_id, outdated)
        .await
        .expect("leases can be released");
    let newest = lease(HolderId::new()).await;
    let step = |from: u64| step_from(from, log_id).to(9).with_note("key", "wrong");
    store
        .append(append().with_tracking(step_from(0, log_id).to(5).with_note("key", "right")))
        .await
        .expect("it is at 0");
    let before = Picture::with_follower(&store, &[]).await;

    let attempt = async |step: Tracking| {
        let mut transaction = begin(&store).await;
        let outcome = transaction.step(&step).await;
        drop(transaction);
        outcome
    };
    assert_tracking_conflict(attempt(step(0)).await, &FOLLOWER, 5);
    assert_tracking_conflict(
        attempt(step(5).with_revision(Revision::ZERO)).await,
        &FOLLOWER,
        5,
    );
    assert_tracking_conflict(
        attempt(step(5).with_revision(Revision::new(2))).await,
        &FOLLOWER,
        5,
    );
    for wrong in [outdated, LeaseToken::new(newest.as_u64() + 1)] {
        match attempt(step(5).with_lease(wrong)).await {
            Err(StoreError::LeaseLost {
                follower,
                token,
                current,
            }) => {
                assert_eq!((follower, token, current), (FOLLOWER, wrong, newest));
            }
            other => panic!("token {wrong} is not the newest, but {other:?}"),
        }
    }
    assert_invalid(
        attempt(step_from(5, log_id).to(4)).await,
        "a step backwards",
    );
    assert_invalid(
        attempt(step(5).with_note("", "")).await,
        "a note without a key",
    );
    assert_invalid(
        attempt(step_from(5, log_id).by("").to(9)).await,
        "a follower without a name",
    );
    assert_eq!(
        before,
        Picture::with_follower(&fixture.open().await, &[]).await,
        "nothing may be written"
    );

    let mut transaction = begin(&store).await;
    let sound = step(5).with_lease(newest).with_revision(Revision::new(1));
    transaction
        .step(&sound)
        .await
        .expect("position, revision and lease are right");
    commit(transaction).await;
    assert_eq!(
        tracking_of(&store, &FOLLOWER, log_id).await,
        Position::new(9)
    );
}

/// P32: Exactly one of any number of concurrent transactions that make the same step succeeds.
pub async fn of_transactions_that_make_one_step_exactly_one_succeeds<F: FollowerFixture>(
    fixture: &F,
) {
    let seed = Seed::from_env();
    let stores = open_many(fixture, 2).await;
    carry_out(&stores[0], &[CREATE]).await;
    for round in 0..12_u64 {
        let start = if round % 2 == 0 {
            Start::Together
        } else {
            Start::Staggered(seed.rng(round))
        };
        let racers = (0..4_usize).map(|racer| {
            let store = Arc::clone(&stores[racer % stores.len()]);
            async move {
                let step = step_from(round, store.log_id()).to(round + 1);
                if racer == 3 {
                    return store
                        .append(append().with_tracking(step))
                        .await
                        .map(|_| false);
                }
                let mut transaction = begin(&store).await;
                transaction.step(&step).await?;
                let account = format!("{round} {racer}");
                let amount = i64::try_from(round).expect("a small number");

                transaction
                    .execute(INSERT, &values![account, amount])
                    .await
                    .expect("the table is there");
                transaction.commit().await.map(|()| true)
            }
        });
        let outcomes = race::<F, _>(start, racers).await;
        let won: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().ok())
            .collect();
        assert_eq!(won.len(), 1, "exactly one succeeds: {outcomes:?}");
        let rows = balances(&*database_of(&stores[1])).await;
        let of_round = rows
            .iter()
            .filter(|(_, amount)| u64::try_from(*amount) == Ok(round))
            .count();
        assert_eq!(
            of_round,
            usize::from(*won[0]),
            "what the others wrote is gone: {rows:?}"
        );
        for lost in outcomes.into_iter().filter(Result::is_err) {
            assert_tracking_conflict(lost, &FOLLOWER, round + 1);
        }
    }
}

/// P32: A query outside of transactions sees committed rows only. It may wait for a transaction to end.
pub async fn query_sees_only_what_is_committed<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let other = fixture.open().await;

    carry_out(
        &store,
        &[
            CREATE,
            "INSERT INTO balances (account, amount) VALUES ('Ada', 1)",
        ],
    )
    .await;
    let old = vec![row("Ada", 1)];
    let new = vec![row("Bob", 2), row("Cid", 3)];

    for committed in [false, true] {
        let mut transaction = begin(&store).await;
        transaction
            .execute("DELETE FROM balances", &[])
            .await
            .expect("the table is there");
        for (account, amount) in &new {
            transaction
                .execute(INSERT, &values![account, *amount])
                .await
                .expect("the table is there");
        }
        let inside = transaction
            .query("SELECT account FROM balances", &[])
            .await
            .expect("the table can be read");
        assert_eq!(inside.len(), 2, "a transaction sees what it has written");
        let queries = [database_of(&store), database_of(&other)]
            .map(|database| tokio::spawn(async move { balances(&*database).await }));
        sleep(SOON).await;
        let early = queries
            .iter()
            .map(tokio::task::JoinHandle::is_finished)
            .collect::<Vec<_>>();
        if committed {
            commit(transaction).await;
        } else {
            drop(transaction);
        }
        for (found, early) in finished::<F, _>(queries.into())
            .await
            .into_iter()
            .zip(early)
        {
            let late = committed && !early;
            assert!(
                found == old || (late && found == new),
                "committed: {committed}, early: {early}, seen: {found:?}"
            );
        }
        let expected = if committed { &new } else { &old };
        assert_eq!(
            balances(&*database_of(&store)).await,
            *expected,
            "committed: {committed}"
        );
        assert_eq!(
            balances(&*database_of(&other)).await,
            *expected,
            "committed: {committed}"
        );
    }
}

/// P32: If a future of a transaction is dropped at any await, the transaction has happened as a whole or not at all.
pub async fn dropped_transaction_happened_wholly_or_not_at_all<F: FollowerFixture>(fixture: &F) {
    let mut rng = Seed::from_env().rng(0);
    let store = fixture.open().await;
    let fresh = fixture.open().await;

    let log_id = store.log_id();
    let stream = stream();

    carry_out(&store, &[CREATE]).await;
    let mut at = 0;
    let rounds = 40;

    for round in 0..rounds {
        let whole = async {
            let mut transaction = begin(&store).await;
            let step = step_from(at, log_id)
                .to(at + 1)
                .with_note("at", (at + 1).to_string());
            transaction
                .step(&step)
                .await
                .expect("no other step is made");
            let amount = i64::try_from(at).expect("a small number");
            transaction
                .execute(INSERT, &values![amount.to_string(), amount])
                .await
                .expect("the table is there");
            transaction.commit().await
        };
        drop_midway(whole, &mut rng).await;
        if round % 2 == 0 {
            let append = store.append(append_to(&stream, &round.to_string()));
            within::<F, _>("an append after a dropped transaction", append)
                .await
                .expect("any version");
        }
        let now = within::<F, _>("a transaction after a dropped one", settled(&store, at)).await;
        assert!(now == at || now == at + 1, "from {at} to {now}");
        at = now;
        let FollowerNotes {
            position,
            revision,
            notes,
            ..
        } = notebook_of(&fresh, &FOLLOWER, log_id).await;
        assert_eq!(
            (position.as_u64(), revision.as_u64()),
            (at, at),
            "a step for each position"
        );
        assert_eq!(
            notes.get("at").cloned().unwrap_or_else(|| "0".into()),
            at.to_string()
        );
        assert_eq!(
            balances(&*database_of(&fresh)).await.len() as u64,
            at,
            "a row for each step"
        );
    }
    assert_eq!(stream_of(&fresh, &stream).await.len(), rounds / 2);
}

/// Returns the position of the follower once no transaction moves it any more: one of the two positions from `at`.
async fn settled(store: &impl FollowerStore, at: u64) -> u64 {
    let mut transaction = begin(store).await;
    match transaction
        .step(&step_from(at, store.log_id()).to(at))
        .await
    {
        Ok(()) => at,
        Err(StoreError::TrackingConflict { actual, .. }) => actual.as_u64(),
        Err(error) => panic!("a step in place may only conflict: {error:?}"),
    }
}

/// P32: Appends continue after transactions that are dropped, and none that arrived meanwhile is lost.
pub async fn appends_go_on_after_transactions_that_are_dropped<F: FollowerFixture>(fixture: &F) {
    let store = Arc::new(fixture.open().await);
    let other = Arc::new(fixture.open().await);

    let stream = stream();
    carry_out(&store, &[CREATE]).await;
    let mut expected = Vec::new();
    for round in 0..5_u64 {
        let mut transaction = begin(&store).await;
        let step = step_from(0, store.log_id()).to(1);
        transaction
            .step(&step)
            .await
            .expect("no transaction is committed");
        transaction
            .execute(INSERT, &values!["Ada", 1_i64])
            .await
            .expect("no row was kept");
        let appends = [&store, &other, &store]
            .into_iter()
            .enumerate()
            .map(|(number, store)| {
                let store = Arc::clone(store);
                let append = append_to(&stream, &format!("{round} {number}"));

                tokio::spawn(async move { store.append(append).await.map(drop) })
            });
        let appends: Vec<_> = appends.collect();
        sleep(Duration::from_millis(10 * round)).await;
        drop(transaction);
        for outcome in finished::<F, _>(appends).await {
            outcome.expect("any version is expected");
        }
        expected.extend((0..3).map(|number| format!("{round} {number}")));
    }
    let mut found = texts_of(&stream_of(&*other, &stream).await);
    found.sort();
    assert_eq!(found, expected, "each append is there once");
    assert_eq!(
        tracking_of(&*other, &FOLLOWER, store.log_id()).await,
        Position::ZERO
    );
    assert_eq!(balances(&*database_of(&*other)).await, []);
}

/// P32: A transaction that is left idle is rolled back: others do not wait for it forever, and its owner gets an error.
pub async fn idle_transaction_does_not_block_others_for_ever<F: FollowerFixture>(fixture: &F) {
    let store = fixture.open().await;
    let log_id = store.log_id();
    carry_out(&store, &[CREATE]).await;
    let step = || step_from(0, log_id).to(1);
    let mut idle = begin(&store).await;
    idle.step(&step()).await.expect("the follower is at 0");
    idle.execute(INSERT, &values!["Ada", 1_i64])
        .await
        .expect("the table is there");
    let slow = TRANSACTION_IDLE_MAX / 4;
    sleep(slow).await;
    idle.execute(INSERT, &values!["Bob", 2_i64])
        .await
        .expect("one that is merely slow goes on");

    until_available(|| store.append(append().with_tracking(step()))).await;
    let statement = idle.execute(INSERT, &values!["Cid", 3_i64]).await;
    assert!(
        matches!(
            statement,
            Err(SqlError::Store(StoreError::Unavailable { .. }))
        ),
        "it was undone, but {statement:?}"
    );
    let committed = timeout(SOON * 10, idle.commit())
        .await
        .expect("the answer is known");
    assert!(
        matches!(committed, Err(StoreError::Unavailable { .. })),
        "it was undone, but {committed:?}"
    );
    assert_eq!(balances(&*database_of(&store)).await, []);
    assert_eq!(
        notebook_of(&store, &FOLLOWER, log_id).await.revision,
        Revision::new(1),
        "one step was made"
    );

    let mut next = begin(&store).await;
    next.execute(INSERT, &values!["Dan", 4_i64])
        .await
        .expect("the table is there");
    commit(next).await;
    assert_eq!(balances(&*database_of(&store)).await, [row("Dan", 4)]);
}

/// Retries while other transactions cause conflicts.
async fn until_available<T, N: Future<Output = Result<T, StoreError>>>(
    attempt: impl Fn() -> N,
) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(StoreError::Unavailable { .. }) => sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("others may be in the way for some time, but {error:?}"),
        }
    }
}
