//! One event in a thousand cannot be processed: the others are, and after the fix a retry makes up for everything. On
//! every store, for a policy and for a read model in a SQL database.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bank_example::application::accounts::AccountService;
use bank_example::application::ledger::LedgerService;
use bank_example::application::summaries::{AccountSummaries, Listing};
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::ledger::{GENERAL, Ledger};
use bank_example::domain::{Money, ZERO};
use eventsourcing::sql::SqlError;

use eventsourcing::{
    Application, ApplicationError, FollowerName, Id, OnFailure, Policy, ReadModel, RecordedEvent,
    RunningSystem, SqlProjection, SqlReadModel, System, Table, Tx, UnitOfWork,
};
use serde_json::json;
use support::{Place, money};

/// `true` after the mistake is fixed.
static FIXED: AtomicBool = AtomicBool::new(false);

/// Held by the test whose mistake it is.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("666.66 is the number of the beast")]
    Beast,
    #[error(transparent)]
    App(#[from] ApplicationError),
    #[error(transparent)]
    Sql(#[from] SqlError),
}

fn meet(event: &RecordedEvent<Account>) -> Result<(), Mistake> {
    let is_bad =
        matches!(event.payload, AccountEvent::Credited { amount } if amount == money("666.66"));
    if is_bad && !FIXED.load(Ordering::Relaxed) {
        Err(Mistake::Beast)
    } else {
        Ok(())
    }
}

/// A bookkeeper with a superstition.
#[derive(Debug)]
struct Superstitious(LedgerService);

impl From<Application> for Superstitious {
    fn from(app: Application) -> Self {
        Self(app.into())
    }
}

impl Policy<Account> for Superstitious {
    type Error = Mistake;

    async fn react(
        &self,
        event: &RecordedEvent<Account>,
        work: &mut UnitOfWork,
    ) -> Result<(), Mistake> {
        meet(event)?;
        Ok(self.0.react(event, work).await?)
    }
}

/// Summaries with the same mistake.
#[derive(Debug)]
struct SuperstitiousSummaries(AccountSummaries);

impl From<ReadModel> for SuperstitiousSummaries {
    fn from(model: ReadModel) -> Self {
        Self(model.into())
    }
}

impl SqlReadModel for SuperstitiousSummaries {
    const VERSION: u32 = AccountSummaries::VERSION;
    const TABLES: &'static [Table] = AccountSummaries::TABLES;
}

impl SqlProjection<Account> for SuperstitiousSummaries {
    type Error = Mistake;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), Mistake> {
        self.0.project(event, tx).await?;
        // The error comes after the write, so that a missing rollback would show.
        meet(event)
    }
}

#[derive(Debug, System)]
struct Bank {
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[application(aggregates(Ledger), follows(accounts: Account))]
    ledger: Superstitious,
    #[projection(sql, follows(accounts: Account))]
    summaries: SuperstitiousSummaries,
}

const FOLLOWERS: [&str; 2] = ["ledger", "summaries"];

async fn start(place: &Place) -> RunningSystem<Bank> {
    let builder = Bank::builder(
        bank_example::stores::open(place.url())
            .await
            .expect("a store"),
    );
    let builder = FOLLOWERS.iter().fold(builder, |builder, name| {
        builder.with_on_failure(FollowerName::new(name), OnFailure::Park)
    });
    builder.start().await.expect("the bank starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_in_a_thousand_delays_nothing_else_and_a_retry_brings_equality() {
    const ACCOUNTS: usize = 50;
    const EVENTS: usize = 3_000;
    let _turn = TURN.lock().await;
    for place in Place::all() {
        FIXED.store(false, Ordering::Relaxed);
        let bank = Arc::new(start(&place).await);
        let mut ids = Vec::new();
        for number in 0..ACCOUNTS {
            ids.push(
                bank.accounts
                    .open(&format!("Owner {number}"))
                    .await
                    .expect("an account")
                    .id,
            );
        }

        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&bank);
        let stop = Arc::clone(&over);

        let watching = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let health = watched.health().await.expect("an answer");
                longest = health
                    .followers
                    .iter()
                    .map(|follower| follower.behind)
                    .fold(longest, Duration::max);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            longest
        });
        write(&bank.accounts, &ids, EVENTS).await;
        bank.wait_until_caught_up().await.expect("the others go on");
        over.store(true, Ordering::Relaxed);
        let longest = watching.await.expect("no panic");
        eprintln!(
            "{}: the followers were behind by at most {longest:?}",
            place.url()
        );
        assert!(longest < Duration::from_secs(2), "behind by {longest:?}");

        for name in FOLLOWERS {
            let parked = bank
                .parking(FollowerName::new(name))
                .expect("a follower")
                .list()
                .await
                .expect("an answer");
            assert_eq!(parked.len(), EVENTS / 1_000, "{parked:?}");
            let held: u64 = parked.iter().map(|parked| parked.waiting).sum();
            assert!(held > 0, "what comes later on these accounts waits");
        }
        FIXED.store(true, Ordering::Relaxed);
        for name in FOLLOWERS {
            let parking = bank
                .parking(FollowerName::new(name))
                .expect("a follower")
                .by("the test");
            for parked in parking.list().await.expect("an answer") {
                let retried = parking.retry(&parked.stream).await.expect("an answer");
                assert_eq!(
                    (retried.events, retried.failure.is_none()),
                    (parked.waiting + 1, true)
                );
            }
            assert!(parking.list().await.expect("an answer").is_empty());
        }
        assert_equal_to_the_log(&bank, &ids, EVENTS).await;
        let verification = bank.verify().await.expect("an answer");
        assert!(verification.agrees(), "{verification}");
        Arc::into_inner(bank)
            .expect("no other owner is left")
            .stop()
            .await
            .expect("a graceful end");
    }
}

