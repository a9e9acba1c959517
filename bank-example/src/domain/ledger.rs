//! The ledger: the sum of all that the bank owes its customers.

use eventsourcing::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};

use super::{Money, ZERO, account::Account};

/// The name of the only ledger; its id is `Id::named(GENERAL)`.
pub const GENERAL: &str = "General";

/// The balance of the bank and the number of movements that led to it.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(50))]
pub struct Ledger {
    pub balance: Money,
    pub transactions: u64,
}

/// The events of the ledger. An amount that left an account is negative.
#[event(schema)]
impl Ledger {
    fn opened() -> Self {
        Self {
            balance: ZERO,
            transactions: 0,
        }
    }
    fn transaction_added(
        &mut self,
        _account: Id<Account>,
        #[schemars(schema_with = "crate::amount")] amount: Money,
    ) {
        self.balance += amount;
        self.transactions += 1;
    }
}
