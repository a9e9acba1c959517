use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(snapshot = 50)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}

fn main() {}
