#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts};
use eventsourcing_core::{ReadModel, SqlReadModel, System, Table};

pub struct Openings;

impl From<ReadModel> for Openings {
    fn from(_: ReadModel) -> Self {
        Self
    }
}

impl SqlReadModel for Openings {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[];
}


#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(sql, follows(accounts: Account))]
    pub openings: Openings,
}

fn main() {
    let _ = Bank::definition();
}
