//! Read models in SQL databases, on every store: exactly once, rebuilt without a pause, continued after a crash.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

#[path = "projections/names.rs"]
mod names;
mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bank_example::application::accounts::AccountService;
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::system::EventSourcedBank;
use derive_more::{Deref, From};
use eventsourcing::sql::SqlError;
use eventsourcing::store::{Position, StoreError};
use eventsourcing::system::{FollowerState, RebuildState};
use eventsourcing::testing::Seed;
use eventsourcing::{
    DEFAULT_TIMEOUT, Id, OnFailure, ReadModel, RecordedEvent, Root, Runner, RunningSystem,
    SqlProjection, SqlReadModel, Stores, System, SystemError, Table, Tx, values,
};
use support::{Place, money};

/// Counts the credits of each account, in the first version.
#[derive(Debug, Deref, From)]
struct Credits(ReadModel);

impl SqlReadModel for Credits {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new(
        "credits",
        "account TEXT PRIMARY KEY, number BIGINT NOT NULL",
    )
    .with_indexes(&["number"])];
}

impl SqlProjection<Account> for Credits {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        count(event, tx, 1).await
    }
}

async fn count(event: &RecordedEvent<Account>, tx: &mut Tx<'_>, by: i64) -> Result<(), SqlError> {
    let AccountEvent::Credited { .. } = event.payload else {
        return Ok(());
    };
    let sql = "INSERT INTO {credits} (account, number) VALUES ($1, $2) \
               ON CONFLICT (account) DO UPDATE SET number = {credits}.number + $2";
    tx.execute(sql, &values![event.aggregate_id, by])
        .await
        .map(drop)
}

impl Credits {
    async fn number(&self, account: Id<Account>) -> Result<i64, SqlError> {
        number(self, account).await
    }
}

async fn number(model: &ReadModel, account: Id<Account>) -> Result<i64, SqlError> {
    let rows = model
        .query(
            "SELECT number FROM {credits} WHERE account = $1",
            &values![account],
        )
        .await?;
    rows.first().map_or(Ok(0), |row| row.get("number"))
}

#[derive(Debug, System)]
struct Bank {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    credits: Credits,
}

/// Counts each credit ten times, in a later release, which also has another table.
#[derive(Debug, Deref, From)]
struct TenfoldCredits(ReadModel);

impl SqlReadModel for TenfoldCredits {
    const VERSION: u32 = 2;
    const TABLES: &'static [Table] = &[
        Table::new(
            "credits",
            "account TEXT PRIMARY KEY, number BIGINT NOT NULL, remark TEXT",
        ),
        Table::new("remarks", "remark TEXT"),
    ];
}

impl SqlProjection<Account> for TenfoldCredits {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        count(event, tx, 10).await
    }
}

#[derive(Debug, System)]
#[system(name = "Bank")]
struct LaterBank {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, name = "credits", follows(accounts: Account))]
    credits: TenfoldCredits,
}

async fn stores(place: &Place) -> Stores {
    bank_example::stores::open(place.url())
        .await
        .expect("a store")
}

async fn credit(accounts: &AccountService, id: Id<Account>, times: usize) {
    let mut account = accounts.load(id).await.expect("the account is there");
    for _ in 0..times {
        account.record(AccountEvent::Credited {
            amount: money("0.01"),
        });
    }
    accounts.save(&mut account).await.expect("a save");
}

