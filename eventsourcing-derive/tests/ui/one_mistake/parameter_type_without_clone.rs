use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;
#[path = "../support/events_as_values.rs"]
mod events_as_values;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Money;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
}

#[event]
impl Account {
    fn opened() -> Self {
        Self { balance: 0 }
    }
    fn credited(&mut self, amount: Money) {
        let _ = amount;
        self.balance += 1;
    }
    fn debited(&mut self, amount: Money, reason: Option<Money>) {
        let _ = (amount, reason);
        self.balance -= 1;
    }
}

impl Account {
    pub fn credit(&self, amount: Money) -> AccountEvent {
        AccountEvent::Credited { amount }
    }
}

fn main() {}
