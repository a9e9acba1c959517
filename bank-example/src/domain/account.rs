//! The account of one customer.

use eventsourcing::{Aggregate, event};
use serde::{Deserialize, Serialize};

use super::{BankError, Money, ZERO, positive};

/// A bank account. Its balance never falls below zero.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(50))]
pub struct Account {
    pub owner: String,
    pub balance: Money,
}

/// The events of an account.
#[event(schema)]
impl Account {
    fn opened(owner: String) -> Self {
        Self {
            owner,
            balance: ZERO,
        }
    }
    fn credited(&mut self, #[schemars(schema_with = "crate::amount")] amount: Money) {
        self.balance += amount;
    }
    fn debited(&mut self, #[schemars(schema_with = "crate::amount")] amount: Money) {
        self.balance -= amount;
    }
}

/// The commands of an account. Each checks a rule and returns the event to record.
impl Account {
    pub fn open(owner: &str) -> Result<AccountEvent, BankError> {
        match owner.chars().count() {
            1..=200 if !owner.contains(char::is_control) => Ok(AccountEvent::Opened {
                owner: owner.into(),
            }),
            _ => Err(BankError::InvalidOwner),
        }
    }
    pub fn credit(&self, amount: Money) -> Result<AccountEvent, BankError> {
        Ok(AccountEvent::Credited {
            amount: positive(amount)?,
        })
    }
    pub fn debit(&self, amount: Money) -> Result<AccountEvent, BankError> {
        if positive(amount)? > self.balance {
            return Err(BankError::InsufficientFunds {
                balance: self.balance,
                amount,
            });
        }
        Ok(AccountEvent::Debited {
            amount: positive(amount)?,
        })
    }
}
