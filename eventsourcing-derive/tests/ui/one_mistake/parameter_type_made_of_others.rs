use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;
#[path = "../support/events_as_values.rs"]
mod events_as_values;

use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Currency;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
    fn filled(&mut self, currency: Currency, coins: HashMap<Currency, u32>) {
        let _ = (currency, coins);
    }
}

pub fn fill(currency: Currency, coins: HashMap<Currency, u32>) -> AccountEvent {
    AccountEvent::Filled { currency, coins }
}

fn main() {}
