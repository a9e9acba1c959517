#[path = "../support/bank.rs"]
mod bank;

use bank::{Accounts, Feed, Ledger, Ledgers};
use eventsourcing_core::System;

pub struct Card;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Card))]
    pub cards: Accounts,
    #[application(aggregates(Ledger), follows(cards: Card))]
    pub ledgers: Ledgers,
    #[projection(follows(cards: Card))]
    pub feed: Feed,
}

fn main() {
    let _ = Bank::definition();
}
