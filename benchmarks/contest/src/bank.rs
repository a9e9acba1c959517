//! The bank that all contestants keep: accounts that are opened and credited.

use uuid::Uuid;

/// The text in every credit. With it the fields of a credit are about 100 bytes of JSON:
/// `{"amount":25,"reference":"invoice 2026-0042, monthly payment for electricity, thank you"}`.
pub const REFERENCE: &str =
    "invoice 2026-0042, monthly payment for electricity, thank you very much";

/// The amount of the credit with this number: small, and not always the same.
#[must_use]
pub fn amount(number: u64) -> u64 {
    1 + number % 97
}

/// The account with this number in a group of accounts: the same wherever it is asked for.
#[must_use]
pub fn account(group: &str, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{group}/{number}").as_bytes())
}
