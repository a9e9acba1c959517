#[path = "support/bank.rs"]
mod bank;

use bank::Account;
use eventsourcing_core::System;

#[derive(System)]
struct Tuple(u32);

#[derive(System)]
struct Unit;

#[derive(System)]
enum Either {
    One,
}

#[derive(System)]
struct Generic<T> {
    #[application(aggregates(Account))]
    accounts: T,
}

fn main() {}
