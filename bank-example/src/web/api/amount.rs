//! [`Amount`]: money as a decimal string, because clients read JSON numbers as binary fractions and lose cents.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::domain::Money;

/// The longest text that is parsed. No valid amount is longer.
const CHARACTERS_MAX: usize = 30;

/// An amount of money: digits, optionally with a decimal point and at most two decimal places.
#[derive(Clone, Copy, Debug, PartialEq, ToSchema)]
#[schema(value_type = String, pattern = r"^-?[0-9]+(\.[0-9]+)?$", example = "20.00")]
pub(super) struct Amount(pub(super) Money);

impl fmt::Display for Amount {
    /// Writes two decimal places, or more if the amount has more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.normalize() {
            exact if exact.scale() > 2 => write!(f, "{exact}"),
            _ => write!(f, "{:.2}", self.0),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as a string, such as \"20.00\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                parse(text)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(&shortened(text)), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Parses digits with at most one point, which is not at either end. The bank decides which amounts can be moved.
fn parse(text: &str) -> Option<Amount> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_amount = match digits.split_once('.') {
        Some((whole, cents)) => is_number(whole) && is_number(cents),
        None => is_number(digits),
    };
    if !is_amount || text.len() > CHARACTERS_MAX {
        return None;
    }
    Money::from_str_exact(text).ok().map(Amount)
}

fn shortened(text: &str) -> String {
    text.chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimals_are_amounts() {
        for (text, amount) in [
            ("20", "20.00"),
            ("0.5", "0.50"),
            ("-1.00", "-1.00"),
            ("999999999999.99", "999999999999.99"),
        ] {
            assert_eq!(
                parse(text).map(|amount| amount.to_string()).as_deref(),
                Some(amount)
            );
        }
        let invalid = [
            "", "-", ".5", "5.", "1e3", "+1", "1_000", "0x10", "1,00", " 1", "NaN", "1.0.0",
            "\u{661}",
        ];
        for text in invalid
            .into_iter()
            .chain([&*"9".repeat(40), &*"9".repeat(30)])
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
