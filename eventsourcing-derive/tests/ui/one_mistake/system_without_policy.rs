#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Ledger, Ledgers};
use eventsourcing_core::{System};

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account), follows(ledgers: Ledger))]
    pub accounts: Accounts,
    #[application(aggregates(Ledger))]
    pub ledgers: Ledgers,
}

fn main() {
    let _ = Bank::definition();
}
