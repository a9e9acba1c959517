#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Ledger};
use eventsourcing_core::{System};

pub struct Service;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Service,
    #[application(aggregates(Ledger))]
    pub ledgers: Service,
}

fn main() {
    let _ = Bank::definition();
}
