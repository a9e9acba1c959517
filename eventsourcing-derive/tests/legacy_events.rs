//! The promises of `#[event]` about events that earlier releases have stored.

use std::error::Error;

use eventsourcing_core::store::{Name, Position, StoredEvent, StreamId, Version};
use eventsourcing_core::{Aggregate, Clock, Codec, CodecError, Event, Fold, SystemClock, event};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Account {
    owner: String,
    cents: i64,
}

/// Release 4 of an account.
#[event(split(name = "Moved", with = moved), split(name = "Moved", version = 2, with = moved_perhaps), retired("Frozen"))]
impl Account {
    fn opened(owner: String) -> Self {
        Self { owner, cents: 0 }
    }
    #[event(
        name = "PaidIn",
        former_names("Credited", "Deposited"),
        version = 4,
        upcast(from = 3, with = paid_in::from_3),
        upcast(from = 1, with = paid_in::from_1),
        upcast(from = 2, with = paid_in::from_2)
    )]
    fn paid_in(&mut self, cents: i64, #[serde(default)] note: Option<String>) {
        self.cents += cents;
    }
    fn paid_out(&mut self, cents: i64) {
        self.cents -= cents;
    }
}

mod paid_in {
    use super::*;

    #[derive(Deserialize)]
    pub(super) struct InEuros {
        euros: i64,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct InText {
        amount: String,
    }

    /// Typed, and cannot fail.
    pub(super) fn from_1(old: InEuros) -> InText {
        InText {
            amount: format!("{}.00", old.euros),
        }
    }

    /// Typed, and may fail.
    pub(super) fn from_2(old: InText) -> Result<Value, std::num::ParseIntError> {
        let digits: String = old.amount.chars().filter(|letter| *letter != '.').collect();
        Ok(json!({ "cent": digits.parse::<i64>()? }))
    }

    /// On JSON, and may fail with a text.
    pub(super) fn from_3(mut old: Value) -> Result<Value, String> {
        match old["cent"].take() {
            Value::Null => Err(format!("{old} has no cent")),
            cents => Ok(json!({ "cents": cents })),
        }
    }
}

#[derive(Deserialize)]
struct Moved {
    out: i64,
    back: i64,
}

fn moved(old: Moved) -> [AccountEvent; 2] {
    [
        AccountEvent::PaidOut { cents: old.out },
        AccountEvent::PaidIn {
            cents: old.back,
            note: None,
        },
    ]
}

fn moved_perhaps(old: Option<i64>) -> Result<Option<AccountEvent>, &'static str> {
    match old {
        Some(..0) => Err("a negative amount"),
        out => Ok(out.map(|cents| AccountEvent::PaidOut { cents })),
    }
}

fn stored(name: &'static str, schema_version: u16, payload: &str) -> StoredEvent {
    StoredEvent {
        position: Position::ZERO,
        stream: StreamId {
            category: Name::from_static("Account"),
            id: uuid::Uuid::nil(),
        },
        version: Version::FIRST,
        recorded_at: SystemClock.now(),
        name: Name::from_static(name),
        schema_version,
        codec: Codec::Json.id(),
        payload: payload.into(),
        metadata: Vec::new(),
    }
}

fn read(name: &'static str, version: u16, payload: &str) -> Result<Vec<AccountEvent>, CodecError> {
    Codec::decode_events(&stored(name, version, payload)).map(Iterator::collect)
}

fn paid_in(cents: i64) -> AccountEvent {
    AccountEvent::PaidIn { cents, note: None }
}

/// An error and its sources in one line.
fn text(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", text(source)),
        None => error.to_string(),
    }
}

