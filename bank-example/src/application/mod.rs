//! The services of the bank: what callers can do, and the policies and read models that follow.

pub mod accounts;
pub mod activity;
pub mod ledger;
mod legs;
pub mod summaries;
pub mod transfers;

use rust_decimal::prelude::ToPrimitive as _;

use crate::domain::Money;

/// Converts an amount for a table, as a whole number of cents: databases agree on whole numbers only.
fn cents(amount: Money) -> i64 {
    (amount * Money::ONE_HUNDRED)
        .to_i64()
        .expect("an amount is at most 999999999999.99")
}

fn money(cents: i64) -> Money {
    Money::new(cents, 2)
}

fn rows_at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
