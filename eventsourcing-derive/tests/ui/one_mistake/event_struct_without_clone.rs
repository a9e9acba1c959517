use eventsourcing_core::{Aggregate, Fold, UnexpectedEvent, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account;

#[event]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountEvent { by: u32 }

impl Fold<AccountEvent> for Account {
    fn create(_: AccountEvent) -> Result<Self, UnexpectedEvent> {
        Ok(Self)
    }

    fn apply(&mut self, _: AccountEvent) -> Result<(), UnexpectedEvent> {
        Ok(())
    }
}

fn main() {}
