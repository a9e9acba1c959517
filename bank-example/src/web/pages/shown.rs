//! Formats money, times, ids and payloads for pages.

use eventsourcing::Codec;
use eventsourcing::store::StoredEvent;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::Money;

/// Formats an amount with two decimal places and with thousands separated.
pub(super) fn money(amount: Money) -> String {
    let text = format!("{:.2}", amount.abs());
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!(
        "{}{grouped}.{cents}",
        if amount.is_sign_negative() && !amount.is_zero() {
            "−"
        } else {
            ""
        }
    )
}

/// Formats a time for people.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Shortens an id to its end, which distinguishes ids better than their beginning: that is a time.
pub(super) fn short(id: Uuid) -> String {
    let text = id.simple().to_string();
    format!("…{}", &text[text.len() - 8..])
}

/// Formats the fields of an event with `show`, whatever codec wrote the event. Fields that cannot be read are shown as
/// they are stored.
pub(super) fn payload(event: &StoredEvent, show: impl Fn(&Value) -> String) -> String {
    match Codec::decode_value(event) {
        Ok(fields) => show(&fields),
        Err(_) => String::from_utf8_lossy(&event.payload).into_owned(),
    }
}

/// Removes from an input the characters that no stored text contains and databases refuse, and limits its length.
pub(super) fn typed(text: &str) -> String {
    text.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_grouped_by_thousands() {
        for (amount, text) in [
            ("0", "0.00"),
            ("999.5", "999.50"),
            ("1000", "1,000.00"),
            ("-1234567.89", "−1,234,567.89"),
        ] {
            assert_eq!(
                money(Money::from_str_exact(amount).expect("an amount")),
                text
            );
        }
    }
}
