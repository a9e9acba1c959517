use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Aggregate, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[event(split(name = "Moved", with = moved))]
impl Account {
    fn opened() -> Self {
        Self { balance: 0 }
    }
    fn credited(&mut self, amount: i64) {
        self.balance += amount;
    }
}

fn moved(old: Value) -> Value {
    old
}

fn main() {
    let _ = Account::opened();
}