/// Credits the accounts in turn, at most a thousand times a second; one in a thousand is bad, each on another account.
async fn write(accounts: &AccountService, ids: &[Id<Account>], events: usize) {
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    for number in 0..events {
        pace.tick().await;
        let is_bad = number % 1_000 == 500;
        let id = if is_bad {
            ids[number / 1_000]
        } else {
            ids[number % ids.len()]
        };
        let amount = money(if is_bad { "666.66" } else { "0.01" });
        accounts.credit(id, amount).await.expect("a credit");
    }
}

async fn assert_equal_to_the_log(bank: &RunningSystem<Bank>, ids: &[Id<Account>], events: usize) {
    let summaries = bank
        .summaries
        .0
        .list(Listing::ALL)
        .await
        .expect("an answer");
    assert_eq!(summaries.len(), ids.len());
    let mut sum = ZERO;
    for (summary, id) in summaries.iter().zip(ids) {
        let account = bank.accounts.load(*id).await.expect("the account");
        let movements = account.version().as_u64() - 1;
        assert_eq!(
            (summary.account, summary.balance, summary.movements),
            (*id, account.balance, movements)
        );
        let last = bank
            .accounts
            .history(*id)
            .await
            .expect("a history")
            .last()
            .expect("an event")
            .recorded_at;
        assert_eq!(
            summary.last_movement,
            Some(last),
            "its events came in order"
        );
        sum += account.balance;
    }
    let ledger = bank
        .ledger
        .0
        .load(Id::<Ledger>::named(GENERAL))
        .await
        .expect("the ledger");
    assert_eq!((ledger.balance, ledger.transactions), (sum, events as u64));
    let expected: Money = (0..events)
        .map(|number| {
            money(if number % 1_000 == 500 {
                "666.66"
            } else {
                "0.01"
            })
        })
        .sum();
    assert_eq!(sum, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_of_contents_knows_discarded_and_edited_events() {
    let _turn = TURN.lock().await;
    for place in Place::all() {
        FIXED.store(false, Ordering::Relaxed);
        let bank = start(&place).await;
        let mut ids = Vec::new();
        for owner in ["Ann", "Ben", "Cid"] {
            let id = bank.accounts.open(owner).await.expect("an account").id;
            bank.accounts
                .credit(id, money("666.66"))
                .await
                .expect("a credit");
            bank.accounts
                .credit(id, money("1"))
                .await
                .expect("a credit");
            ids.push(id);
        }
        bank.wait_until_caught_up()
            .await
            .expect("the followers park and go on");
        let contents = async || bank.verify_contents().await.expect("an answer").remove(0);
        let unchecked = contents()
            .await
            .unchecked
            .expect("what is parked cannot be compared");
        assert!(unchecked.contains("parked"), "{unchecked}");

        let parking = bank.parking(Bank::SUMMARIES).expect("a follower");
        parking
            .discard(&ids[0].stream(), "a test")
            .await
            .expect("the event is discarded");
        parking
            .retry(&ids[0].stream())
            .await
            .expect("the waiting events are processed");
        parking
            .retry_edited(&ids[1].stream(), json!({ "amount": "6.66" }))
            .await
            .expect("it is edited");
        FIXED.store(true, Ordering::Relaxed);
        parking
            .retry(&ids[2].stream())
            .await
            .expect("the event is processed");
        assert!(bank.verify().await.expect("an answer").agrees());
        let compared = contents().await;
        assert!(compared.agrees(), "{compared}");
        let balances: Vec<_> = bank
            .summaries
            .0
            .list(Listing::ALL)
            .await
            .expect("an answer");
        let balances: Vec<_> = balances
            .into_iter()
            .map(|summary| summary.balance)
            .collect();
        assert_eq!(balances, [money("1"), money("7.66"), money("667.66")]);
        bank.stop().await.expect("a graceful end");
    }
}
