#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Ledger, Ledgers};
use eventsourcing_core::System;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[application(aggregates(Ledger), follows(accounts: Account), timers)]
    pub ledgers: Ledgers,
}

fn main() {
    let _ = Bank::definition();
}
