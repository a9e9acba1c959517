//! Shared parts of the bank's tests.
#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

#[path = "../../../eventsourcing-postgres/tests/support/server.rs"]
pub mod server;

pub mod by_hand;
pub mod http;
pub mod serving;

use std::sync::atomic::{AtomicU32, Ordering};

use bank_example::application::activity::Activity;
use bank_example::application::summaries::{AccountSummary, Listing};
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::ledger::{GENERAL, Ledger};
use bank_example::domain::transfer::{Leg, Order, Side, State, Transfer};
use bank_example::domain::{Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{
    Append, EventStore, Expected, FollowerStore, LogQuery, Name, NewEvent, NotesQuery, Position,
    Tracking,
};
use eventsourcing::{Codec, Id, RecordedEvent, Root, RunningSystem, SystemError};
use jiff::Timestamp;
use tempfile::TempDir;

/// A store for a bank, empty at first and removed at the end.
pub struct Place {
    url: String,
    _folder: Option<TempDir>,
}

impl Place {
    /// Creates one place for each kind of store.
    pub fn all() -> Vec<Self> {
        [
            vec![Self {
                url: "memory:".into(),
                _folder: None,
            }],
            Self::all_durable(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Creates one place for each kind of store that outlives its process.
    pub fn all_durable() -> Vec<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("bank.db").display());
        vec![
            Self {
                url,
                _folder: Some(folder),
            },
            Self::postgres(),
        ]
    }

    /// Creates a database on the server that the tests of this program share.
    pub fn postgres() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server::shared_url();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);

        let database = format!("bank_{}_{number}", std::process::id());
        let create = format!("CREATE DATABASE {database}");
        let created = server::program("psql")
            .arg(&server)
            .args(["-qc", &create])
            .output()
            .expect("psql runs");
        assert!(
            created.status.success(),
            "{}",
            String::from_utf8_lossy(&created.stderr)
        );
        let (authority, parameters) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _) = authority.rsplit_once('/').expect("a URL with a database");
        Self {
            url: format!("{host}/{database}?{parameters}"),
            _folder: None,
        }
    }

    /// A place that exists already.
    pub fn at(url: String) -> Self {
        Self { url, _folder: None }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Returns the path of psql, to look at the database from outside.
pub fn psql() -> std::path::PathBuf {
    server::program("psql").get_program().into()
}

/// Returns a command that runs a program of PostgreSQL.
pub fn program(name: &str) -> std::process::Command {
    server::program(name)
}

pub fn money(text: &str) -> Money {
    Money::from_str_exact(text).expect("an amount")
}

/// Requires that accounts, ledger and activity agree, and returns the balance of the bank and the number of movements.
pub async fn assert_consistent(bank: &RunningSystem<EventSourcedBank>) -> (Money, u64) {
    bank.wait_until_caught_up()
        .await
        .expect("every follower catches up");
    let mut log = Vec::new();
    let mut after = Position::ZERO;
    loop {
        let page = bank
            .accounts
            .log(LogQuery::after(after).categories(["Account"]))
            .await
            .expect("the log is read");
        if page.events.is_empty() {
            break;
        }
        log.extend(page.decode::<Account>().expect("events of accounts"));
        after = page.ceiling;
    }
    let movements = log
        .iter()
        .filter(|event| !matches!(event.payload, AccountEvent::Opened { .. }))
        .count() as u64;

    let mut sum = ZERO;
    for id in bank
        .accounts
        .ids::<Account>(Position::ZERO, 10_000)
        .await
        .expect("ids are listed")
        .ids
    {
        let account = bank.accounts.load(id).await.expect("the account is there");
        assert!(
            account.balance >= ZERO,
            "account {id} has {}",
            account.balance
        );
        sum += account.balance;
    }
    let ledger = bank
        .ledger
        .find(Id::<Ledger>::named(GENERAL))
        .await
        .expect("the ledger is read");
    let (balance, transactions) =
        ledger.map_or((ZERO, 0), |ledger| (ledger.balance, ledger.transactions));
    assert_eq!(
        (balance, transactions),
        (sum, movements),
        "the ledger (left) and the accounts"
    );

    let mut activity = bank
        .activity
        .newest(usize::MAX)
        .await
        .expect("the feed is read");
    activity.reverse();
    assert_eq!(
        activity.len(),
        log.len(),
        "the activity feed has each event once"
    );
    for (line, event) in activity.iter().zip(&log) {
        assert_eq!(*line, line_of(event));
    }
    let summaries = bank
        .summaries
        .list(Listing::ALL)
        .await
        .expect("the summaries are read");
    assert_eq!(
        summaries,
        summaries_of(&log),
        "the summaries (left) and what the log says"
    );
    (balance, transactions)
}

/// Requires that every transfer in steps has ended, and returns how many were completed and how many were compensated.
pub async fn assert_transfers_ended(bank: &RunningSystem<EventSourcedBank>) -> (usize, usize) {
    let mut completed = 0;
    let mut compensated = 0;

    for id in bank
        .transfers
        .ids::<Transfer>(Position::ZERO, 10_000)
        .await
        .expect("ids are listed")
        .ids
    {
        match &bank
            .transfers
            .load(id)
            .await
            .expect("the transfer is there")
            .state
        {
            State::Completed => completed += 1,
            State::Compensated { .. } => compensated += 1,
            State::Refused { .. } => {}
            State::Requested | State::Debited => panic!("transfer {id} has not ended"),
        }
    }
    (completed, compensated)
}

/// Writes an event of an account that cannot be decoded, as a bug in another program may: every follower parks it.
pub async fn record_unreadable_event(bank: &RunningSystem<EventSourcedBank>, account: Id<Account>) {
    record(bank, account, "Credited", br#"{"amount":"plenty"}"#).await;
}

/// Writes an event of an account as a newer release may.
pub async fn record_event_of_newer_release(
    bank: &RunningSystem<EventSourcedBank>,
    account: Id<Account>,
) {
    record(bank, account, "InterestPaid", br#"{"rate":"0.01"}"#).await;
}

async fn record(
    bank: &RunningSystem<EventSourcedBank>,
    account: Id<Account>,
    name: &str,
    payload: &[u8],
) {
    let event = NewEvent {
        name: name.into(),
        schema_version: 1,
        codec: Codec::Json.id(),
        payload: payload.to_vec(),
        metadata: Vec::new(),
    };
    let append =
        Append::new(Timestamp::now()).with_events(account.stream(), Expected::Exists, vec![event]);
    bank.accounts
        .store()
        .append(append)
        .await
        .expect("the store does not look at payloads");
}

/// Writes an answer to a transfer that does not exist, as when events were restored in the wrong order: the policy of
/// the transfers fails on it. Waits until it has stopped, and returns the missing event.
pub async fn an_answer_before_its_transfer(
    bank: &RunningSystem<EventSourcedBank>,
) -> (Id<Transfer>, Order) {
    let transfer = Id::new();
    let poor = bank.accounts.open("Poor").await.expect("an account").id;

    let answer = Leg::answer(transfer, Side::Credit, None);
    let mut leg = Root::with_id(Leg::id(transfer, Side::Credit), answer);
    bank.accounts.save(&mut leg).await.expect("it is written");
    let stopped = bank.wait_until_caught_up().await.expect_err("it stops");
    assert!(
        matches!(stopped, SystemError::FollowerStopped(_)),
        "{stopped}"
    );
    (
        transfer,
        Order {
            from: poor,
            to: Id::new(),
            bank: None,
            amount: money("1.00"),
        },
    )
}

/// Writes the missing event.
pub async fn append_missing(
    bank: &RunningSystem<EventSourcedBank>,
    (transfer, order): (Id<Transfer>, Order),
) {
    let mut transfer = Root::with_id(transfer, Transfer::request(order).expect("an order"));
    bank.transfers
        .save(&mut transfer)
        .await
        .expect("it is written");
}

/// Returns the expected line of the activity feed for an event.
fn line_of(event: &RecordedEvent<Account>) -> Activity {
    let (owner, amount) = match event.payload.clone() {
        AccountEvent::Opened { owner } => (Some(owner), None),
        AccountEvent::Credited { amount } | AccountEvent::Debited { amount } => {
            (None, Some(amount))
        }
    };
    Activity {
        position: event.position,
        account: event.aggregate_id,
        version: event.version,
        name: event.name().to_owned(),
        recorded_at: event.recorded_at,
        owner,
        amount,
    }
}

/// Returns the expected summaries after these events.
fn summaries_of(log: &[RecordedEvent<Account>]) -> Vec<AccountSummary> {
    let mut summaries: Vec<AccountSummary> = Vec::new();
    for event in log {
        let account = event.aggregate_id;
        if let AccountEvent::Opened { owner } = &event.payload {
            let owner = owner.clone();
            let version = event.version;
            let opened = event.position;

            let balance = ZERO;
            let movements = 0;
            let last_movement = None;

            summaries.push(AccountSummary {
                account,
                owner,
                balance,
                version,
                movements,
                last_movement,
                opened,
            });
            continue;
        }
        let summary = summaries
            .iter_mut()
            .find(|summary| summary.account == account)
            .expect("it was opened before");
        match event.payload {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Credited { amount } => summary.balance += amount,
            AccountEvent::Debited { amount } => summary.balance -= amount,
        }
        summary.version = event.version;
        summary.movements += 1;
        summary.last_movement = Some(event.recorded_at);
    }
    summaries
}

/// Schedules a due timer of the transfers, as another release may: its payload is not the id of a transfer.
pub async fn schedule_unreadable_timer(store: &dyn FollowerStore, key: &str) {
    let follower = Name::from_static("transfers");
    let log = store.log_id();

    let book = store
        .notes(NotesQuery::new(follower.clone(), log, "timers"))
        .await
        .expect("notes");
    let count: u64 = book
        .notes
        .get("timers")
        .map_or(0, |count| count.parse().expect("a number"));
    let due: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
    let timer = serde_json::json!({
        "id": uuid::Uuid::new_v4(), "due": due, "payload": { "transfer": 7 }, "metadata": {},
    });
    let step = Tracking::new(follower, log, book.position, book.position)
        .with_note(format!("timer/{key}"), timer.to_string())
        .with_note(format!("due/{:020}/{key}", due.as_microsecond()), "")
        .with_note("timers", (count + 1).to_string());
    store
        .append(Append::new(Timestamp::UNIX_EPOCH).with_tracking(step))
        .await
        .expect("a step");
}
