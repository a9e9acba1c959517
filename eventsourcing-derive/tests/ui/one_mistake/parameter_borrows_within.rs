use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;
#[path = "../support/events_as_values.rs"]
mod events_as_values;

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    names: Vec<String>,
}

#[event]
impl Account {
    fn opened() -> Self {
        Self { names: Vec::new() }
    }
    fn named(&mut self, names: Vec<&str>) {
        let _ = names;
    }
}

impl Account {
    pub fn name(&self) -> AccountEvent {
        AccountEvent::Named { names: vec!["a"] }
    }
}

fn main() {}
