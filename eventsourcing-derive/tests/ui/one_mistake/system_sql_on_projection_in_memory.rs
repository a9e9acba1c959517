#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Feed};
use eventsourcing_core::System;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(sql, follows(accounts: Account))]
    pub feed: Feed,
}

fn main() {
    let _ = Bank::definition();
}
