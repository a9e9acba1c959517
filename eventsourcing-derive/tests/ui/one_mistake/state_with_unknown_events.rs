use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(event = AccountHistory)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
}

fn main() {}
