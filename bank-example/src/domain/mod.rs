//! The rules of the bank. No I/O, no async, no clock.

pub mod account;
pub mod ledger;
pub mod transfer;

pub use rust_decimal::Decimal as Money;

/// The reasons for which the bank rejects a command.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum BankError {
    #[error("insufficient funds: the balance is {balance:.2}, {amount:.2} was asked for")]
    InsufficientFunds { balance: Money, amount: Money },
    #[error(
        "{0} is not an amount: it must be positive, at most 999999999999.99, with at most two decimal places"
    )]
    InvalidAmount(Money),
    #[error("the owner's name must have 1 to 200 characters and no control characters")]
    InvalidOwner,
    #[error("a transfer needs two different accounts")]
    SameAccount,
}

/// Zero, with two decimal places.
pub const ZERO: Money = Money::from_parts(0, 0, 0, false, 2);

/// Returns `amount` with two decimal places, if it is an amount that can be moved.
fn positive(mut amount: Money) -> Result<Money, BankError> {
    if amount <= ZERO
        || amount >= Money::from(1_000_000_000_000_u64)
        || amount.normalize().scale() > 2
    {
        return Err(BankError::InvalidAmount(amount));
    }
    amount.rescale(2);
    Ok(amount)
}
