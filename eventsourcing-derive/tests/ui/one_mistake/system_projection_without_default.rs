#[path = "../support/bank.rs"]
mod bank;

use bank::{Account, Accounts};
use eventsourcing_core::{Projection, RecordedEvent, System};

pub struct Openings;

impl Projection<Account> for Openings {
    type Error = std::convert::Infallible;

    async fn project(&self, _: &RecordedEvent<Account>) -> Result<(), Self::Error> {
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