#[test]
fn each_version_comes_through_the_rest_of_the_chain_under_each_name() -> Result<(), CodecError> {
    for name in ["PaidIn", "Credited", "Deposited"] {
        assert_eq!(read(name, 1, r#"{"euros":7}"#)?, [paid_in(700)]);
        assert_eq!(read(name, 2, r#"{"amount":"7.05"}"#)?, [paid_in(705)]);
        assert_eq!(read(name, 3, r#"{"cent":5}"#)?, [paid_in(5)]);
        assert_eq!(read(name, 4, r#"{"cents":5}"#)?, [paid_in(5)]);
        let newer = read(name, 5, "{}").expect_err("no release has stored it");
        assert!(
            matches!(
                newer,
                CodecError::UnknownVersion {
                    found: 5,
                    known: 4,
                    ..
                }
            ),
            "{newer:?}"
        );
    }
    Ok(())
}

#[test]
fn a_new_event_has_the_current_name_and_version() {
    let written = paid_in(1).event_type();
    assert_eq!((written.name, written.version), ("PaidIn", 4));
    assert_eq!(AccountEvent::VARIANTS, ["Opened", "PaidIn", "PaidOut"]);
}

#[test]
fn a_field_with_a_default_needs_no_upcaster() -> Result<(), CodecError> {
    let noted = AccountEvent::PaidIn {
        cents: 5,
        note: Some("gift".into()),
    };
    assert_eq!(read("PaidIn", 4, r#"{"cents":5,"note":"gift"}"#)?, [noted]);
    assert_eq!(read("PaidIn", 4, r#"{"cents":5}"#)?, [paid_in(5)]);
    Ok(())
}

#[test]
fn a_split_event_is_read_as_several_or_none_and_a_retired_one_as_none() -> Result<(), CodecError> {
    let both = [AccountEvent::PaidOut { cents: 5 }, paid_in(2)];
    assert_eq!(read("Moved", 1, r#"{"out":5,"back":2}"#)?, both);
    assert_eq!(read("Moved", 2, "5")?, [AccountEvent::PaidOut { cents: 5 }]);
    assert_eq!(read("Moved", 2, "null")?, []);
    assert_eq!(read("Frozen", 1, r#"{"why":"court"}"#)?, []);
    assert_eq!(read("Frozen", 9, "not even JSON")?, []);
    let newer = read("Moved", 3, "{}").expect_err("no release has stored it");
    assert!(
        matches!(
            newer,
            CodecError::UnknownVersion {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{newer:?}"
    );
    Ok(())
}

#[test]
fn an_event_of_an_earlier_release_is_folded_like_any_other() -> Result<(), Box<dyn Error>> {
    let mut account = Account::create(AccountEvent::Opened {
        owner: "Alice".into(),
    })?;
    for event in [
        read("Credited", 1, r#"{"euros":7}"#)?,
        read("Moved", 1, r#"{"out":5,"back":2}"#)?,
    ]
    .concat()
    {
        account.apply(event)?;
    }
    assert_eq!((&*account.owner, account.cents), ("Alice", 697));
    Ok(())
}

#[test]
fn an_upcaster_that_fails_names_event_versions_and_reason() {
    let failures = [
        (
            read("Credited", 2, r#"{"amount":"much"}"#),
            "event Credited cannot be upcast from version 2 to version 3: invalid digit",
        ),
        (
            read("PaidIn", 3, "{}"),
            "event PaidIn cannot be upcast from version 3 to version 4: {\"cent\":null} has no cent",
        ),
        (
            read("PaidIn", 1, r#"{"euros":"7"}"#),
            "event PaidIn cannot be upcast from version 1 to version 2: cannot decode",
        ),
        (
            read("PaidIn", 3, r#"{"cent":"7"}"#),
            "cannot decode event PaidIn, upcast from version 3 to 4: invalid type: string",
        ),
        (
            read("Moved", 2, "-1"),
            "version 2 of event Moved cannot be split: a negative amount",
        ),
        (
            read("Moved", 1, "{}"),
            "version 1 of event Moved cannot be split: cannot decode",
        ),
    ];
    for (outcome, expected) in failures {
        let error = outcome.expect_err(expected);
        assert!(text(&error).contains(expected), "{}", text(&error));
        assert!(!error.is_of_newer_release(), "{error}");
    }
}

#[test]
fn large_numbers_go_through_typed_upcasters_unchanged() -> Result<(), CodecError> {
    #[derive(Serialize, Deserialize)]
    struct Counted {
        atoms: u128,
    }
    fn same(old: Counted) -> Counted {
        old
    }
    #[event(version = 3, upcast(from = 1, with = same), upcast(from = 2, with = same))]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct AtomsCounted {
        atoms: u128,
    }
    let payload = format!(r#"{{"atoms":{}}}"#, u128::MAX);
    let read: Vec<AtomsCounted> =
        Codec::decode_events(&stored("AtomsCounted", 1, &payload))?.collect();
    assert_eq!(read, [AtomsCounted { atoms: u128::MAX }]);
    Ok(())
}

/// A handwritten enum has the same options as a block.
#[test]
fn an_enum_reads_events_of_earlier_releases_too() -> Result<(), CodecError> {
    #[event(split(name = "Slammed", with = slammed), retired("Painted"))]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum DoorEvent {
        Opened,
        #[event(name = "Shut", former_names("Closed"), version = 2, upcast(from = 1, with = by_the_guard))]
        Closed {
            by: String,
        },
    }
    fn by_the_guard(_: Value) -> Value {
        json!({ "by": "the guard" })
    }
    fn slammed(_: Value) -> Vec<DoorEvent> {
        vec![
            DoorEvent::Opened,
            DoorEvent::Closed {
                by: "the wind".into(),
            },
        ]
    }
    let read = |name, version| {
        Codec::decode_events::<DoorEvent>(&stored(name, version, "{}")).map(Vec::from_iter)
    };
    assert_eq!(
        read("Closed", 1)?,
        [DoorEvent::Closed {
            by: "the guard".into()
        }]
    );
    assert_eq!(
        read("Slammed", 1)?,
        [
            DoorEvent::Opened,
            DoorEvent::Closed {
                by: "the wind".into()
            }
        ]
    );
    assert_eq!(read("Painted", 1)?, []);
    Ok(())
}
