#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Feed};
use eventsourcing_core::System;
use eventsourcing_schema::SystemSchema;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(follows(accounts: Account))]
    pub feed: Feed,
}

fn main() {
    SystemSchema::of::<Bank>().assert_locked("events.lock.json");
}
