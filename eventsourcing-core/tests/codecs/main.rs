//! Codecs: values come back from each of them, all store the same JSON values, and several work in one store.
#![allow(clippy::unwrap_used)]

mod depth;
mod read_back;
mod refused;

use std::collections::BTreeMap;
use std::error::Error as _;

use eventsourcing_core::store::{
    CodecId, EventStore, LogQuery, MemoryStore, Name, Position, StoreError,
};
use eventsourcing_core::store::{StoredEvent, StreamId, Version};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Codec, CodecError, CommandError, Compression, Event,
    Id, event,
};
use eventsourcing_testing::Seed;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// An aggregate with values of every kind that serde knows.
#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum ValueEvent {
    Nothing,
    Number(u64),
    Pair(i32, String),
    Kept {
        small: (i8, u16, bool, char),
        large: (u64, i64, i128, u128),
        fraction: f64,
        half: f32,
        text: String,
        maybe: Option<Option<u8>>,
        id: Uuid,
        at: Timestamp,
        shapes: Vec<Shape>,
        by_number: BTreeMap<i32, String>,
        unit: (),
        marker: Marker,
        #[serde(flatten)]
        more: BTreeMap<String, Tagged>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Box {
        inner: std::boxed::Box<Self>,
        id: Uuid,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One { id: Uuid, at: Timestamp },
    Two,
}

/// Returns the only event of `stored`.
fn decode_event<E: Event>(stored: &StoredEvent) -> Result<E, CodecError> {
    Codec::decode_events(stored).map(|mut events| events.next().expect("an event"))
}

fn stored<E: Event>(codec: Codec, event: &E) -> StoredEvent {
    stored_bytes(
        codec.id(),
        event.event_type().name,
        codec.encode_event(event).unwrap(),
    )
}

fn stored_bytes(codec: CodecId, name: &'static str, payload: Vec<u8>) -> StoredEvent {
    StoredEvent {
        position: Position::ZERO,
        stream: StreamId::new("Value", Uuid::nil()),
        version: Version::FIRST,
        recorded_at: Timestamp::UNIX_EPOCH,
        name: Name::from_static(name),
        schema_version: 1,
        codec,
        payload,
        metadata: Vec::new(),
    }
}

struct Random(fastrand::Rng);

impl Random {
    fn text(&mut self) -> String {
        let length = self.0.usize(..20);
        (0..length).map(|_| self.0.char(..)).collect()
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.0.u128(..))
    }

    /// Any finite number.
    fn fraction(&mut self) -> f64 {
        let fraction = f64::from_bits(self.0.u64(..));
        if fraction.is_finite() { fraction } else { 0.1 }
    }

    fn at(&mut self) -> Timestamp {
        Timestamp::from_microsecond(self.0.i64(-1_000_000_000_000..2_000_000_000_000_000)).unwrap()
    }

    fn shape(&mut self, depth: u32) -> Shape {
        match self.0.u32(..if depth == 0 { 3 } else { 4 }) {
            0 => Shape::Point,
            1 => Shape::Circle(self.fraction()),
            2 => Shape::Line(self.0.i32(..), self.0.i32(..)),
            _ => Shape::Box {
                inner: std::boxed::Box::new(self.shape(depth - 1)),
                id: self.id(),
            },
        }
    }

    fn tagged(&mut self) -> Tagged {
        if self.0.bool() {
            Tagged::One {
                id: self.id(),
                at: self.at(),
            }
        } else {
            Tagged::Two
        }
    }

    fn event(&mut self) -> ValueEvent {
        match self.0.u32(..6) {
            0 => ValueEvent::Nothing,
            1 => ValueEvent::Number(self.0.u64(..)),
            2 => ValueEvent::Pair(self.0.i32(..), self.text()),
            _ => ValueEvent::Kept {
                small: (
                    self.0.i8(..),
                    self.0.u16(..),
                    self.0.bool(),
                    self.0.char(..),
                ),
                large: (
                    self.0.u64(..),
                    self.0.i64(..),
                    self.0.i64(..).into(),
                    self.0.u64(..).into(),
                ),
                fraction: self.fraction(),
                half: f32::from(self.0.i16(..)) / 7.0,
                text: self.text(),
                maybe: self.0.bool().then(|| Some(self.0.u8(..))),
                id: self.id(),
                at: self.at(),
                shapes: (0..self.0.usize(..4)).map(|_| self.shape(5)).collect(),
                by_number: (0..self.0.usize(..4))
                    .map(|_| (self.0.i32(..), self.text()))
                    .collect(),
                unit: (),
                marker: Marker,
                more: (0..self.0.usize(..3))
                    .map(|n| (format!("more {n}"), self.tagged()))
                    .collect(),
            },
        }
    }
}

