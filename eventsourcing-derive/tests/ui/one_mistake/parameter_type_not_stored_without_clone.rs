use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;
#[path = "../support/events_as_values.rs"]
mod events_as_values;

#[derive(Default, Debug, PartialEq)]
pub struct Cause;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
    fn filled(&mut self, #[serde(skip)] cause: Cause) {
        let _ = cause;
    }
}

fn main() {}
