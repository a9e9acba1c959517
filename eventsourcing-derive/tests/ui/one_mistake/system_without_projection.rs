#[path = "../support/bank.rs"]
mod bank;

use bank::{Feed, Ledger, Ledgers};
use eventsourcing_core::{System};

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Ledger))]
    pub ledgers: Ledgers,
    #[projection(follows(ledgers: Ledger))]
    pub feed: Feed,
}

fn main() {
    let _ = Bank::definition();
}
