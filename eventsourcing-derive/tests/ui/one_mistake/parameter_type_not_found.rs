use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;
#[path = "../support/events_as_values.rs"]
mod events_as_values;


#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
    fn filled(&mut self, amount: Money) {
        let _ = amount;
    }
}

fn main() {}
