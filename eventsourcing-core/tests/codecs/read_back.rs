//! Reading values back finds losses that inspection of the written value cannot find. It is always on for doubtful values, and
//! for all others if it is switched on.

use std::collections::HashSet;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Alike {
    Small(u8),
    Large(u64),
    Fields { x: i32 },
    Others(BTreeMap<String, i32>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged_ {
    ByNumber { map: BTreeMap<i32, u8> },
    Large { number: i128 },
    Ids { ids: HashSet<u32> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    by_number: BTreeMap<i32, u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FlatLarge {
    #[serde(flatten)]
    large: Large,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Large {
    number: u128,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FlatOption {
    id: u8,
    #[serde(flatten)]
    maybe: Option<Maybe>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Maybe {
    a: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OneWay {
    #[serde(skip_deserializing)]
    written: u8,
}

/// A value that is written as a number and read from a text.
#[derive(Clone, Debug, PartialEq)]
struct Mismatched(u8);

impl Serialize for Mismatched {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Mismatched {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A number of at most a hundred, which is checked when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8")]
struct Percent(u8);

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(percent: u8) -> Result<Self, String> {
        (percent <= 100)
            .then_some(Self(percent))
            .ok_or_else(|| format!("{percent} is more than everything"))
    }
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum PutEvent {
    Alike(Alike),
    Tagged { inner: Vec<Tagged_> },
    Flat { flat: Flat },
    FlatLarge { flat: FlatLarge },
    FlatOption { flat: FlatOption },
    OneWay { one_way: OneWay },
    Mismatched { deep: Vec<Mismatched> },
    Percent { percent: Percent },
}

fn refusal(codec: Codec, event: &PutEvent, reads_back: bool) -> Option<String> {
    #[derive(Aggregate, Serialize, Deserialize)]
    struct Put {}
    impl eventsourcing_core::Fold<PutEvent> for Put {
        fn create(_: PutEvent) -> Result<Self, eventsourcing_core::UnexpectedEvent> {
            Ok(Self {})
        }
        fn apply(&mut self, _: PutEvent) -> Result<(), eventsourcing_core::UnexpectedEvent> {
            Err(eventsourcing_core::UnexpectedEvent)
        }
    }
    let app = Application::new("puts", MemoryStore::new())
        .with_codec(codec)
        .with_read_back(reads_back);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let created = app.create(|| event.clone()).await;
        if created.is_err() {
            assert_eq!(
                app.store().head().await.unwrap(),
                Position::ZERO,
                "nothing is written"
            );
        }
        created.err().map(|error| error.to_string())
    })
}

/// A type that serde reads through a buffer is recognisable only by its keys, its numbers and its unknown length.
#[test]
fn what_is_doubtful_is_always_read_back() {
    let by_number = BTreeMap::from([(1, 2)]);
    let tagged = |inner| PutEvent::Tagged { inner: vec![inner] };
    let flat_option = |maybe| PutEvent::FlatOption {
        flat: FlatOption { id: 1, maybe },
    };
    for codec in CODECS {
        for (event, says) in [
            (
                tagged(Tagged_::ByNumber {
                    map: by_number.clone(),
                }),
                "field `inner[0]",
            ),
            (tagged(Tagged_::Large { number: 5 }), "field `inner[0]"),
            (
                PutEvent::Flat {
                    flat: Flat {
                        by_number: by_number.clone(),
                    },
                },
                "field `flat",
            ),
            (
                PutEvent::FlatLarge {
                    flat: FlatLarge {
                        large: Large { number: 5 },
                    },
                },
                "field `flat",
            ),
            (flat_option(Some(Maybe { a: Some(1) })), ""),
            (
                tagged(Tagged_::Ids {
                    ids: (0..9).collect(),
                }),
                "",
            ),
        ] {
            let refusal = refusal(codec, &event, false);
            match (says, &refusal) {
                ("", None) => {}
                ("", Some(refusal)) => panic!("{event:?}: {refusal}"),
                (says, Some(refusal)) => {
                    assert!(
                        refusal.contains(says) && refusal.contains("not be read back"),
                        "{event:?}: {refusal}"
                    );
                }
                (_, None) => panic!("{codec:?} {event:?} was accepted"),
            }
        }
        let refusal =
            refusal(codec, &flat_option(None), false).expect("it would come back as Some");
        assert!(
            refusal.contains("field `flat") && refusal.contains("read back as"),
            "{refusal}"
        );
    }
}

#[test]
fn types_that_are_written_and_read_in_two_ways_are_found_where_reading_back_is_on() {
    let others = Alike::Others(BTreeMap::from([("x".to_owned(), 1)]));
    for codec in CODECS {
        for (event, says) in [
            (
                PutEvent::Alike(Alike::Large(5)),
                "cannot encode event Alike: 5 (u64) is written, and read back as 5 (u8)",
            ),
            (
                PutEvent::Alike(others.clone()),
                "is written, and read back as",
            ),
            (
                PutEvent::OneWay {
                    one_way: OneWay { written: 5 },
                },
                "field `one_way.written`: 5 is written, and read back as 0",
            ),
            (
                PutEvent::Mismatched {
                    deep: vec![Mismatched(5)],
                },
                "field `deep[0]`: it can be written and not be read back",
            ),
            (
                PutEvent::Percent {
                    percent: Percent(101),
                },
                "field `percent`: it can be written and not be read back",
            ),
        ] {
            assert_eq!(
                refusal(codec, &event, false),
                None,
                "{event:?}: nothing shows from outside"
            );
            let refusal = refusal(codec, &event, true)
                .unwrap_or_else(|| panic!("{codec:?} {event:?} was accepted"));
            assert!(refusal.contains(says), "{event:?}: {refusal}");
        }
        for event in [
            PutEvent::Alike(Alike::Small(5)),
            PutEvent::Alike(Alike::Large(256)),
            PutEvent::Percent {
                percent: Percent(100),
            },
            PutEvent::OneWay {
                one_way: OneWay { written: 0 },
            },
            PutEvent::Tagged {
                inner: vec![Tagged_::Ids {
                    ids: (0..50).collect(),
                }],
            },
        ] {
            assert_eq!(refusal(codec, &event, true), None, "{event:?}");
        }
    }
}

/// Numbers that `serde_json` keeps as text when a crate of the program turns on `arbitrary_precision`: they are written as a
/// struct of this name, which MessagePack would store as a struct.
#[test]
fn number_that_is_kept_as_text_is_a_number_in_message_pack() {
    #[derive(Clone, Debug)]
    struct AsText(&'static str);
    impl Serialize for AsText {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut number = serializer.serialize_struct("$serde_json::private::Number", 1)?;
            number.serialize_field("$serde_json::private::Number", self.0)?;
            number.end()
        }
    }
    impl<'de> Deserialize<'de> for AsText {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = serde_json::Number::deserialize(deserializer)?.to_string();
            Ok(Self(
                ["5", "-7", "0.25", "18446744073709551615"]
                    .into_iter()
                    .find(|text| *text == number)
                    .unwrap(),
            ))
        }
    }
    #[event]
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Weighed {
        grams: AsText,
    }
    for text in ["5", "-7", "0.25", "18446744073709551615"] {
        let event = Weighed {
            grams: AsText(text),
        };
        let stored = stored(Codec::MessagePack, &event);
        assert_eq!(
            Codec::decode_value(&stored).unwrap(),
            json!({ "grams": serde_json::from_str::<Value>(text).unwrap() })
        );
    }
    for text in ["0.10", "1e400", "18446744073709551616"] {
        let refused = Codec::MessagePack
            .encode_event(&Weighed {
                grams: AsText(text),
            })
            .unwrap_err();
        let cause = refused.source().unwrap().to_string();
        assert!(
            cause.contains("field `grams`") && cause.contains("has no exact form in MessagePack"),
            "{cause}"
        );
    }
}

mod first {
    use super::*;

    #[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Chest {
        pub(super) raw: Vec<u8>,
    }

    #[event]
    impl Chest {
        fn kept(
            #[serde(with = "bytes")] raw: Vec<u8>,
            by_number: BTreeMap<i32, String>,
            large: u128,
            marker: Marker,
        ) -> Self {
            drop((by_number, large, marker));
            Self { raw }
        }
    }
}

mod second {
    use super::*;

    #[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Chest {
        pub(super) raw: Vec<u8>,
        pub(super) by_number: BTreeMap<i32, String>,
        pub(super) large: u128,
    }

    #[event]
    impl Chest {
        #[event(version = 2, upcast(from = 1, with = as_it_is))]
        fn kept(
            #[serde(with = "bytes")] raw: Vec<u8>,
            by_number: BTreeMap<i32, String>,
            large: u128,
            marker: Marker,
        ) -> Self {
            let Marker = marker;
            Self {
                raw,
                by_number,
                large,
            }
        }
    }

    fn as_it_is(old: Value) -> Value {
        assert!(
            old["raw"].is_array() && old["by_number"]["-3"].is_string() && old["large"].is_u64(),
            "{old}"
        );
        old
    }
}

/// MessagePack has byte strings and numbers as keys, which a `Value` has not.
#[tokio::test]
async fn upcaster_gets_a_value_of_events_of_either_codec() {
    for codec in CODECS {
        let store = MemoryStore::new();
        let app = Application::new("chests", store.clone()).with_codec(codec);
        let by_number = BTreeMap::from([(-3, "three".to_owned())]);
        let raw = vec![0, 200, 255];
        let large = u128::from(u64::MAX);
        let kept = first::ChestEvent::Kept {
            raw: raw.clone(),
            by_number: by_number.clone(),
            large,
            marker: Marker,
        };
        let id = app.create(|| kept.clone()).await.unwrap().id;
        let chest = app
            .load(Id::<second::Chest>::from_uuid(id.as_uuid()))
            .await
            .unwrap()
            .into_state();
        assert_eq!(
            chest,
            second::Chest {
                raw,
                by_number,
                large
            },
            "{codec:?}"
        );
    }
}

/// Serde writes the target of a pointer, even if several pointers share it.
#[test]
fn reading_back_does_not_mind_what_serde_does_not_see() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Skipped {
        kept: u8,
        #[serde(skip)]
        skipped: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<Option<u8>>,
    }
    #[event]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Noted {
        skipped: Skipped,
    }
    let event = Noted {
        skipped: Skipped {
            kept: 1,
            skipped: 2,
            missing: None,
        },
    };
    for codec in CODECS {
        let again: Noted = decode_event(&stored(codec, &event)).unwrap();
        assert_eq!(
            again.skipped,
            Skipped {
                skipped: 0,
                ..event.skipped.clone()
            }
        );
    }
    drop(Rc::new(event));
}
