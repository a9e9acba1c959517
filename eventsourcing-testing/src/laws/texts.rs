//! Texts of the kinds that fields often hold: words, amounts, ids, times. A type that parses texts accepts some of these kinds
//! and refuses the others, which is how the generator learns the right one.

use uuid::Uuid;

/// Returns a text for each number; the smaller the number, the plainer the text.
type Kind = fn(u64) -> String;

/// The kinds of texts that are tried on each field.
pub(super) const KINDS: &[Kind] = &[
    word,
    amount,
    whole,
    |number| known_id(number).to_string(),
    instant,
    |number| pick(number, &["2020-01-01", "2024-02-29", "1999-12-31"]),
    |number| pick(number, &["12:00:00", "00:00:00", "23:59:59.999999"]),
    |number| pick(number, &["2020-01-01T12:00:00", "2024-02-29T00:00:00"]),
    |number| {
        pick(
            number,
            &[
                "2020-01-01T12:00:00+00:00[UTC]",
                "2024-02-29T00:00:00+00:00[UTC]",
            ],
        )
    },
    |number| pick(number, &["PT1H", "PT0S", "P1D", "PT90S"]),
    |number| pick(number, &["a@example.com", "alice.b+c@example.org"]),
    |number| {
        pick(
            number,
            &["https://example.com/", "https://example.org/a?b=c#d"],
        )
    },
    |number| pick(number, &["127.0.0.1", "10.0.0.1", "255.255.255.255"]),
    |number| pick(number, &["::1", "2001:db8::1"]),
    |number| pick(number, &["127.0.0.1:80", "[::1]:8080"]),
    |number| pick(number, &["EUR", "USD", "JPY"]),
    |number| pick(number, &["DE", "US", "JP"]),
    |number| pick(number, &["en", "de-AT", "ja"]),
    |number| pick(number, &["1.0.0", "0.1.0-alpha.1"]),
    |number| {
        pick(
            number,
            &["00", "00ff00ff", "0123456789abcdef0123456789abcdef"],
        )
    },
    |number| pick(number, &["true", "false"]),
];

const WORDS: &[&str] = &[
    "a",
    "Alice",
    "",
    "two words",
    "Zoë Ænima 🦀 长 العربية",
    "\"quoted\\\"\tand\n",
    "null",
    "0",
];

/// Amounts for fields whose numbers may be large.
const LARGE_AMOUNTS: &[&str] = &[
    "0",
    "-1",
    "0.001",
    "1000000000000",
    "79228162514264337593543950335",
];

/// Returns one of a few ids, so that different events refer to the same aggregates.
pub(super) fn known_id(number: u64) -> Uuid {
    Uuid::from_u128(0x0190_e2f1_8c4b_7a53_9d21_5f3b_6c7d_8e00 + u128::from(number % KNOWN_IDS))
}

/// The number of different ids.
pub(super) const KNOWN_IDS: u64 = 4;

/// Returns an amount of any size.
pub(super) fn large_amount(number: u64) -> String {
    pick(number, LARGE_AMOUNTS)
}

fn pick(number: u64, texts: &[&str]) -> String {
    texts[(number % texts.len() as u64) as usize].to_owned()
}

fn word(number: u64) -> String {
    pick(number, WORDS)
}

/// Returns an amount from 0.01 to 1000.00.
fn amount(number: u64) -> String {
    let cents = number % 100_000 + 1;
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn whole(number: u64) -> String {
    (number % 1_000).to_string()
}

fn instant(number: u64) -> String {
    format!("2020-01-01T{:02}:{:02}:00Z", number % 24, number / 24 % 60)
}
