#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts};
use eventsourcing_core::{System};

pub struct Search;

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(foreign, follows(accounts: Account))]
    pub search: Search,
}

fn main() {
    let _ = Bank::definition();
}
