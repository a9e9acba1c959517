//! Samples: made from the schema or given by hand, and decoded by the real types.

use eventsourcing_schema::{LockError, SchemaLock, SystemSchema};
use serde_json::{Value, json};

mod shapes {
    crate::release!([] {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum Channel { Web, Counter { teller: u8 }, Phone(String) }

        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum Reason { Asked, MovedTo { place: String } }

        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub struct Party { name: String, #[serde(default)] parts: Vec<Party>, parent: Option<Box<Party>> }

        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub struct Place { street: String, #[serde(flatten)] channel: Channel }

        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", example = "DE-1")]
        pub struct Code(String);

        impl From<Code> for String { fn from(code: Code) -> Self { code.0 } }
        impl TryFrom<String> for Code {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                if text.starts_with("DE-") { Ok(Self(text)) } else { Err(format!("{text} is no code")) }
            }
        }
    } {
        fn credited(&mut self, channel: Channel, cents: u8, note: Option<String>) {}
        fn joined(&mut self, party: Party) {}
        fn ended(&mut self, reason: Reason) {}
        fn placed(&mut self, place: Place, pair: (u8, String), rates: BTreeMap<u16, f64>, any: Value) {}
        fn coded(&mut self, code: Code, letter: char, #[schemars(regex(pattern = "^[A-Z]{2}-\\d+$"))] tag: String) {}
        #[serde(rename_all = "camelCase")]
        fn attributed(
            &mut self,
            first_field: i8,
            #[serde(rename = "other")] second: bool,
            #[serde(skip)] third: std::sync::Arc<u8>,
            #[serde(with = "hex")] #[schemars(with = "String")] fourth: u32,
            #[serde(flatten)] fifth: Inner,
        ) {}
    });

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Inner {
        deep: u64,
    }

    mod hex {
        pub(super) fn serialize<S: serde::Serializer>(
            number: &u32,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{number:x}"))
        }
        pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> Result<u32, D::Error> {
            let text: String = serde::Deserialize::deserialize(deserializer)?;
            Ok(text.len() as u32)
        }
    }
}

fn samples_of(event: &str) -> Vec<Value> {
    let lock = shapes::schema()
        .update(&SchemaLock::default())
        .unwrap_or_else(|error| panic!("{error}"));
    lock.events()
        .find(|locked| locked.event == event)
        .expect("it is locked")
        .samples
        .clone()
}

#[test]
fn a_sample_has_every_field_and_each_variant_stands_in_one() {
    let full = json!("text");
    let without = json!({ "cents": 1, "channel": "Web" });

    let samples = samples_of("Credited");
    assert!(
        samples.contains(&json!({ "cents": 1, "note": full, "channel": "Web" })),
        "{samples:?}"
    );
    assert!(
        samples.contains(
            &json!({ "cents": 1, "note": full, "channel": { "Counter": { "teller": 1 } } })
        )
    );
    assert!(samples.contains(&json!({ "cents": 1, "note": full, "channel": { "Phone": "text" } })));
    assert!(samples.contains(&without), "{samples:?}");
}

#[test]
fn types_that_contain_themselves_have_an_end() {
    assert_eq!(
        samples_of("Joined"),
        [
            json!({ "party": { "name": "text", "parts": [], "parent": null } }),
            json!({ "party": { "name": "text" } })
        ]
    );
}

#[test]
fn attributes_of_serde_count_as_serde_counts_them() {
    let tagged = [
        json!({ "reason": { "kind": "asked" } }),
        json!({ "reason": { "kind": "moved_to", "place": "text" } }),
    ];
    assert_eq!(samples_of("Ended"), tagged);
    assert_eq!(
        samples_of("Attributed")[0],
        json!({ "firstField": 1, "other": true, "fourth": "text", "deep": 1 })
    );
    let placed = samples_of("Placed");
    for channel in [
        json!({ "Web": null }),
        json!({ "Counter": { "teller": 1 } }),
        json!({ "Phone": "text" }),
    ] {
        let mut place = json!({ "street": "text" });
        place
            .as_object_mut()
            .expect("a map")
            .extend(channel.as_object().expect("a map").clone());
        assert!(
            placed.iter().any(|placed| placed["place"] == place),
            "{place} in {placed:#?}"
        );
    }
    let placed = &placed[0];
    assert_eq!(
        (&placed["pair"], &placed["rates"]),
        (&json!([1, "text"]), &json!({ "1": 1.5 }))
    );
}

#[test]
fn examples_and_patterns_count() {
    assert_eq!(
        samples_of("Coded"),
        [json!({ "code": "DE-1", "letter": "t", "tag": "AA-1" })]
    );
}

mod strict {
    crate::release!([] {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct Even(String);

        impl From<Even> for String { fn from(even: Even) -> Self { even.0 } }
        impl TryFrom<String> for Even {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                if text.len() == 2 { Ok(Self(text)) } else { Err("not two letters".into()) }
            }
        }
    } {
        fn marked(&mut self, mark: Even) {}
    });
}

#[test]
fn a_sample_that_does_not_decode_is_refused_with_what_to_do_and_one_can_be_given() {
    let error = strict::schema()
        .update(&SchemaLock::default())
        .expect_err("`text` has four letters");
    let expected = "the sample of version 1 of Marked of Account cannot be read: cannot decode event Marked: not two letters";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(
        error
            .to_string()
            .contains(".with_sample::<Account>(\"Marked\", 1, json!({ … }))"),
        "{error}"
    );
    let given =
        strict::schema().with_sample::<strict::Account>("Marked", 1, json!({ "mark": "ok" }));
    let lock = given
        .update(&SchemaLock::default())
        .expect("a sample was given");
    let marked = lock
        .events()
        .find(|event| event.event == "Marked")
        .expect("it is locked");
    assert_eq!(marked.samples, [json!({ "mark": "ok" })]);
    assert!(given.compare(&lock).expect("samples are there").is_locked());
    let wrong =
        strict::schema().with_sample::<strict::Account>("Marked", 1, json!({ "mark": "wrong" }));
    assert!(matches!(wrong.update(&lock), Err(LockError::Sample(_))));
}

mod older {
    crate::release!([] { fn in_cents(old: Value) -> Value { serde_json::json!({ "cents": old["euros"].as_i64().map(|euros| euros * 100) }) } } {
        #[event(version = 2, upcast(from = 1, with = in_cents))]
        fn credited(&mut self, cents: i64) {}
    });
}

#[test]
fn versions_older_than_the_lock_can_be_given_samples() {
    let account =
        older::schema().with_sample::<older::Account>("Credited", 1, json!({ "euros": 2 }));
    let lock = account
        .update(&SchemaLock::default())
        .expect("it is recorded");
    let decoded = lock
        .samples::<older::Account>()
        .filter(|sample| sample.event == "Credited" && sample.version == 1);
    let decoded: Vec<_> = decoded
        .map(|sample| sample.decode::<older::Account>().expect("it is read"))
        .collect();
    assert_eq!(decoded, [[older::AccountEvent::Credited { cents: 200 }]]);
    let wrong =
        older::schema().with_sample::<older::Account>("Credited", 1, json!({ "euros": "two" }));
    let error = wrong.update(&lock).expect_err("no cents come of it");
    assert!(
        error
            .to_string()
            .contains("the sample of version 1 of Credited"),
        "{error}"
    );
}

#[test]
fn every_sample_in_a_lock_is_decoded() {
    let mut text = older::schema()
        .update(&SchemaLock::default())
        .expect("it is recorded")
        .to_string();
    text = text.replace("\"cents\": 1", "\"cents\": \"one\"");
    let lock: SchemaLock = text.parse().expect("a lock");
    let comparison = SystemSchema::new("Bank")
        .with::<older::Account>()
        .compare(&lock)
        .expect("nothing is new");
    let [breakage] = &*comparison.breakages else {
        panic!("{comparison}")
    };
    assert!(
        breakage.changes[0].contains("invalid type: string \"one\", expected i64"),
        "{breakage}"
    );
}
