//! The promises of `#[event]`: the fold, the stored names, the stored form.

use std::error::Error;

use eventsourcing_core::store::{Name, Position, StoredEvent, StreamId, Version};
use eventsourcing_core::{
    Aggregate, Clock, Codec, CodecError, Event, EventType, Fold, SystemClock, UnexpectedEvent,
    event,
};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: String,
    balance: i64,
    merged: Vec<Account>,
}

/// The events of an account.
#[event]
impl Account {
    fn opened(owner: String) -> Self {
        Self {
            owner,
            balance: 0,
            merged: Vec::new(),
        }
    }
    fn imported(owner: String, balance: i64) -> Account {
        Account {
            owner,
            balance,
            merged: Vec::new(),
        }
    }
    fn credited(
        &mut self,
        amount: i64,
        #[serde(default, rename = "note")] _remark: Option<String>,
    ) {
        self.balance += amount;
    }
    fn merged(&mut self, others: Vec<Self>) {
        self.merged = others;
    }
    #[event(name = "OwnerChanged", version = 2, upcast(from = 1, with = owner_from_name))]
    fn owner_renamed(&mut self, owner: String) {
        self.owner = owner;
    }
    fn frozen(&mut self) {}
}

/// The same events, written by hand.
mod by_hand {
    use super::*;

    #[event]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum AccountEvent {
        Opened {
            owner: String,
        },
        Imported {
            owner: String,
            balance: i64,
        },
        Credited {
            amount: i64,
            #[serde(default, rename = "note")]
            remark: Option<String>,
        },
        Merged {
            others: Vec<Account>,
        },
        #[event(name = "OwnerChanged", version = 2, upcast(from = 1, with = owner_from_name))]
        OwnerRenamed {
            owner: String,
        },
        Frozen,
    }
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shapes {
    Unit,
    Newtype(u32),
    Pair(u32, String),
    Struct {},
}

#[event(name = "Ping", former_names("Pung"))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pinged {
    at: u64,
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ponged;

