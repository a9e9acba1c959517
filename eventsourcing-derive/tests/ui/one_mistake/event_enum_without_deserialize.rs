use eventsourcing_core::{Aggregate, Fold, Misplaced, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {
    open: bool,
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum AccountEvent {
    Opened,
    Closed,
}

impl Fold<AccountEvent> for Account {
    fn create(event: AccountEvent) -> Result<Self, Misplaced> {
        match event {
            AccountEvent::Opened => Ok(Self { open: true }),
            AccountEvent::Closed => Err(Misplaced),
        }
    }

    fn apply(&mut self, event: AccountEvent) -> Result<(), Misplaced> {
        match event {
            AccountEvent::Opened => return Err(Misplaced),
            AccountEvent::Closed => self.open = false,
        }
        Ok(())
    }
}

fn main() {}
