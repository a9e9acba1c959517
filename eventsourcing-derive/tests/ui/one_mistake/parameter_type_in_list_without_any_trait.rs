use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;
#[path = "../support/events_as_values.rs"]
mod events_as_values;

pub struct Coin;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {}

#[event]
impl Account {
    fn opened() -> Self {
        Self {}
    }
    fn filled(&mut self, coins: Vec<(Coin, u32)>, change: Option<Box<[Coin; 2]>>) {
        let _ = (coins, change);
    }
}

pub fn fill(coins: Vec<(Coin, u32)>) -> AccountEvent {
    AccountEvent::Filled { coins, change: None }
}

fn main() {}