#[test]
fn random_events_come_back_from_every_codec() {
    let mut random = Random(Seed::from_env().rng(0));
    for _ in 0..2_000 {
        let event = random.event();
        for codec in CODECS {
            let stored = stored(codec, &event);
            assert_eq!(
                decode_event::<ValueEvent>(&stored).unwrap(),
                event,
                "{codec:?}"
            );
        }
    }
}

/// Pages, the log and upcasters work on JSON values, so all codecs must give the same ones.
#[test]
fn events_of_every_codec_are_the_same_json_values() {
    #[event]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Looked {
        id: Uuid,
        at: Timestamp,
        numbers: Vec<i64>,
        large: u64,
        fraction: f64,
        maybe: Option<u8>,
        none: Option<u8>,
        shapes: Vec<Shape>,
        by_number: BTreeMap<i32, bool>,
        unit: (),
        tagged: Tagged,
    }
    let mut random = Random(Seed::from_env().rng(1));
    for _ in 0..500 {
        let event = Looked {
            id: random.id(),
            at: random.at(),
            numbers: vec![random.0.i64(..), -1, 0],
            large: random.0.u64(..),
            fraction: random.fraction(),
            maybe: Some(7),
            none: None,
            shapes: vec![random.shape(4), random.shape(4)],
            by_number: [(random.0.i32(..), true)].into(),
            unit: (),
            tagged: random.tagged(),
        };
        let [json, packed] =
            CODECS.map(|codec| Codec::decode_value(&stored(codec, &event)).unwrap());
        assert_eq!(json, packed);
        let again: Looked = serde_json::from_value(packed).unwrap();
        assert_eq!(again, event);
    }
}

#[test]
fn fields_are_added_removed_and_renamed_as_in_json() {
    mod before {
        #[eventsourcing_core::event]
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) struct Moved {
            pub(super) amount: u32,
            pub(super) reason: String,
            pub(super) gone: Vec<u8>,
        }
    }
    #[event]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Moved {
        #[serde(default)]
        added: Option<String>,
        #[serde(rename = "reason")]
        why: String,
        #[serde(alias = "amount")]
        value: u32,
    }
    let before = before::Moved {
        amount: 5,
        reason: "rent".into(),
        gone: vec![1, 2],
    };
    let expected = Moved {
        added: None,
        why: "rent".into(),
        value: 5,
    };
    for codec in CODECS {
        assert_eq!(
            decode_event::<Moved>(&stored(codec, &before)).unwrap(),
            expected,
            "{codec:?}"
        );
    }
}

#[event]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mapped {
    by_pair: BTreeMap<String, u8>,
    #[serde(default)]
    by_list: Vec<(Vec<u8>, u8)>,
    #[serde(default, with = "as_map")]
    map: Vec<((u8, u8), u8)>,
}

/// A map whose keys are pairs.
mod as_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Pairs = Vec<((u8, u8), u8)>;

    pub(super) fn serialize<S: Serializer>(
        pairs: &Pairs,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        pairs
            .iter()
            .copied()
            .collect::<BTreeMap<_, _>>()
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Pairs, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The pieces of a payload in MessagePack.
fn packed(name: &'static str, pieces: &[&[u8]]) -> StoredEvent {
    stored_bytes(Codec::MessagePack.id(), name, pieces.concat())
}

#[test]
fn maps_whose_keys_are_no_text_are_refused_and_earlier_ones_are_read() {
    let event = Mapped {
        by_pair: BTreeMap::new(),
        by_list: vec![(vec![1], 2)],
        map: vec![((1, 2), 3)],
    };
    for codec in CODECS {
        let error = codec.encode_event(&event).unwrap_err();
        assert_eq!(error.to_string(), "cannot encode event Mapped");
        let cause = error.source().unwrap().to_string();
        assert!(
            cause.starts_with("field `map`: a key of a map is text"),
            "{cause}"
        );
    }
    // Earlier releases accepted them in MessagePack.
    let stored = packed(
        "Mapped",
        &[b"\x83\xa7by_pair\x80\xa7by_list\x91\x92\x91\x01\x02\xa3map\x81\x92\x01\x02\x03"],
    );
    assert_eq!(decode_event::<Mapped>(&stored).unwrap(), event);
    assert_eq!(Codec::decode_value(&stored).unwrap()["map"]["[1,2]"], 3);
}

#[event]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    value: f64,
    #[serde(with = "bytes")]
    raw: Vec<u8>,
}

