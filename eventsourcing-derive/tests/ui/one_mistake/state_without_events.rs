use eventsourcing_core::{Aggregate};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
}

fn main() {}
