#[path = "support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Feed, Ledger, Ledgers};
use eventsourcing_core::System;

#[derive(System)]
struct Bank {
    #[application(aggregates(Account), follows(accounts: Account))]
    accounts: Accounts,
    #[application(aggregates(Ledger), follows(acounts: Account))]
    ledgers: Ledgers,
    #[projection(follows(customers: Account))]
    feed: Feed,
    #[projection(follows(feed: Account))]
    feed_of_feed: Feed,
    #[projection(follows(accounts: Ledger))]
    feed_of_ledger: Feed,
    #[projection(follows(accounts: Account, accounts: Account))]
    double_feed: Feed,
    #[projection(follows(accounts: Account()))]
    empty_feed: Feed,
    #[projection(follows(accounts: Account(Opened, AccountEvent::Opened, Opened)))]
    choosy_feed: Feed,
}

fn main() {
    let _ = Bank::definition();
}
