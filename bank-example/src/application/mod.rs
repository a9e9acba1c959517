//! What may be asked of the bank.

pub mod accounts;
pub mod activity;
pub mod ledger;
