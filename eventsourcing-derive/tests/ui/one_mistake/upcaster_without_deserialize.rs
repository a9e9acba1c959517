use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

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

struct Old {
    euros: i64,
}

#[derive(Serialize)]
struct New {
    amount: i64,
}

fn from_1(old: Old) -> New {
    New { amount: old.euros * 100 }
}

fn main() {
    let _ = Account::opened();
}
