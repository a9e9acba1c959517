//! The domain of the bank, written with the framework.

use std::convert::Infallible;

use contest::REFERENCE;
use eventsourcing_core::{Aggregate, event};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Debug, Serialize, Deserialize)]
pub struct Account {
    pub balance: u64,
}

#[event]
impl Account {
    fn opened(_owner: String) -> Self {
        Self { balance: 0 }
    }
    fn credited(&mut self, amount: u64, _reference: String) {
        self.balance += amount;
    }
}

impl Account {
    pub fn open() -> AccountEvent {
        AccountEvent::Opened {
            owner: "Alice".to_owned(),
        }
    }
    pub fn credit(&self, amount: u64) -> Result<AccountEvent, Infallible> {
        Ok(AccountEvent::Credited {
            amount,
            reference: REFERENCE.to_owned(),
        })
    }
}

#[derive(Aggregate, Debug, Serialize, Deserialize)]
pub struct Ledger {
    pub balance: u64,
    pub transactions: u64,
}

#[event]
impl Ledger {
    fn opened() -> Self {
        Self {
            balance: 0,
            transactions: 0,
        }
    }
    fn added(&mut self, amount: u64) {
        self.balance += amount;
        self.transactions += 1;
    }
}
