//! What must hold after each accident.

use std::collections::BTreeMap;

use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::{Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing_core::store::{EventStore, LogQuery, Position, StoredEvent};
use eventsourcing_core::{Id, Recorded, Running};
use eventsourcing_postgres::{Durability, PostgresStore};
use uuid::Uuid;

use crate::process::Process;
use crate::servers::Accident;
use crate::support::{assert_consistent, money};
use crate::{ACCOUNTS, open};

pub(crate) async fn accounts_opened(url: &str) -> Vec<Id<Account>> {
    let (bank, store) = open(url, Durability::Full).await;
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let id = bank.accounts.open(&format!("Owner {number}")).await.expect("an account");
        bank.accounts.credit(id, money("100.00")).await.expect("a credit");
        accounts.push(id);
    }
    bank.settled().await.expect("the followers settle");
    bank.stop().await.expect("a graceful end");
    store.close().await;
    accounts
}

/// The events of all accounts.
pub(crate) async fn accounts_of(store: &PostgresStore) -> Vec<StoredEvent> {
    let mut query = LogQuery::after(Position::ZERO).limit(1_000).categories(["Account"]);
    let mut log = Vec::new();
    loop {
        let page = store.read_log(query.clone()).await.expect("the log is read");
        if page.events.is_empty() && page.ceiling == query.after {
            return log;
        }
        query.after = page.ceiling;
        log.extend(page.events);
    }
}

/// The events of all accounts, as the bank reads them.
async fn history_of(bank: &Running<EventSourcedBank>) -> Vec<Recorded<Account>> {
    let mut query = LogQuery::after(Position::ZERO).limit(1_000).categories(["Account"]);
    let mut history = Vec::new();
    loop {
        let page = bank.accounts.log(query.clone()).await.expect("the log is read");
        if page.events.is_empty() && page.ceiling == query.after {
            return history;
        }
        query.after = page.ceiling;
        history.extend(page.decode::<Account>().expect("events of accounts"));
    }
}

/// No account was ever below zero: each debit was decided on what the log says.
fn assert_never_below_zero(log: &[Recorded<Account>]) {
    let mut balances: BTreeMap<Uuid, Money> = BTreeMap::new();
    for event in log {
        let balance = balances.entry(event.aggregate_id.as_uuid()).or_insert(ZERO);
        match event.payload {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Credited { amount } => *balance += amount,
            AccountEvent::Debited { amount } => *balance -= amount,
        }
        assert!(*balance >= ZERO, "{} is below zero at position {}", event.aggregate_id, event.position);
    }
}

/// Looks at everything in silence, and returns how many acknowledged commands the server has forgotten in this round.
pub(crate) async fn check(url: &str, processes: &mut [Process], accident: Accident, round: u64) -> u64 {
    for process in &mut *processes {
        process.order("silence");
    }
    let orders = round * 3;
    processes.iter_mut().for_each(|process| process.listen(|told| told.done > orders));
    processes.iter_mut().for_each(|process| process.order("check"));
    processes.iter_mut().for_each(|process| process.listen(|told| told.done > orders + 1));

    let (bank, store) = open(url, Durability::Full).await;
    assert_consistent(&bank).await;
    let verification = bank.verify().await.expect("the store answers");
    assert!(verification.agrees(), "{accident:?} {round}: {verification}");
    assert_never_below_zero(&history_of(&bank).await);
    let mut lost = 0;
    for process in &mut *processes {
        for (command, position) in &process.told.acknowledged {
            let known = store.receipt(*command).await.expect("the store answers");
            lost += u64::from(known.is_none_or(|known| known.position != *position));
        }
        process.told.acknowledged_before += process.told.acknowledged.drain(..).count() as u64;
        process.told.last_acknowledged = None;
    }
    bank.stop().await.expect("a graceful end");
    store.close().await;
    processes.iter_mut().for_each(|process| process.order("go on"));
    processes.iter_mut().for_each(|process| process.listen(|told| told.done > orders + 2));
    lost
}
