#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Feed};
use eventsourcing_core::System;
use eventsourcing_schema::WithLock as _;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(follows(accounts: Account))]
    pub feed: Feed,
}

fn main() {
    let _ = Bank::builder(eventsourcing_core::MemoryStore::new()).with_lock("{}");
}
