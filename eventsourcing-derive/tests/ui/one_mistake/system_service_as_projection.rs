#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Ledgers};
use eventsourcing_core::System;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(follows(accounts: Account))]
    pub ledgers: Ledgers,
}

fn main() {
    let _ = Bank::definition();
}