fn owner_from_name(mut old: serde_json::Value) -> serde_json::Value {
    old["owner"] = old["name"].take();
    old
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

fn payload(event: &impl Event) -> Result<String, Box<dyn Error>> {
    Ok(String::from_utf8(Codec::Json.encode_event(event)?)?)
}

fn decode<E: Event>(stored: &StoredEvent) -> Result<Vec<E>, CodecError> {
    Codec::decode_events(stored).map(Iterator::collect)
}

fn comes_back<E: Event + PartialEq + std::fmt::Debug>(event: E) -> Result<(), Box<dyn Error>> {
    let EventType { name, version } = event.event_type();
    let stored = stored(name, version, &payload(&event)?);
    assert_eq!(decode::<E>(&stored)?, [event]);
    Ok(())
}

#[test]
fn a_method_that_returns_self_creates_and_the_others_change() -> Result<(), UnexpectedEvent> {
    let mut account = Account::create(AccountEvent::Opened {
        owner: "Alice".into(),
    })?;
    account.apply(AccountEvent::Credited {
        amount: 5,
        remark: None,
    })?;
    account.apply(AccountEvent::OwnerRenamed {
        owner: "Bob".into(),
    })?;
    account.apply(AccountEvent::Frozen)?;
    assert_eq!((&*account.owner, account.balance), ("Bob", 5));
    Ok(())
}

#[test]
fn an_unexpected_event_is_rejected_and_changes_nothing() -> Result<(), UnexpectedEvent> {
    assert_eq!(Account::create(AccountEvent::Frozen), Err(UnexpectedEvent));
    let mut account = Account::create(AccountEvent::Imported {
        owner: "Alice".into(),
        balance: 7,
    })?;
    let before = account.clone();
    assert_eq!(
        account.apply(AccountEvent::Opened {
            owner: "Bob".into()
        }),
        Err(UnexpectedEvent)
    );
    assert_eq!(account, before);
    Ok(())
}

#[test]
fn names_and_versions_are_those_of_the_options() {
    let types: Vec<_> = AccountEvent::TYPES
        .iter()
        .map(|known| (known.name, known.version))
        .collect();
    let expected = [
        ("Opened", 1),
        ("Imported", 1),
        ("Credited", 1),
        ("Merged", 1),
        ("OwnerChanged", 2),
        ("Frozen", 1),
    ];
    assert_eq!(types, expected);
    assert_eq!(AccountEvent::Frozen.event_type().name, "Frozen");
    assert_eq!(
        Pinged::TYPES,
        [EventType {
            name: "Ping",
            version: 1
        }]
    );
}

#[test]
fn both_forms_are_stored_alike() -> Result<(), Box<dyn Error>> {
    let written = AccountEvent::Credited {
        amount: 5,
        remark: Some("gift".into()),
    };
    let by_hand = by_hand::AccountEvent::Credited {
        amount: 5,
        remark: Some("gift".into()),
    };
    assert_eq!(payload(&written)?, payload(&by_hand)?);
    assert_eq!(written.event_type(), by_hand.event_type());
    assert_eq!(AccountEvent::TYPES, by_hand::AccountEvent::TYPES);
    Ok(())
}

#[test]
fn both_forms_are_copied_shown_and_compared_alike() {
    let note = || Some("gift".to_owned());
    let all = [
        (
            AccountEvent::Opened {
                owner: "Alice".into(),
            },
            by_hand::AccountEvent::Opened {
                owner: "Alice".into(),
            },
        ),
        (
            AccountEvent::Credited {
                amount: 5,
                remark: note(),
            },
            by_hand::AccountEvent::Credited {
                amount: 5,
                remark: note(),
            },
        ),
        (
            AccountEvent::Credited {
                amount: 5,
                remark: None,
            },
            by_hand::AccountEvent::Credited {
                amount: 5,
                remark: None,
            },
        ),
        (AccountEvent::Frozen, by_hand::AccountEvent::Frozen),
    ];
    for (written, by_hand) in &all {
        assert_eq!(
            format!("{written:?} {written:#?}"),
            format!("{by_hand:?} {by_hand:#?}")
        );
        assert_eq!(written.duplicate(), written.clone());
        for (other, other_by_hand) in &all {
            assert_eq!(
                written == other,
                by_hand == other_by_hand,
                "{written:?} and {other:?}"
            );
        }
    }
}

/// Events within events, of the same block and of another that contains the first.
mod nested {
    use super::*;

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Order {}

    #[event]
    impl Order {
        fn placed() -> Self {
            Self {}
        }
        fn undone(&mut self, event: Box<OrderEvent>, causes: Vec<InvoiceEvent>) {}
    }

    #[derive(Aggregate, Serialize, Deserialize)]
    pub(super) struct Invoice {}

    #[event]
    impl Invoice {
        fn sent(order: Option<Box<OrderEvent>>) -> Self {
            Self {}
        }
    }
}

#[test]
fn events_may_contain_events() -> Result<(), Box<dyn Error>> {
    use nested::{InvoiceEvent, OrderEvent};
    let sent = InvoiceEvent::Sent {
        order: Some(Box::new(OrderEvent::Placed)),
    };
    let undone = OrderEvent::Undone {
        event: Box::new(OrderEvent::Placed),
        causes: vec![sent.clone()],
    };
    nested::Invoice::create(sent)?;
    nested::Order::create(OrderEvent::Placed)?.apply(undone.clone())?;
    comes_back(undone)
}

/// A block that a macro writes, with types of the macro's crate and of the caller.
mod written_by_a_macro {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Money(pub(crate) i64);

    macro_rules! purse {
        ($name:ident, $coin:ty) => {
            #[derive(Aggregate, Serialize, Deserialize)]
            pub(super) struct $name {}

            #[event]
            impl $name {
                fn filled(coins: Vec<$coin>, worth: $crate::written_by_a_macro::Money) -> Self {
                    Self {}
                }
            }
        };
    }
    purse!(Purse, (u8, Money));
}

#[test]
fn a_macro_may_write_the_block() -> Result<(), Box<dyn Error>> {
    use written_by_a_macro::{Money, PurseEvent};
    let filled = PurseEvent::Filled {
        coins: vec![(2, Money(3))],
        worth: Money(6),
    };
    written_by_a_macro::Purse::create(filled.clone())?;
    comes_back(filled)
}

#[test]
fn a_payload_is_the_bare_fields() -> Result<(), Box<dyn Error>> {
    assert_eq!(
        payload(&AccountEvent::Opened {
            owner: "Alice".into()
        })?,
        r#"{"owner":"Alice"}"#
    );
    assert_eq!(payload(&Shapes::Newtype(1))?, "1");
    assert_eq!(payload(&Shapes::Pair(1, "a".into()))?, r#"[1,"a"]"#);
    assert_eq!(payload(&Pinged { at: 1 })?, r#"{"at":1}"#);
    Ok(())
}

#[test]
fn an_event_without_fields_is_an_empty_map() -> Result<(), Box<dyn Error>> {
    assert_eq!(payload(&AccountEvent::Frozen)?, "{}");
    assert_eq!(payload(&Shapes::Unit)?, "{}");
    assert_eq!(payload(&Shapes::Struct {})?, "{}");
    assert_eq!(payload(&Ponged)?, "{}");
    Ok(())
}

#[test]
fn every_event_comes_back_from_its_bytes() -> Result<(), Box<dyn Error>> {
    let alice = Account {
        owner: "Alice".into(),
        balance: 1,
        merged: Vec::new(),
    };
    comes_back(AccountEvent::Opened {
        owner: "Alice".into(),
    })?;
    comes_back(AccountEvent::Credited {
        amount: 5,
        remark: Some("gift".into()),
    })?;
    comes_back(AccountEvent::Merged {
        others: vec![alice],
    })?;
    comes_back(AccountEvent::OwnerRenamed {
        owner: "Bob".into(),
    })?;
    comes_back(AccountEvent::Frozen)?;
    comes_back(Shapes::Unit)?;
    comes_back(Shapes::Newtype(1))?;
    comes_back(Shapes::Pair(1, "a".into()))?;
    comes_back(Shapes::Struct {})?;
    comes_back(Pinged { at: 1 })?;
    comes_back(Ponged)
}

#[test]
fn serde_attributes_of_parameters_count() -> Result<(), Box<dyn Error>> {
    let noted = AccountEvent::Credited {
        amount: 5,
        remark: Some("gift".into()),
    };
    assert_eq!(payload(&noted)?, r#"{"amount":5,"note":"gift"}"#);
    let without_note = decode::<AccountEvent>(&stored("Credited", 1, r#"{"amount":5}"#))?;
    assert_eq!(
        without_note,
        [AccountEvent::Credited {
            amount: 5,
            remark: None
        }]
    );
    Ok(())
}

#[test]
fn an_unknown_name_or_version_is_reported() {
    let unknown = decode::<AccountEvent>(&stored("OwnerRenamed", 2, "{}"));
    assert!(
        matches!(unknown, Err(CodecError::UnknownEvent { .. })),
        "{unknown:?}"
    );
    let newer = decode::<AccountEvent>(&stored("OwnerChanged", 3, "{}"));
    assert!(
        matches!(
            newer,
            Err(CodecError::UnknownVersion {
                found: 3,
                known: 2,
                ..
            })
        ),
        "{newer:?}"
    );
    let none = decode::<AccountEvent>(&stored("OwnerChanged", 0, "{}"));
    assert!(
        matches!(
            none,
            Err(CodecError::UnknownVersion {
                found: 0,
                known: 2,
                ..
            })
        ),
        "{none:?}"
    );
    assert!(
        [unknown, newer]
            .into_iter()
            .all(|read| read.is_err_and(|error| error.is_of_newer_release()))
    );
    assert!(none.is_err_and(|error| !error.is_of_newer_release()));
}
