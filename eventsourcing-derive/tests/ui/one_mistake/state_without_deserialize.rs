use eventsourcing_core::{Aggregate, event};
use serde::Serialize;

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Aggregate, Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    owner: String,
}

#[event]
impl Account {
    fn opened(owner: String) -> Self {
        Self { owner }
    }
    fn renamed(&mut self, owner: String) {
        self.owner = owner;
    }
}

impl Account {
    fn open() -> AccountEvent {
        AccountEvent::Opened { owner: "Alice".into() }
    }
}

fn main() {}
