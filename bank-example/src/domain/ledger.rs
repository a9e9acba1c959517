//! The ledger: what the bank owes its customers in all.

use eventsourcing::{Aggregate, Id, event};
use serde::{Deserialize, Serialize};

use super::{Money, ZERO, account::Account};

/// The one ledger there is: `Id::named(GENERAL)`.
pub const GENERAL: &str = "General";

/// The balance of the bank and the number of movements that led to it.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(50))]
pub struct Ledger {
    pub balance: Money,
    pub transactions: u64,
}

/// What has happened to a ledger. An amount that left an account is negative.
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
