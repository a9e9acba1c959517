#[path = "support/bank.rs"]
mod bank;

use bank::{Account, Accounts, Feed, Ledger, Ledgers};
use eventsourcing_core::System;

#[derive(System)]
struct WithoutRole {
    #[application(aggregates(Account))]
    accounts: Accounts,
    other: u32,
}

#[derive(System)]
struct TwoRoles {
    #[application(aggregates(Account))]
    #[projection(follows(accounts: Account))]
    accounts: Accounts,
}

#[derive(System)]
struct Idle {
    #[application]
    accounts: Accounts,
    #[projection]
    feed: Feed,
}

#[derive(System)]
struct SameNames {
    #[application(name = "books", aggregates(Account))]
    accounts: Accounts,
    #[application(name = "books", aggregates(Ledger))]
    ledgers: Ledgers,
}

#[derive(System)]
struct NamesOfTheFramework {
    #[application(name = "ledger:1/4", aggregates(Account))]
    partition: Accounts,
    #[application(name = "eventsourcing-ledger", aggregates(Ledger))]
    framework: Ledgers,
    #[projection(name = "feed@2", follows(partition: Account))]
    generation: Feed,
    #[projection(name = "bank.feed", follows(partition: Account))]
    hidden: Feed,
}

#[derive(System)]
struct TwoOwners {
    #[application(aggregates(Account))]
    accounts: Accounts,
    #[application(aggregates(Ledger, Account))]
    ledgers: Ledgers,
}

#[derive(System)]
struct ListedTwice {
    #[application(aggregates(Account, Account))]
    accounts: Accounts,
}

#[derive(System)]
struct TwoKinds {
    #[application(aggregates(Account))]
    accounts: Accounts,
    #[projection(sql, foreign, follows(accounts: Account))]
    feed: Feed,
}

#[derive(System)]
#[system(nmae = "Bank")]
struct Options {
    #[application(aggregate(Account), aggregates(Account))]
    accounts: Accounts,
    #[application(aggregates = Ledger, aggregates(Ledger), follows(accounts: Account))]
    ledgers: Ledgers,
    #[projection(aggregates(Account), follows(accounts: Account))]
    feed: Feed,
    #[projection(follows(accounts), follows(accounts: Account))]
    second_feed: Feed,
    #[projection(name = "", follows(accounts: Account))]
    third_feed: Feed,
}

#[derive(System)]
struct TimersOfNobody {
    #[application(aggregates(Account), timers)]
    accounts: Accounts,
    #[application(aggregates(Ledger), follows(accounts: Account), timers = 3)]
    ledgers: Ledgers,
}

fn main() {
    let _ = (Idle::definition(), Options::definition());
}
