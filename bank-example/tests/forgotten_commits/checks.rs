//! The checks after each accident.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::{Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{EventStore, FollowerStore, LogQuery, Position, StoredEvent};
use eventsourcing::{Id, RecordedEvent, RunningSystem};
use uuid::Uuid;

use crate::process::{Acknowledged, Process, Told};
use crate::support::{assert_consistent, money};
use crate::{ACCOUNTS, RECOVERY_MAX, open, rounds};

pub(crate) async fn accounts_opened(url: &str) -> Vec<Id<Account>> {
    let (bank, store) = open(url).await;
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let id = bank
            .accounts
            .open(&format!("Owner {number}"))
            .await
            .expect("an account")
            .id;
        bank.accounts
            .credit(id, money("100.00"))
            .await
            .expect("a credit");
        accounts.push(id);
    }
    bank.wait_until_caught_up()
        .await
        .expect("the followers settle");
    bank.stop().await.expect("a graceful end");
    drop(store);
    accounts
}

/// The events of all accounts.
pub(crate) async fn accounts_of(store: &dyn FollowerStore) -> Vec<StoredEvent> {
    let mut query = LogQuery::after(Position::ZERO)
        .limit(1_000)
        .categories(["Account"]);
    let mut log = Vec::new();
    loop {
        let page = store
            .read_log(query.clone())
            .await
            .expect("the log is read");
        if page.events.is_empty() && page.ceiling == query.after {
            return log;
        }
        query.after = page.ceiling;
        log.extend(page.events);
    }
}

/// The events of all accounts, as the bank reads them.
async fn history_of(bank: &RunningSystem<EventSourcedBank>) -> Vec<RecordedEvent<Account>> {
    let mut query = LogQuery::after(Position::ZERO)
        .limit(1_000)
        .categories(["Account"]);
    let mut history = Vec::new();
    loop {
        let page = bank
            .accounts
            .log(query.clone())
            .await
            .expect("the log is read");
        if page.events.is_empty() && page.ceiling == query.after {
            return history;
        }
        query.after = page.ceiling;
        history.extend(page.decode::<Account>().expect("events of accounts"));
    }
}

/// Requires that no account was ever below zero, so each debit was decided on the events of the log.
fn assert_never_below_zero(log: &[RecordedEvent<Account>]) {
    let mut balances: BTreeMap<Uuid, Money> = BTreeMap::new();
    for event in log {
        let balance = balances.entry(event.aggregate_id.as_uuid()).or_insert(ZERO);
        match event.payload {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Credited { amount } => *balance += amount,
            AccountEvent::Debited { amount } => *balance -= amount,
        }
        assert!(
            *balance >= ZERO,
            "{} is below zero at position {}",
            event.aggregate_id,
            event.position
        );
    }
}

/// Checks everything while no command is sent, and returns how many acknowledged commands are lost since the last
/// check. No command that began after `accident` may be lost.
pub(crate) async fn check(
    url: &str,
    processes: &mut [Process],
    accident: u128,
    context: &str,
) -> u64 {
    order(processes, "silence");
    order(processes, "check");
    let (bank, store) = open(url).await;
    assert_consistent(&bank).await;
    let verification = bank.verify().await.expect("the store answers");
    assert!(verification.agrees(), "{context}: {verification}");
    assert_never_below_zero(&history_of(&bank).await);
    let mut forgotten = 0;
    for process in &mut *processes {
        for Acknowledged {
            command,
            position,
            began,
        } in process.told.acknowledged.drain(..)
        {
            let known = store.receipt(command).await.expect("the store answers");
            let is_forgotten = known.is_none_or(|known| known.position != position);
            assert!(
                !is_forgotten || began <= accident,
                "{context}: position {position} is not in the log"
            );
            forgotten += u64::from(is_forgotten);
            process.told.acknowledged_before += 1;
        }
        process.told.last_acknowledged = None;
    }
    bank.stop().await.expect("a graceful end");
    drop(store);
    order(processes, "go on");
    forgotten
}

/// Sends an order to all processes, and waits until they have carried it out.
fn order(processes: &mut [Process], order: &str) {
    let done: Vec<_> = processes.iter().map(|process| process.told.done).collect();
    processes
        .iter_mut()
        .for_each(|process| process.order(order));
    for (process, before) in processes.iter_mut().zip(done) {
        process.listen(|told| told.done > before);
    }
}

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) forgotten: u64,
    /// The longest time until a process was served again.
    pub(crate) slowest: Duration,
}

impl Outcome {
    pub(crate) fn report(&self, name: &str, processes: &[Process]) {
        let told = |count: fn(&Told) -> u64| {
            processes
                .iter()
                .map(|process| count(&process.told))
                .sum::<u64>()
        };
        eprintln!(
            "{name}: {} accidents, {} acknowledged, {} forgotten, {} waits true, {} ended, {} subscriptions ended, served \
             again after {:?} at most",
            rounds(),
            told(|told| told.acknowledged_before),
            self.forgotten,
            told(|told| told.waited),
            told(|told| told.waits_ended),
            told(|told| told.subscriptions_ended),
            self.slowest
        );
        assert!(
            self.slowest <= RECOVERY_MAX,
            "served again after {:?}",
            self.slowest
        );
    }

    /// Listens until every process has been served since `since`.
    pub(crate) fn wait_for_service(&mut self, processes: &mut [Process], since: Instant) {
        for process in processes {
            process.listen(|told| told.last_acknowledged.is_some_and(|at| at > since));
            self.slowest = self.slowest.max(since.elapsed());
        }
    }
}
