//! Values of every shape in serde's data model, including those that cannot be read back.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

/// One value of any shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Shape {
    Small(i8, u8, bool),
    Whole {
        i16: i16,
        u16: u16,
        i32: i32,
        u32: u32,
    },
    Long(i64, u64),
    Large(i128),
    Unsigned(u128),
    Half(f32),
    Fraction(f64),
    Char(char),
    Text(String),
    Bytes(#[serde(with = "bytes")] Vec<u8>),
    Unit(()),
    Nothing,
    Marker(Marker),
    Wrapper(Wrapper),
    Pair(Pair),
    Empty(Empty),
    Option(Option<u8>),
    Nested(Option<Option<u8>>),
    OptionOfUnit(Option<()>),
    OptionOfMarker(Option<Marker>),
    OptionOfWrapper(Option<Wrapper>),
    OptionOfFraction(Option<f64>),
    OptionOfPlain(Option<Plain>),
    OptionOfShape(Option<Box<Self>>),
    OptionOfJson(Option<Value>),
    List(Vec<Self>),
    Array([i16; 3]),
    Tuple((u8, String, Option<f32>)),
    Set(BTreeSet<i32>),
    HashSet(HashSet<u16>),
    ByText(BTreeMap<String, Self>),
    ByHash(HashMap<String, u8>),
    ByNumber(BTreeMap<i32, Self>),
    ByBool(BTreeMap<bool, u8>),
    ByChar(BTreeMap<char, u8>),
    ByPlain(BTreeMap<Plain, u8>),
    ByName(BTreeMap<Name, u8>),
    ById(BTreeMap<Uuid, u8>),
    ByPair(BTreeMap<(u8, u8), bool>),
    ByOption(BTreeMap<Option<u8>, u8>),
    ByList(BTreeMap<Vec<u8>, u8>),
    ByLarge(BTreeMap<u128, u8>),
    Plain(Plain),
    External(External),
    Internal(Internal),
    Adjacent(Adjacent),
    Untagged(Untagged),
    Flat(Flat),
    FlatEnum(FlatEnum),
    FlatByNumber(FlatByNumber),
    FlatOption(FlatOption),
    Skipped(Skipped),
    Missing(Missing),
    OneWay(OneWay),
    Collision(Collision),
    Json(Value),
    Duration(Duration),
    Id(Uuid),
    Result(Result<u8, String>),
    Nest(Nest),
    Percent(Percent),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Empty {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Wrapper(Option<Box<Shape>>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair(u8, Option<Box<Shape>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Name(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Plain {
    One,
    #[serde(rename = "the second", alias = "2")]
    Two,
    Three,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum External {
    Unit,
    Newtype(Box<Shape>),
    Tuple(Plain, f64),
    Fields {
        shape: Box<Shape>,
        maybe: Option<f64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Internal {
    Unit,
    Fields {
        shape: Box<Shape>,
    },
    Struct(Inner),
    Map(BTreeMap<String, u8>),
    ByNumber {
        map: BTreeMap<i32, u8>,
    },
    Large {
        number: u128,
    },
    Other(InternalToo),
    Bytes {
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "sort")]
pub(super) enum InternalToo {
    Char { char: char },
    Half { half: f32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Inner {
    size: i64,
    fraction: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
pub(super) enum Adjacent {
    Unit,
    Newtype(Option<Box<Shape>>),
    Tuple(i32, String),
    Fields { by_number: BTreeMap<i32, u8> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    Small(u8),
    Signed(i64),
    Large(u64),
    Half(f32),
    Fraction(f64),
    Char(char),
    Text(String),
    Pair(u8, u8),
    List(Vec<Self>),
    Fields { x: i32 },
    Map(BTreeMap<String, Self>),
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Flat {
    id: u32,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    more: BTreeMap<String, Shape>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FlatEnum {
    id: u32,
    #[serde(flatten)]
    external: External,
    #[serde(flatten)]
    internal: Internal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FlatByNumber {
    #[serde(flatten)]
    map: BTreeMap<i32, u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FlatOption {
    id: u32,
    #[serde(flatten)]
    missing: Option<Missing>,
}

/// A field that serde skips is not stored, and need not come back.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Skipped {
    kept: u8,
    #[serde(skip)]
    #[expect(dead_code, reason = "it need not come back")]
    skipped: u8,
}

impl PartialEq for Skipped {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

impl fmt::Debug for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skipped")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Missing {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maybe: Option<Option<u8>>,
    #[serde(default = "seven", skip_serializing_if = "is_seven")]
    number: u8,
    #[serde(default)]
    list: Vec<u8>,
}

fn seven() -> u8 {
    7
}

fn is_seven(number: &u8) -> bool {
    *number == 7
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OneWay {
    #[serde(skip_deserializing)]
    written: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Collision {
    Struct(Colliding),
    Map(BTreeMap<String, String>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Colliding {
    size: u8,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Nest {
    Leaf,
    List(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub(super) struct Percent(u8);

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(percent: u8) -> Result<Self, String> {
        (percent <= 100)
            .then_some(Self(percent))
            .ok_or_else(|| format!("{percent} is more than everything"))
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

mod bytes {
    use super::*;

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

/// Draws values.
pub(super) struct Source(pub(super) fastrand::Rng);

/// The number of shapes that [`Source::shape`] draws from.
const SHAPES: u32 = 61;

thread_local! {
    /// The depth at which the next value is drawn.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Source {
    fn text(&mut self) -> String {
        match self.0.u32(..6) {
            0 => String::new(),
            1 => ["null", "NaN", "kind", "1", "\0", "true"][self.0.usize(..6)].into(),
            _ => (0..self.0.usize(..8)).map(|_| self.0.char(..)).collect(),
        }
    }

    fn fraction(&mut self) -> f64 {
        let edges = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            5e-324,
            f64::MAX,
            1e16,
            0.1,
            1.0,
        ];
        match self.0.u32(..8) {
            0 => edges[self.0.usize(..edges.len())],
            1 => self.0.i32(..).into(),
            _ => f64::from_bits(self.0.u64(..)),
        }
    }

    fn half(&mut self) -> f32 {
        match self.0.u32(..8) {
            0 => [
                f32::NAN,
                f32::INFINITY,
                -0.0,
                f32::MIN_POSITIVE,
                f32::MAX,
                0.1,
            ][self.0.usize(..6)],
            _ => f32::from_bits(self.0.u32(..)),
        }
    }

    fn large(&mut self) -> u128 {
        match self.0.u32(..4) {
            0 => self.0.u128(..),
            1 => u128::from(u64::MAX) + self.0.u128(..3),
            _ => self.0.u64(..).into(),
        }
    }

    fn signed(&mut self) -> i128 {
        match self.0.u32(..4) {
            0 => self.0.i128(..),
            1 => i128::from(i64::MIN) - self.0.i128(..2),
            _ => self.0.i64(..).into(),
        }
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| draw(self))
    }

    fn some<T, C: FromIterator<T>>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> C {
        (0..self.0.usize(..4)).map(|_| draw(self)).collect()
    }

    fn boxed(&mut self) -> Box<Shape> {
        Box::new(self.shape())
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.some(|source| source.0.u8(..))
    }

    fn plain(&mut self) -> Plain {
        [Plain::One, Plain::Two, Plain::Three][self.0.usize(..3)]
    }

    fn inner(&mut self) -> Inner {
        Inner {
            size: self.0.i64(..),
            fraction: self.fraction(),
        }
    }

    fn external(&mut self) -> External {
        match self.0.u32(..4) {
            0 => External::Unit,
            1 => External::Newtype(self.boxed()),
            2 => External::Tuple(self.plain(), self.fraction()),
            _ => External::Fields {
                shape: self.boxed(),
                maybe: self.maybe(Self::fraction),
            },
        }
    }

    fn internal(&mut self) -> Internal {
        match self.0.u32(..10) {
            0 => Internal::Unit,
            1 | 2 => Internal::Fields {
                shape: self.boxed(),
            },
            3 => Internal::Struct(self.inner()),
            4 => Internal::Map(self.some(|source| (source.text(), source.0.u8(..)))),
            5 => Internal::ByNumber {
                map: self.some(|source| (source.0.i32(..), source.0.u8(..))),
            },
            6 => Internal::Large {
                number: self.large(),
            },
            7 => Internal::Other(InternalToo::Char {
                char: self.0.char(..),
            }),
            8 => Internal::Other(InternalToo::Half { half: self.half() }),
            _ => Internal::Bytes {
                bytes: self.bytes(),
            },
        }
    }

    fn adjacent(&mut self) -> Adjacent {
        match self.0.u32(..4) {
            0 => Adjacent::Unit,
            1 => Adjacent::Newtype(self.maybe(Self::boxed)),
            2 => Adjacent::Tuple(self.0.i32(..), self.text()),
            _ => Adjacent::Fields {
                by_number: self.some(|source| (source.0.i32(..), source.0.u8(..))),
            },
        }
    }

    fn untagged(&mut self, depth: u32) -> Untagged {
        match self.0.u32(..if depth == 0 { 10 } else { 12 }) {
            0 => Untagged::Small(self.0.u8(..)),
            1 => Untagged::Signed(self.0.i64(..)),
            2 => Untagged::Large(self.0.u64(..)),
            3 => Untagged::Half(self.half()),
            4 => Untagged::Fraction(self.fraction()),
            5 => Untagged::Char(self.0.char(..)),
            6 => Untagged::Text(self.text()),
            7 => Untagged::Pair(self.0.u8(..), self.0.u8(..)),
            8 => Untagged::Fields { x: self.0.i32(..) },
            9 => Untagged::Nothing,
            10 => Untagged::List(self.some(|source| source.untagged(depth - 1))),
            _ => Untagged::Map(self.some(|source| (source.text(), source.untagged(depth - 1)))),
        }
    }

    fn json(&mut self, depth: u32) -> Value {
        match self.0.u32(..if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => self.0.bool().into(),
            2 => self.0.i64(..).into(),
            3 => self.0.u64(..).into(),
            4 => self.fraction().into(),
            5 => self.text().into(),
            6 => (0..self.0.usize(..4))
                .map(|_| self.json(depth - 1))
                .collect(),
            _ => Value::Object(self.some(|source| (source.text(), source.json(depth - 1)))),
        }
    }

    fn missing(&mut self) -> Missing {
        let number = if self.0.bool() { 7 } else { self.0.u8(..) };
        Missing {
            maybe: self.maybe(|source| source.maybe(|source| source.0.u8(..))),
            number,
            list: self.bytes(),
        }
    }

    fn nest(&mut self) -> Nest {
        let levels = [3, 40, 49, 60, 200][self.0.usize(..5)];
        (0..levels).fold(Nest::Leaf, |nest, _| Nest::List(vec![nest]))
    }

    /// Draws a value of any shape, nested to a limited depth.
    pub(super) fn shape(&mut self) -> Shape {
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        let shape = match depth {
            0..4 => {
                let number = self.0.u32(..SHAPES);
                self.of_number(number)
            }
            _ => Shape::Small(self.0.i8(..), self.0.u8(..), self.0.bool()),
        };
        DEPTH.set(depth);
        shape
    }

    fn of_number(&mut self, number: u32) -> Shape {
        match number {
            0..20 => self.single(number),
            20..42 => self.many(number),
            _ => self.composed(number),
        }
    }

    fn single(&mut self, number: u32) -> Shape {
        match number {
            0 => Shape::Small(self.0.i8(..), self.0.u8(..), self.0.bool()),
            1 => Shape::Whole {
                i16: self.0.i16(..),
                u16: self.0.u16(..),
                i32: self.0.i32(..),
                u32: self.0.u32(..),
            },
            2 => Shape::Long(self.0.i64(..), self.0.u64(..)),
            3 => Shape::Large(self.signed()),
            4 => Shape::Unsigned(self.large()),
            5 => Shape::Half(self.half()),
            6 => Shape::Fraction(self.fraction()),
            7 => Shape::Char(self.0.char(..)),
            8 => Shape::Text(self.text()),
            9 => Shape::Bytes(self.bytes()),
            10 => Shape::Unit(()),
            11 => Shape::Nothing,
            12 => Shape::Marker(Marker),
            13 => Shape::Wrapper(Wrapper(self.maybe(Self::boxed))),
            14 => Shape::Pair(Pair(self.0.u8(..), self.maybe(Self::boxed))),
            15 => Shape::Empty(Empty {}),
            16 => Shape::Plain(self.plain()),
            17 => Shape::Duration(Duration::new(self.0.u64(..), self.0.u32(..1_000_000_000))),
            18 => Shape::Id(Uuid::from_u128(self.0.u128(..))),
            _ => Shape::Percent(Percent(self.0.u8(..120))),
        }
    }

    fn many(&mut self, number: u32) -> Shape {
        match number {
            20 => Shape::Option(self.maybe(|source| source.0.u8(..))),
            21 => Shape::Nested(self.maybe(|source| source.maybe(|source| source.0.u8(..)))),
            22 => Shape::OptionOfUnit(self.maybe(|_| ())),
            23 => Shape::OptionOfMarker(self.maybe(|_| Marker)),
            24 => Shape::OptionOfWrapper(self.maybe(|source| Wrapper(source.maybe(Self::boxed)))),
            25 => Shape::OptionOfFraction(self.maybe(Self::fraction)),
            26 => Shape::OptionOfPlain(self.maybe(Self::plain)),
            27 => Shape::OptionOfShape(self.maybe(Self::boxed)),
            28 => Shape::OptionOfJson(self.maybe(|source| source.json(2))),
            29 => Shape::List(self.some(Self::shape)),
            30 => Shape::Array([self.0.i16(..), self.0.i16(..), self.0.i16(..)]),
            31 => Shape::Tuple((self.0.u8(..), self.text(), self.maybe(Self::half))),
            32 => Shape::Set(self.some(|source| source.0.i32(..))),
            33 => Shape::HashSet((0..self.0.u16(..20)).collect()),
            34 => Shape::ByText(self.some(|source| (source.text(), source.shape()))),
            35 => Shape::ByHash((0..self.0.u8(..20)).map(|n| (format!("{n}"), n)).collect()),
            36 => Shape::ByNumber(self.some(|source| (source.0.i32(..), source.shape()))),
            37 => Shape::ByBool(self.some(|source| (source.0.bool(), source.0.u8(..)))),
            38 => Shape::ByChar(self.some(|source| (source.0.char(..), source.0.u8(..)))),
            39 => Shape::ByPlain(self.some(|source| (source.plain(), source.0.u8(..)))),
            40 => Shape::ByName(self.some(|source| (Name(source.text()), source.0.u8(..)))),
            _ => Shape::ById(
                self.some(|source| (Uuid::from_u128(source.0.u128(..)), source.0.u8(..))),
            ),
        }
    }

    fn composed(&mut self, number: u32) -> Shape {
        match number {
            42 => Shape::ByPair(
                self.some(|source| ((source.0.u8(..), source.0.u8(..)), source.0.bool())),
            ),
            43 => Shape::ByOption(
                self.some(|source| (source.maybe(|source| source.0.u8(..)), source.0.u8(..))),
            ),
            44 => Shape::ByList(self.some(|source| (source.bytes(), source.0.u8(..)))),
            45 => Shape::ByLarge(self.some(|source| (source.large(), source.0.u8(..)))),
            46 => Shape::External(self.external()),
            47 => Shape::Internal(self.internal()),
            48 => Shape::Adjacent(self.adjacent()),
            49 => Shape::Untagged(self.untagged(2)),
            50 => {
                let more = self.some(|source| (source.text(), source.shape()));
                Shape::Flat(Flat {
                    id: self.0.u32(..),
                    inner: self.inner(),
                    more,
                })
            }
            51 => {
                let external = self.external();
                let internal = self.internal();
                Shape::FlatEnum(FlatEnum {
                    id: self.0.u32(..),
                    external,
                    internal,
                })
            }
            52 => Shape::FlatByNumber(FlatByNumber {
                map: self.some(|source| (source.0.i32(..), source.0.u8(..))),
            }),
            53 => Shape::FlatOption(FlatOption {
                id: self.0.u32(..),
                missing: self.maybe(Self::missing),
            }),
            54 => Shape::Skipped(Skipped {
                kept: self.0.u8(..),
                skipped: self.0.u8(..),
            }),
            55 => Shape::Missing(self.missing()),
            56 => Shape::OneWay(OneWay {
                written: self.0.u8(..2),
            }),
            57 => match self.0.bool() {
                true => Shape::Collision(Collision::Struct(Colliding {
                    size: 1,
                    kind: self.text(),
                })),
                false => Shape::Collision(Collision::Map(
                    self.some(|source| (source.text(), source.text())),
                )),
            },
            58 => Shape::Json(self.json(3)),
            59 => Shape::Result(if self.0.bool() {
                Ok(self.0.u8(..))
            } else {
                Err(self.text())
            }),
            _ => Shape::Nest(self.nest()),
        }
    }
}
