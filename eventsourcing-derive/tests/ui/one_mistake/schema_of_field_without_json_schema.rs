use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Money;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
}

#[event(schema)]
impl Account {
    fn opened() -> Self {
        Self { balance: 0 }
    }
    fn credited(&mut self, amount: Money) {
        let _ = amount;
        self.balance += 1;
    }
    fn debited(&mut self, amount: Money, reason: Option<Vec<Money>>) {
        let _ = (amount, reason);
        self.balance -= 1;
    }
}

impl Account {
    pub fn credit(&self, amount: Money) -> AccountEvent {
        AccountEvent::Credited { amount }
    }
}

fn main() {
    let bank = eventsourcing_schema::SystemSchema::new("Bank").with::<Account>();
    bank.assert_locked("events.lock.json");
}
