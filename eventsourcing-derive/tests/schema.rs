//! `#[event(schema)]` on handwritten enums and structs: the schema describes the form that serde stores, and samples made of it
//! can be read.

use eventsourcing_core::{Aggregate, Fold, UnexpectedEvent, event};
use eventsourcing_schema::{LockedEvent, SchemaLock, SystemSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A state that accepts any event.
macro_rules! aggregate {
    ($name:ident, $event:ident) => {
        #[derive(Aggregate, Serialize, Deserialize)]
        #[aggregate(event = $event)]
        struct $name {}

        impl Fold<$event> for $name {
            fn create(_: $event) -> Result<Self, UnexpectedEvent> {
                Ok(Self {})
            }
            fn apply(&mut self, _: $event) -> Result<(), UnexpectedEvent> {
                Ok(())
            }
        }
    };
}

#[event(schema)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "SCREAMING_SNAKE_CASE",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum DoorEvent {
    Opened,
    #[event(name = "Shut")]
    Closed {
        closed_by: String,
        #[schemars(range(min = 3))]
        after_seconds: u8,
    },
    #[serde(rename_all = "UPPERCASE")]
    Painted {
        colour: Colour,
    },
    Moved(i32, i32),
    Named(Name),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
enum Colour {
    Red,
    Mixed { of: Vec<Colour> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
struct Name {
    text: String,
}

#[event(schema)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pinged {
    sent_at: u64,
}

#[event(schema)]
#[derive(Clone, Debug, PartialEq)]
struct Ticked;

aggregate!(Door, DoorEvent);
aggregate!(Ping, Pinged);
aggregate!(Clock, Ticked);

fn lock() -> SchemaLock {
    let schema = SystemSchema::new("House")
        .with::<Door>()
        .with::<Ping>()
        .with::<Clock>();
    schema
        .update(&SchemaLock::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn locked(event: &str) -> LockedEvent {
    lock()
        .events()
        .find(|locked| locked.event == event)
        .expect("it is locked")
        .clone()
}

#[test]
fn each_form_of_a_variant_has_the_payload_that_is_stored() {
    let samples: Vec<(String, Vec<Value>)> = lock()
        .events()
        .map(|event| (event.event.clone(), event.samples.clone()))
        .collect();
    let expected = [
        ("Ticked", vec![json!({})]),
        ("Moved", vec![json!([1, 1])]),
        ("Named", vec![json!({ "text": "text" })]),
        ("Opened", vec![json!({})]),
        (
            "Painted",
            vec![
                json!({ "COLOUR": "Red" }),
                json!({ "COLOUR": { "Mixed": { "of": [] } } }),
            ],
        ),
        (
            "Shut",
            vec![json!({ "closedBy": "text", "afterSeconds": 3 })],
        ),
        ("Pinged", vec![json!({ "sentAt": 1 })]),
    ];
    assert_eq!(
        samples,
        expected.map(|(name, samples)| (name.to_owned(), samples))
    );
}

#[test]
fn the_schema_rejects_payloads_that_serde_rejects() {
    assert_eq!(locked("Shut").payload["additionalProperties"], json!(false));
    assert_eq!(locked("Pinged").payload.get("additionalProperties"), None);
}

#[test]
fn samples_are_read_as_the_events_they_stand_for() {
    let lock = lock();
    let door: Vec<_> = lock
        .samples::<Door>()
        .flat_map(|sample| sample.decode::<Door>().expect("it is read"))
        .collect();
    assert!(door.contains(&DoorEvent::Closed {
        closed_by: "text".into(),
        after_seconds: 3
    }));
    assert!(door.contains(&DoorEvent::Painted {
        colour: Colour::Mixed { of: Vec::new() }
    }));
    let clock: Vec<_> = lock
        .samples::<Clock>()
        .flat_map(|sample| sample.decode::<Clock>().expect("it is read"))
        .collect();
    assert_eq!(clock, [Ticked]);
}
