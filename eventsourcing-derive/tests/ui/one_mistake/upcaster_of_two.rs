use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Aggregate, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[event]
impl Account {
    fn opened() -> Self {
        Self { balance: 0 }
    }
    #[event(version = 2, upcast(from = 1, with = from_1))]
    fn credited(&mut self, amount: i64) {
        self.balance += amount;
    }
}

fn from_1(old: Value, _rate: i64) -> Value {
    old
}

fn main() {
    let _ = Account::opened();
}