async fn start<S: System>(stores: &Stores, runner: Runner) -> RunningSystem<S> {
    eventsourcing::SystemBuilder::new(stores.clone())
        .with_runner(runner)
        .start()
        .await
        .expect("a start")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_reads_its_own_writes() {
    for place in Place::all() {
        let stores = stores(&place).await;
        for runner in [Runner::inline(), Runner::concurrent()] {
            let bank: RunningSystem<Bank> = start(&stores, runner).await;
            let alice = bank.accounts.open("Alice").await.expect("an account").id;
            for expected in 1..=20 {
                let receipt = bank
                    .accounts
                    .credit(alice, money("1"))
                    .await
                    .expect("a credit");
                bank.credits
                    .wait_for(&receipt, DEFAULT_TIMEOUT)
                    .await
                    .expect("it gets there");
                assert_eq!(
                    bank.credits.number(alice).await.expect("an answer"),
                    expected
                );
            }
            bank.stop().await.expect("a graceful end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_right_across_processes_and_ends_with_a_typed_error() {
    let place = Place::postgres();
    // Two connections to one database are as good as two processes.
    let here = stores(&place).await;
    let there = stores(&place).await;

    let here: RunningSystem<Bank> = start(&here, Runner::concurrent()).await;
    let there: RunningSystem<Bank> = start(&there, Runner::concurrent()).await;
    let alice = here.accounts.open("Alice").await.expect("an account").id;
    for expected in 1..=20 {
        let receipt = here
            .accounts
            .credit(alice, money("1"))
            .await
            .expect("a credit");
        for bank in [&here, &there] {
            bank.credits
                .wait_for(&receipt, DEFAULT_TIMEOUT)
                .await
                .expect("it gets there");
            assert_eq!(
                bank.credits.number(alice).await.expect("an answer"),
                expected
            );
        }
    }
    let mut beyond = here
        .accounts
        .credit(alice, money("1"))
        .await
        .expect("a credit");
    here.stop().await.expect("a graceful end");
    there
        .credits
        .wait_for(&beyond, DEFAULT_TIMEOUT)
        .await
        .expect("the other one takes over");
    beyond.position = Position::MAX;
    let lost = there
        .credits
        .wait_for(&beyond, DEFAULT_TIMEOUT)
        .await
        .expect_err("no event of this log was ever there");
    assert!(
        matches!(lost, SystemError::Store(StoreError::LogWentBack { .. })),
        "{lost}"
    );
    there.stop().await.expect("a graceful end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_statement_stops_the_follower_and_leaves_nothing() {
    /// Ignores a failed statement at the third credit.
    #[derive(Debug, Deref, From)]
    struct Quiet(ReadModel);

    impl SqlReadModel for Quiet {
        const VERSION: u32 = 1;
        const TABLES: &'static [Table] = &[Table::new("quiet", "position BIGINT PRIMARY KEY")];
    }

    impl SqlProjection<Account> for Quiet {
        type Error = SqlError;

        async fn project(
            &self,
            event: &RecordedEvent<Account>,
            tx: &mut Tx<'_>,
        ) -> Result<(), SqlError> {
            tx.execute("INSERT INTO {quiet} VALUES ($1)", &values![event.position])
                .await?;
            if event.version.as_u64() == 4 {
                let _ = tx
                    .execute("INSERT INTO {quiet} VALUES ($1)", &values![event.position])
                    .await;
            }
            Ok(())
        }
    }

    #[derive(Debug, System)]
    struct QuietBank {
        #[application(aggregates(Account))]
        accounts: AccountService,
        #[projection(sql, follows(accounts: Account))]
        quiet: Quiet,
    }

    for place in Place::all() {
        let bank: RunningSystem<QuietBank> =
            start(&stores(&place).await, Runner::concurrent()).await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        credit(&bank.accounts, alice, 5).await;
        let stopped = bank.wait_until_caught_up().await.expect_err("it stops");
        assert!(
            stopped
                .to_string()
                .contains("version 4): the projection ignored the error of a statement"),
            "{stopped}"
        );
        let rows = bank
            .quiet
            .query("SELECT position FROM {quiet} ORDER BY position", &[])
            .await
            .expect("an answer");
        let positions: Vec<i64> = rows
            .iter()
            .map(|row| row.get("position").expect("a number"))
            .collect();
        assert_eq!(positions, [1, 2, 3], "what came before stands");
        assert!(bank.stop().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_is_built_anew_beside_the_one_that_answers() {
    for place in Place::all() {
        let stores = stores(&place).await;
        for runner in [Runner::inline(), Runner::concurrent()] {
            let bank: RunningSystem<Bank> = start(&stores, runner).await;
            let alice = bank.accounts.open("Alice").await.expect("an account").id;
            credit(&bank.accounts, alice, 300).await;
            bank.wait_until_caught_up().await.expect("it catches up");
            for round in 1..=3 {
                let build = bank
                    .rebuild(eventsourcing::ProjectionName::new("credits"))
                    .await
                    .expect("it begins");
                build.finished().await.expect("it is shown");
                assert!(matches!(build.progress().state, RebuildState::Live));
                assert!(
                    bank.build(eventsourcing::ProjectionName::new("credits"))
                        .is_none()
                );
                assert_eq!(
                    bank.credits.number(alice).await.expect("an answer"),
                    299 + round
                );
                let receipt = bank
                    .accounts
                    .credit(alice, money("1"))
                    .await
                    .expect("a credit");
                bank.credits
                    .wait_for(&receipt, DEFAULT_TIMEOUT)
                    .await
                    .expect("it goes on with the new one");
                assert_eq!(
                    bank.credits.number(alice).await.expect("an answer"),
                    300 + round
                );
            }
            bank.stop().await.expect("a graceful end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_read_models_in_a_database_are_built_anew() {
    let stores = stores(&Place::all().remove(0)).await;
    let bank: RunningSystem<EventSourcedBank> = start(&stores, Runner::inline()).await;
    let refusal = bank
        .rebuild(eventsourcing::ProjectionName::new("ledger"))
        .await
        .expect_err("a policy")
        .to_string();
    assert!(
        refusal.contains("ledger cannot be rebuilt: it is a policy"),
        "{refusal}"
    );
    let refusal = bank
        .rebuild(eventsourcing::ProjectionName::new("nothing"))
        .await
        .expect_err("no-such-follower")
        .to_string();
    assert!(
        refusal.contains(
            "no follower \"nothing\"; it has accounts, transfers, ledger, activity, summaries"
        ),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_database_says_what_to_do() {
    let refusal = Bank::start(eventsourcing::MemoryStore::new(), Runner::inline())
        .await
        .expect_err("no database");
    assert!(matches!(refusal, SystemError::Invalid { .. }));
    assert!(
        refusal
            .to_string()
            .contains("with_read_models(SqliteStore::in_memory()?)"),
        "{refusal}"
    );
    let stores = stores(&Place::all().remove(0)).await;
    let refusal = Bank::builder(stores)
        .with_partitions(eventsourcing::PolicyName::new("credits"), 4)
        .start()
        .await
        .expect_err("no partitions");
    assert!(
        refusal
            .to_string()
            .contains("credits is a read model and cannot be split"),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_takes_the_place_of_an_earlier_one_while_both_run() {
    for place in Place::all() {
        let stores = stores(&place).await;
        let early: RunningSystem<Bank> = start(&stores, Runner::concurrent()).await;
        let alice = early.accounts.open("Alice").await.expect("an account").id;
        credit(&early.accounts, alice, 500).await;
        early.wait_until_caught_up().await.expect("it catches up");
        assert_eq!(early.credits.number(alice).await.expect("an answer"), 500);

        let late: RunningSystem<LaterBank> = start(&stores, Runner::concurrent()).await;
        if let Some(build) = late.build(eventsourcing::ProjectionName::new("credits")) {
            build.finished().await.expect("it is shown");
        }
        assert_eq!(
            number(&late.credits, alice).await.expect("an answer"),
            5_000
        );
        let receipt = early
            .accounts
            .credit(alice, money("1"))
            .await
            .expect("a credit");
        late.credits
            .wait_for(&receipt, DEFAULT_TIMEOUT)
            .await
            .expect("the new one goes on");
        assert_eq!(
            number(&late.credits, alice).await.expect("an answer"),
            5_010
        );
        late.credits
            .query("SELECT remark FROM {remarks}", &[])
            .await
            .expect("its other table is there");

        early
            .credits
            .wait_for(&receipt, DEFAULT_TIMEOUT)
            .await
            .expect("the old one sees how far the new one is");
        early
            .wait_until_caught_up()
            .await
            .expect("it is not waited for");
        let health = early.health().await.expect("an answer");
        assert!(
            matches!(health.followers[0].state, FollowerState::StandingBy { .. }),
            "{health:?}"
        );
        early.stop().await.expect("a graceful end");
        late.stop().await.expect("a graceful end");

        let again: RunningSystem<Bank> = start(&stores, Runner::inline()).await;
        credit(&again.accounts, alice, 1).await;
        again
            .wait_until_caught_up()
            .await
            .expect("the old version only looks on");
        assert_eq!(again.credits.number(alice).await.expect("an answer"), 5_010);
        again.stop().await.expect("a graceful end");
        let late: RunningSystem<LaterBank> = start(&stores, Runner::inline()).await;
        assert_eq!(
            number(&late.credits, alice).await.expect("an answer"),
            5_020
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_says_so_and_the_old_version_answers() {
    /// A version that does not work.
    #[derive(Debug, Deref, From)]
    struct Broken(ReadModel);

    impl SqlReadModel for Broken {
        const VERSION: u32 = 3;
        const TABLES: &'static [Table] = &[Table::new(
            "credits",
            "account TEXT PRIMARY KEY, number BIGINT NOT NULL",
        )];
    }

    impl SqlProjection<Account> for Broken {
        type Error = SqlError;

        async fn project(
            &self,
            event: &RecordedEvent<Account>,
            tx: &mut Tx<'_>,
        ) -> Result<(), SqlError> {
            tx.execute(
                "INSERT INTO {credits} (account, amount) VALUES ($1, 1)",
                &values![event.aggregate_id],
            )
            .await?;
            Ok(())
        }
    }

    #[derive(Debug, System)]
    struct BrokenBank {
        #[expect(dead_code, reason = "it is followed")]
        #[application(aggregates(Account))]
        accounts: AccountService,
        #[projection(sql, follows(accounts: Account))]
        credits: Broken,
    }

    for place in Place::all() {
        let stores = stores(&place).await;
        let bank: RunningSystem<Bank> = start(&stores, Runner::inline()).await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        credit(&bank.accounts, alice, 5).await;
        bank.stop().await.expect("a graceful end");

        let broken: RunningSystem<BrokenBank> = start(&stores, Runner::concurrent()).await;
        let build = broken
            .rebuild(eventsourcing::ProjectionName::new("credits"))
            .await
            .expect("it joins the one under way");
        let failure = build.finished().await.expect_err("it fails").to_string();
        assert!(
            failure.contains("at position 1 (Opened of Account"),
            "{failure}"
        );
        assert_eq!(number(&broken.credits, alice).await.expect("an answer"), 5);
        broken.stop().await.expect("a graceful end");

        // A release that works takes its place.
        let late: RunningSystem<LaterBank> = start(&stores, Runner::inline()).await;
        assert_eq!(number(&late.credits, alice).await.expect("an answer"), 50);
    }
}

/// Counts the credits of 1 or more. Other events change nothing, so that a large rebuild does not take long.
#[derive(Debug, Deref, From)]
struct LargeCredits(ReadModel);

impl SqlReadModel for LargeCredits {
    const VERSION: u32 = Credits::VERSION;
    const TABLES: &'static [Table] = Credits::TABLES;
}

impl SqlProjection<Account> for LargeCredits {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        match event.payload {
            AccountEvent::Credited { amount } if amount >= money("1") => count(event, tx, 1).await,
            _ => Ok(()),
        }
    }
}

#[derive(Debug, System)]
struct LargeBank {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    credits: LargeCredits,
}

/// The events of a large bank, without its followers. One credit in ten is large.
async fn large_log(stores: &Stores, accounts: usize, events: usize) -> Vec<Id<Account>> {
    let app = eventsourcing::Application::new("accounts", stores.store());
    let mut ids = Vec::new();
    for number in 0..accounts {
        let mut account = Root::<Account>::create(AccountEvent::Opened {
            owner: format!("Owner {number}"),
        });
        for number in 1..events / accounts {
            let amount = money(if number % 10 == 0 { "1" } else { "0.01" });
            account.record(AccountEvent::Credited { amount });
        }
        app.save(&mut account).await.expect("a save");
        ids.push(account.id());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_of_200_000_events_is_built_beside_live_writes_and_every_query_is_answered() {
    const EVENTS: usize = 200_000;
    for place in Place::all() {
        let stores = stores(&place).await;
        let ids = large_log(&stores, 200, EVENTS).await;
        let bank: Arc<RunningSystem<LargeBank>> =
            Arc::new(start(&stores, Runner::concurrent()).await);
        bank.wait_until_caught_up().await.expect("it catches up");
        let over = Arc::new(AtomicBool::new(false));

        let writer = Arc::clone(&bank);
        let stop = Arc::clone(&over);

        let last = ids[0];
        let writing = tokio::spawn(async move {
            let mut credits = 0;
            while !stop.load(Ordering::Relaxed) {
                let receipt = writer
                    .accounts
                    .credit(last, money("1"))
                    .await
                    .expect("a credit");
                credits += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
                if credits % 10 == 0 {
                    writer
                        .credits
                        .wait_for(&receipt, Duration::from_secs(30))
                        .await
                        .expect("it keeps up");
                }
            }
            credits
        });
        let reader = Arc::clone(&bank);
        let stop = Arc::clone(&over);
        let first = ids[0];

        let reading = tokio::spawn(async move {
            let mut answers = 0_u64;
            let mut newest = 0;

            while !stop.load(Ordering::Relaxed) {
                let found = number(&reader.credits, first)
                    .await
                    .expect("every query is answered");
                assert!(
                    found >= newest,
                    "it never goes back: {found} after {newest}"
                );
                (answers, newest) = (answers + 1, found);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            answers
        });

        let build = bank
            .rebuild(eventsourcing::ProjectionName::new("credits"))
            .await
            .expect("it begins");
        let mut shown = Vec::new();
        while matches!(build.progress().state, RebuildState::Building) {
            shown.push(build.progress());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        build.finished().await.expect("it is shown");
        let (positions, rates): (Vec<_>, Vec<_>) = shown
            .iter()
            .map(|shown| (shown.position, shown.rate))
            .unzip();
        assert!(
            positions.is_sorted() && rates.iter().any(|rate| *rate > 0.0),
            "progress is shown: {shown:?}"
        );
        assert!(
            shown.iter().any(|shown| shown.remaining.is_some()),
            "and the time that is left: {shown:?}"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
        over.store(true, Ordering::Relaxed);
        let credits = writing.await.expect("no panic");
        let answers = reading.await.expect("no panic");

        assert!(
            credits > 10 && answers > 10,
            "{credits} credits, {answers} answers"
        );

        bank.wait_until_caught_up().await.expect("it catches up");
        let each = i64::try_from((EVENTS / ids.len() - 1) / 10).expect("a number");
        for id in &ids {
            let expected = if *id == first { each + credits } else { each };
            assert_eq!(
                number(&bank.credits, *id).await.expect("an answer"),
                expected
            );
        }
        eprintln!(
            "{}: {credits} credits and {answers} answers meanwhile",
            place.url()
        );
        Arc::into_inner(bank)
            .expect("no other owner is left")
            .stop()
            .await
            .expect("a graceful end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_on_where_it_stopped() {
    for place in Place::all() {
        let stores = stores(&place).await;
        let ids = large_log(&stores, 20, 20_000).await;
        let bank: RunningSystem<Bank> = start(&stores, Runner::concurrent()).await;
        bank.wait_until_caught_up().await.expect("it catches up");
        let build = bank
            .rebuild(eventsourcing::ProjectionName::new("credits"))
            .await
            .expect("it begins");
        while build.progress().position == 0 {
            tokio::task::yield_now().await;
        }
        bank.stop().await.expect("a graceful end");
        let is_interrupted = matches!(build.progress().state, RebuildState::Interrupted);

        let bank: RunningSystem<Bank> = Bank::builder(stores.clone())
            .with_on_failure(
                eventsourcing::FollowerName::new("credits"),
                OnFailure::Retry,
            )
            .start()
            .await
            .expect("a start");
        assert_eq!(
            bank.build(eventsourcing::ProjectionName::new("credits"))
                .is_some(),
            is_interrupted,
            "it goes on by itself"
        );
        if let Some(build) = bank.build(eventsourcing::ProjectionName::new("credits")) {
            build.finished().await.expect("it is shown");
        }
        assert_eq!(bank.credits.number(ids[0]).await.expect("an answer"), 999);
        bank.stop().await.expect("a graceful end");
    }
}

/// A process that rebuilds a read model is killed in the middle; the next one continues, and its result is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_killed_goes_on() {
    let mut random = Seed::from_env().rng(0);
    for place in Place::all_durable() {
        let stores = stores(&place).await;
        large_log(&stores, 20, 8_000).await;
        let bank: RunningSystem<EventSourcedBank> = start(&stores, Runner::concurrent()).await;
        bank.wait_until_caught_up().await.expect("it catches up");
        bank.stop().await.expect("a graceful end");
        let mut interrupted = 0;
        while interrupted < 2 {
            let mut building = Command::new(env!("CARGO_BIN_EXE_bank-example"))
                .args(["--store", place.url(), "rebuild", "summaries"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the bank runs");
            tokio::time::sleep(Duration::from_millis(random.u64(50..600))).await;
            building
                .kill()
                .and_then(|()| building.wait())
                .expect("it is killed");

            let bank: RunningSystem<EventSourcedBank> =
                start(&stores, Runner::concurrent().without_leases()).await;
            let Some(build) = bank.build(EventSourcedBank::SUMMARIES) else {
                bank.stop().await.expect("it had not begun, or was shown");
                continue;
            };
            interrupted += 1;
            build.finished().await.expect("it is shown");
            bank.wait_until_caught_up().await.expect("it goes on");
            assert!(bank.verify().await.expect("an answer").agrees());
            let contents = bank.verify_contents().await.expect("an answer");
            let summaries = contents
                .iter()
                .find(|compared| compared.name == *"summaries")
                .expect("it is compared");
            assert!(summaries.agrees(), "{summaries}");
            bank.stop().await.expect("a graceful end");
        }
    }
}