/// A byte string, which JSON writes as a list of numbers.
mod bytes {
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[test]
fn bytes_and_numbers_at_the_edge_come_back_from_every_codec() {
    for value in [f64::MIN_POSITIVE, f64::MAX, 5e-324, 0.1 + 0.2, -0.0, 1e16] {
        let event = Measured {
            value,
            raw: (0..=255).collect(),
        };
        for codec in CODECS {
            let stored = stored(codec, &event);
            let again: Measured = decode_event(&stored).unwrap();
            assert_eq!(
                (again.value.to_bits(), &again.raw),
                (value.to_bits(), &event.raw)
            );
            let shown = Codec::decode_value(&stored).unwrap();
            assert_eq!(
                (shown["value"].as_f64(), shown["raw"][255].as_u64()),
                (Some(value), Some(255))
            );
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_and_earlier_ones_are_read() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for codec in CODECS {
            let error = codec
                .encode_event(&Measured {
                    value,
                    raw: Vec::new(),
                })
                .unwrap_err();
            let cause = error.source().unwrap().to_string();
            assert!(
                cause.starts_with("field `value`: ") && cause.contains("is not a finite number"),
                "{cause}"
            );
        }
        // Earlier releases accepted them in MessagePack.
        let stored = packed(
            "Measured",
            &[
                b"\x82\xa5value\xcb",
                &value.to_be_bytes(),
                b"\xa3raw\xc4\x02\x01\x02",
            ],
        );
        let again: Measured = decode_event(&stored).unwrap();
        assert_eq!(
            (again.value.to_bits(), &*again.raw),
            (value.to_bits(), &[1, 2][..])
        );
        assert!(Codec::decode_value(&stored).unwrap()["value"].is_null());
    }
}

/// In MessagePack, earlier releases wrote 128-bit numbers as bytes and a struct without fields as an empty list.
#[test]
fn earlier_forms_of_message_pack_are_read() {
    #[event]
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Edge {
        large: u128,
        marker: Marker,
    }
    let large = u128::MAX - 5;
    let stored = packed(
        "Edge",
        &[
            b"\x82\xa5large\xc4\x10",
            &large.to_be_bytes(),
            b"\xa6marker\x90",
        ],
    );
    assert_eq!(
        decode_event::<Edge>(&stored).unwrap(),
        Edge {
            large,
            marker: Marker
        }
    );
}

#[test]
fn broken_bytes_are_errors_in_every_codec() {
    let mut random = Random(Seed::from_env().rng(2));
    for codec in CODECS {
        for _ in 0..300 {
            let mut broken = stored(codec, &ValueEvent::Pair(7, "seven".into()));
            match random.0.bool() {
                true => broken.payload.push(random.0.u8(b'0'..=b'9')),
                false => broken
                    .payload
                    .truncate(random.0.usize(..broken.payload.len())),
            }
            let error = decode_event::<ValueEvent>(&broken).unwrap_err();
            assert!(
                matches!(error, CodecError::Decode { .. }),
                "{codec:?}: {error}"
            );
            Codec::decode_value(&broken).unwrap_err();
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(Seed::from_env().rng(3));
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.0.usize(..60)).map(|_| random.0.u8(..)).collect();
        for codec in 0..=5 {
            let stored = stored_bytes(CodecId(codec), "Kept", bytes.clone());
            let _ = decode_event::<ValueEvent>(&stored);
            let _ = Codec::decode_value(&stored);
        }
    }
}

#[test]
fn unknown_codecs_are_named() {
    let error = Codec::decode_value(&stored_bytes(CodecId(77), "Nothing", vec![])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown codec 77; was this written by a newer release?"
    );
}

/// An aggregate with long, repetitive text and with snapshots.
#[derive(Aggregate, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[aggregate(snapshot = every(3))]
struct Diary {
    text: String,
    entries: u32,
}

#[event]
impl Diary {
    fn begun(text: String) -> Self {
        Self { text, entries: 1 }
    }
    fn continued(&mut self, text: String) {
        self.text = text;
        self.entries += 1;
    }
}

/// Returns applications on one store, each with an encoding of its own.
fn encodings(store: &MemoryStore) -> [Application; 5] {
    let app = || Application::new("diaries", store.clone());
    let eager = Compression::zstd().above_bytes(0);
    [
        app(),
        app().with_codec(Codec::MessagePack),
        app().with_compression(Compression::zstd()),
        app()
            .with_codec(Codec::MessagePack)
            .with_compression(Compression::zstd()),
        app().with_codec(Codec::MessagePack).with_compression(eager),
    ]
}

#[tokio::test]
async fn codecs_may_be_switched_at_any_time_also_within_a_stream() {
    let mut random = Random(Seed::from_env().rng(4));
    let store = MemoryStore::new();
    let apps = encodings(&store);
    let id = apps[0]
        .create(|| DiaryEvent::Begun { text: "a".into() })
        .await
        .unwrap()
        .id;
    let mut texts = vec!["a".to_owned()];
    for _ in 0..100 {
        let text = "dear diary ".repeat(random.0.usize(..400));
        let app = &apps[random.0.usize(..apps.len())];
        app.update(id, |_| DiaryEvent::Continued { text: text.clone() })
            .await
            .unwrap();
        texts.push(text);
    }
    for reader in encodings(&store) {
        let diary = reader.load(id).await.unwrap();
        assert_eq!((diary.entries, &diary.text), (101, texts.last().unwrap()));
        let past = reader.load_at(id, Version::new(50)).await.unwrap();
        assert_eq!((past.entries, &past.text), (50, &texts[49]));
        let history = reader.history(id).await.unwrap();
        let read = history.into_iter().map(|event| match event.payload {
            DiaryEvent::Begun { text } | DiaryEvent::Continued { text } => text,
        });
        assert_eq!(read.collect::<Vec<_>>(), texts);
    }
    let log = store
        .read_log(LogQuery::after(Position::ZERO))
        .await
        .unwrap()
        .events;
    let mut found: Vec<_> = log.iter().map(|event| event.codec.0).collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, [1, 2, 3, 4], "every encoding was in use");
    for (event, text) in log.iter().zip(&texts) {
        assert_eq!(Codec::decode_value(event).unwrap()["text"], text.as_str());
    }
}

async fn codec_of(app: &Application, text: &str) -> u8 {
    let id = app
        .create(|| DiaryEvent::Begun { text: text.into() })
        .await
        .unwrap()
        .id;
    let events = app
        .store()
        .read_log(LogQuery::after(Position::ZERO).limit(10_000))
        .await
        .unwrap()
        .events;
    let event = events
        .into_iter()
        .find(|event| event.stream.id == id.as_uuid())
        .unwrap();
    assert_eq!(app.load(id).await.unwrap().text, text);
    event.codec.0
}

#[tokio::test]
async fn only_what_is_larger_than_the_threshold_and_becomes_smaller_is_compressed() {
    let app = Application::new("diaries", MemoryStore::new()).with_compression(Compression::zstd());
    let overhead = r#"{"text":""}"#.len();
    assert_eq!(
        codec_of(
            &app,
            &"a".repeat(Compression::ABOVE_BYTES_DEFAULT - overhead)
        )
        .await,
        1
    );
    assert_eq!(
        codec_of(
            &app,
            &"a".repeat(Compression::ABOVE_BYTES_DEFAULT - overhead + 1)
        )
        .await,
        3
    );
    let mut rng = Seed::from_env().rng(5);
    // JSON text is always somewhat redundant, MessagePack hardly.
    let noise: String = (0..600)
        .map(|_| rng.char('\u{4e00}'..='\u{9fff}'))
        .collect();
    let tiny = Compression::zstd().above_bytes(0);
    let packed = app.with_codec(Codec::MessagePack).with_compression(tiny);
    assert_eq!(
        codec_of(&packed, "x").await,
        2,
        "a frame alone is larger than that"
    );
    assert!([2, 4].contains(&codec_of(&packed, &noise).await));
}

#[tokio::test]
async fn what_is_too_large_is_refused_however_well_it_compresses() {
    let app = Application::new("diaries", MemoryStore::new()).with_compression(Compression::zstd());
    let text = "a".repeat(17 * 1024 * 1024);
    let refused = app
        .create(|| DiaryEvent::Begun { text: text.clone() })
        .await
        .unwrap_err();
    let ApplicationError::Store(StoreError::Invalid { reason }) = refused else {
        panic!("{refused}")
    };
    assert!(
        reason.starts_with("payload of 17825803 bytes; at most 16777216"),
        "{reason}"
    );
    let largest = "a".repeat(16 * 1024 * 1024 - r#"{"text":""}"#.len());
    assert_eq!(codec_of(&app, &largest).await, 3);
}

#[tokio::test]
async fn an_event_that_cannot_be_encoded_is_refused_with_the_cause() {
    #[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
    struct Grid {}
    #[event]
    impl Grid {
        fn drawn(_cells: BTreeMap<(u8, u8), bool>) -> Self {
            Self {}
        }
    }
    let app = Application::new("grids", MemoryStore::new());
    let cells = || BTreeMap::from([((1, 2), true)]);
    let drawn = || GridEvent::Drawn { cells: cells() };
    let refused = app.create(drawn).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("cannot encode event Drawn: field `cells`: a key of a map is text"),
        "{refused}"
    );
    let refused = app
        .with_codec(Codec::MessagePack)
        .create(drawn)
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("cannot encode event Drawn: field `cells`: a key of a map is text"),
        "{refused}"
    );
}
