#[path = "../support/bank.rs"]
mod bank;

use bank::Accounts;
use eventsourcing_core::System;

pub struct Card;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Card))]
    pub cards: Accounts,
}

fn main() {
    let _ = Bank::definition();
}
