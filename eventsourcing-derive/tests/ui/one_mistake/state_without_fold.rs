use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[path = "../support/account_in_use.rs"]
mod account_in_use;

#[derive(Aggregate, Serialize, Deserialize)]
pub struct Account {
    open: bool,
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AccountEvent {
    Opened,
    Closed,
}

fn main() {}
