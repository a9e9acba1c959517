#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts};
use eventsourcing_core::{ReadModel, RecordedEvent, SqlProjection, SqlReadModel, System, Table, Tx};

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

impl SqlProjection<Account> for Openings {
    type Error = std::convert::Infallible;

    async fn project(&self, _: &RecordedEvent<Account>, _: &mut Tx<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[derive(System)]
pub struct Bank {
    #[application(aggregates(Account))]
    pub accounts: Accounts,
    #[projection(follows(accounts: Account))]
    pub openings: Openings,
}

fn main() {
    let _ = Bank::definition();
}
