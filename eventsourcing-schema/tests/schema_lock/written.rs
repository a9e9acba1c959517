//! The written bytes are locked too: a feature that another crate of the program turns on changes them without a change of any
//! type.

use std::cell::Cell;
use std::collections::HashMap;

use eventsourcing_core::{Aggregate, Application, MemoryStore, Runner, System, SystemError, event};
use eventsourcing_schema::{LockError, SchemaLock, SystemSchema, WithLock as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

thread_local! {
    /// Stands for a feature of a crate: prices are written as numbers.
    static AS_NUMBERS: Cell<bool> = const { Cell::new(false) };
    /// Stands for another feature: the order of keys is kept.
    static IN_ORDER: Cell<bool> = const { Cell::new(false) };
}

/// A type that is read from a text and from a number, as `rust_decimal` does.
#[derive(Clone, Debug, PartialEq)]
struct Price(f64);

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match AS_NUMBERS.get() {
            true => serializer.serialize_f64(self.0),
            false => serializer.serialize_str(&format!("{:.2}", self.0)),
        }
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => text.parse().map(Self).map_err(serde::de::Error::custom),
            number => number
                .as_f64()
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom("no price")),
        }
    }
}

impl JsonSchema for Price {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Price".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["1.50"] })
    }
}

/// A JSON value that keeps the order of its keys if the feature is on.
#[derive(Clone, Debug, PartialEq)]
struct Remarks(Vec<(String, Value)>);

impl Serialize for Remarks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = self.0.clone();
        if !IN_ORDER.get() {
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        serializer.collect_map(entries)
    }
}

impl<'de> Deserialize<'de> for Remarks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Remarks;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map or a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Remarks, E> {
                Ok(Remarks(vec![("text".into(), text.into())]))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Remarks, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Remarks(entries))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

impl JsonSchema for Remarks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Remarks".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Article {}

#[event(schema)]
impl Article {
    fn listed(_price: Price) -> Self {
        Self {}
    }
    fn remarked(&mut self, _remarks: Remarks) {}
    fn shipped(&mut self, _by_shop: HashMap<String, u8>) {}
}

struct Shop;

impl From<Application> for Shop {
    fn from(_: Application) -> Self {
        Self
    }
}

#[derive(System)]
#[system(schema)]
struct Market {
    #[application(aggregates(Article))]
    #[expect(dead_code, reason = "nothing is done")]
    shop: Shop,
}

fn schema() -> SystemSchema {
    let shops: Value = (0..9)
        .map(|number| (format!("shop {number}"), json!(number)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    SystemSchema::of::<Market>().with_sample::<Article>("Shipped", 1, json!({ "by_shop": shops }))
}

fn lock() -> SchemaLock {
    schema()
        .update(&SchemaLock::default())
        .expect("it is recorded")
}

async fn start(lock: &str) -> Result<(), SystemError> {
    let builder = Market::builder(MemoryStore::new())
        .with_runner(Runner::inline())
        .with_lock(lock);
    builder.start().await.map(drop)
}

#[tokio::test]
async fn feature_that_changes_what_is_written_is_found_by_the_test_and_at_the_start() {
    let lock = lock();
    let text = lock.to_string();
    assert!(text.contains(r#""{\"price\":\"1.50\"}""#), "{text}");
    // Maps without an order raise no alarm in any run.
    for _ in 0..20 {
        assert!(schema().compare(&lock).expect("a comparison").is_locked());
        start(&text).await.expect("it is as locked");
    }
    for (feature, recorded, now) in [
        (
            &AS_NUMBERS,
            r#"recorded  {"price":"1.50"}"#,
            r#"now       {"price":1.5}"#,
        ),
        (
            &IN_ORDER,
            r#"{"remarks":{"of":1.5,"probe":2}}"#,
            r#"{"remarks":{"probe":2,"of":1.5}}"#,
        ),
    ] {
        feature.set(true);
        let comparison = schema().compare(&lock).expect("a comparison").to_string();
        let refused = schema()
            .update(&lock)
            .expect_err("it is not recorded by the way")
            .to_string();
        let stopped = start(&text)
            .await
            .expect_err("it does not start")
            .to_string();
        feature.set(false);
        for said in [&comparison, &refused, &stopped] {
            let all = [
                "it is written differently",
                recorded,
                now,
                "`cargo tree -e features`",
                "delete `written`",
            ];
            assert!(all.iter().all(|part| said.contains(part)), "{said}");
        }
        assert!(
            stopped.contains("Market would store events differently from the schema lock"),
            "{stopped}"
        );
    }
    start(&text).await.expect("it is as locked again");
}

#[tokio::test]
async fn lock_of_the_first_format_is_brought_up_to_date() {
    let mut without: Value = serde_json::from_str(&lock().to_string()).expect("JSON");
    without["format"] = 1.into();
    for event in without["events"].as_array_mut().expect("events") {
        event.as_object_mut().expect("an event").remove("written");
    }
    let first: SchemaLock = without.to_string().parse().expect("a lock");
    start(&without.to_string())
        .await
        .expect("it says nothing of what is written");
    let comparison = schema().compare(&first).expect("a comparison");
    assert_eq!(
        comparison.unrecorded,
        [
            "Article / Listed / version 1: what it is written as is new",
            "Article / Remarked / version 1: what it is written as is new",
            "Article / Shipped / version 1: what it is written as is new",
        ]
    );
    let second = schema().update(&first).expect("it is recorded");
    assert!(schema().compare(&second).expect("a comparison").is_locked());
}

/// An intended change is recorded when the block no longer has the old text.
#[test]
fn form_that_was_meant_to_change_is_recorded_once_the_old_one_is_deleted() {
    let lock = lock();
    AS_NUMBERS.set(true);
    let without = lock.events().cloned().map(|mut event| {
        event.written.retain(|_| event.event != "Listed");
        event
    });
    let without = SchemaLock::of_events(without).expect("a lock");
    let updated = schema().update(&without).expect("it is recorded");
    assert!(
        updated.to_string().contains(r#""{\"price\":1.5}""#),
        "{updated}"
    );
    assert!(
        schema()
            .compare(&updated)
            .expect("a comparison")
            .is_locked()
    );
    AS_NUMBERS.set(false);
}

#[tokio::test]
async fn text_that_is_no_lock_does_not_start() {
    let refused = start("{}").await.expect_err("no lock").to_string();
    assert!(refused.contains("not a schema lock"), "{refused}");
    let newer = lock().to_string().replace("\"format\": 2", "\"format\": 3");
    let refused = start(&newer).await.expect_err("a newer one").to_string();
    assert!(
        refused.contains("format 3, this program knows 2"),
        "{refused}"
    );
    assert!(matches!(
        newer.parse::<SchemaLock>(),
        Err(LockError::Format { found: 3 })
    ));
}
