use eventsourcing_core::{Aggregate, Fold, UnexpectedEvent, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {
    open: bool,
}

#[event]
#[derive(Debug, PartialEq)]
pub enum AccountEvent {
    Opened,
    Closed,
}

impl Fold<AccountEvent> for Account {
    fn create(event: AccountEvent) -> Result<Self, UnexpectedEvent> {
        match event {
            AccountEvent::Opened => Ok(Self { open: true }),
            AccountEvent::Closed => Err(UnexpectedEvent),
        }
    }

    fn apply(&mut self, event: AccountEvent) -> Result<(), UnexpectedEvent> {
        match event {
            AccountEvent::Opened => return Err(UnexpectedEvent),
            AccountEvent::Closed => self.open = false,
        }
        Ok(())
    }
}

fn main() {}
