//! [`Pen`]: draws values of any type that serde can read. A type is asked to read itself; whatever it asks for is made up.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::vec;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::lessons::Lessons;
use super::texts;

/// Where in a type a value stands: the same for all elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl Place {
    /// Of the type with this number.
    pub(super) fn of(number: usize) -> Self {
        Self(0xcbf2_9ce4_8422_2325).part(number)
    }

    fn part(self, number: usize) -> Self {
        Self((self.0.rotate_left(5) ^ (number as u64 + 1)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// How large numbers may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// So small that no sum of them overflows.
    Small,
    /// Any that the type has.
    Any,
}

/// Why a value does not fit its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

impl serde::de::Error for Unfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Draws one value. The same choices make the same value; a choice that is not there is 0, which makes the plainest.
pub(super) struct Pen<'a> {
    lessons: &'a Lessons,
    choices: &'a [u64],
    used: Cell<usize>,
    numbers: Numbers,
    explores: bool,
    trace: RefCell<Trace>,
}

/// The kinds of values that were chosen, and where.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) kinds: Vec<(Place, u32)>,
    /// Which of them the type has refused, if it could be told.
    pub(super) blame: Option<Option<(Place, u32)>>,
}

impl Trace {
    /// The first who is blamed is to blame: refusals are passed on outwards.
    fn blame(&mut self, culprit: Option<(Place, u32)>) {
        self.blame.get_or_insert(culprit);
    }
}

impl<'a> Pen<'a> {
    pub(super) fn new(lessons: &'a Lessons, choices: &'a [u64], numbers: Numbers) -> Self {
        let (used, trace) = (Cell::new(0), RefCell::default());
        Self { lessons, choices, used, numbers, explores: false, trace }
    }

    /// A pen that tries kinds of values of which nothing is known.
    pub(super) fn exploring(lessons: &'a Lessons, choices: &'a [u64]) -> Self {
        Self { explores: true, ..Self::new(lessons, choices, Numbers::Small) }
    }

    pub(super) fn into_trace(self) -> Trace {
        self.trace.into_inner()
    }

    /// Something to deserialize a value from.
    pub(super) fn at(&'a self, place: Place) -> Draw<'a> {
        Draw { pen: self, place, depth: 0 }
    }

    fn choice(&self) -> u64 {
        let at = self.used.replace(self.used.get() + 1);
        self.choices.get(at).copied().unwrap_or(0)
    }
}

/// A value that is not drawn yet.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pen: &'a Pen<'a>,
    place: Place,
    depth: u8,
}

/// From here on lists are empty and options are none, so that recursive types end.
const DEPTH_OF_LEAVES: u8 = 8;
const DEPTH_MAX: u8 = 60;

/// The part that the keys of a map are.
const KEYS: usize = usize::MAX - 1;

/// What a type may be given that does not say what it wants: a text of any kind, or one of these.
const OTHER_KINDS: u32 = 6;
const TEXT_KINDS: u32 = texts::KINDS.len() as u32;
const _: () = assert!(TEXT_KINDS + OTHER_KINDS <= u64::BITS);

impl<'a> Draw<'a> {
    fn part(self, number: usize) -> Result<Self, Unfit> {
        match self.depth {
            DEPTH_MAX => Err(Unfit::custom("it is nested too deeply")),
            depth => Ok(Self { place: self.place.part(number), depth: depth + 1, ..self }),
        }
    }

    /// One of so many kinds.
    fn kind(self, count: u32) -> u32 {
        let count = count.min(u64::BITS);
        let kinds = self.pen.lessons.kinds(self.place, count, self.pen.explores);
        let kind = match *kinds {
            [] => 0,
            [only] => only,
            _ => kinds[(self.pen.choice() % kinds.len() as u64) as usize],
        };
        self.pen.trace.borrow_mut().kinds.push((self.place, kind));
        kind
    }

    /// Blames this kind at this place if what was made of it is refused.
    fn blaming<T>(self, kind: u32, outcome: Result<T, Unfit>) -> Result<T, Unfit> {
        outcome.inspect_err(|_| self.pen.trace.borrow_mut().blame(Some((self.place, kind))))
    }

    /// A part of a value. If it is refused after it was read, what was drawn for it last is to blame.
    fn read_part<'de, T: DeserializeSeed<'de>>(self, number: usize, seed: T) -> Result<T::Value, Unfit> {
        let before = self.pen.trace.borrow().kinds.len();
        seed.deserialize(self.part(number)?).inspect_err(|_| {
            let mut trace = self.pen.trace.borrow_mut();
            let last = trace.kinds[before..].last().copied();
            trace.blame(last);
        })
    }

    fn text(self, kind: u32) -> String {
        let number = self.pen.choice();
        match self.pen.numbers {
            Numbers::Any if kind == 1 && number % 4 == 3 => texts::large_amount(number / 4),
            _ => texts::KINDS[kind as usize](number),
        }
    }

    /// A number whose amount is at most `max`, negative only if it may be `signed`. Most are small.
    fn whole(self, max: u128, signed: bool) -> i128 {
        let choice = self.pen.choice();
        let (is_negative, class, number) = (choice & 1 == 1, choice >> 1 & 7, u128::from(choice >> 4));
        let small = (max / 32).min(999) + 1;
        let amount = match (class, self.pen.numbers) {
            (0..=3, _) => number % small.min(10),
            (6, Numbers::Any) => number * 0x0123_4567_89ab_cdef % max,
            (7, Numbers::Any) => max,
            _ => number % small,
        };
        let amount = i128::try_from(amount).unwrap_or(i128::MAX);
        if signed && is_negative { -amount } else { amount }
    }

    /// Whole and quarter numbers, which add up without rounding.
    fn fraction(self) -> f64 {
        let quarters = self.whole(3_999, true);
        quarters as f64 / 4.0
    }

    fn list_length(self) -> usize {
        match self.depth >= DEPTH_OF_LEAVES {
            true => 0,
            false => (self.pen.choice() % 4) as usize,
        }
    }

    fn parts(self, count: usize) -> Parts<'a> {
        Parts { parts: (0..count).collect::<Vec<_>>().into_iter(), keys: None, of: self }
    }

    /// As many elements of one kind.
    fn elements(self) -> Parts<'a> {
        Parts { parts: vec![0; self.list_length()].into_iter(), keys: None, of: self }
    }

    fn fields(self, keys: &'static [&'static str]) -> Parts<'a> {
        Parts { keys: Some(keys), ..self.parts(keys.len()) }
    }
}

macro_rules! wholes {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            let whole = self.whole(<$type>::MAX as u128, <$type>::MIN != 0);
            visitor.$visit(<$type>::try_from(whole).unwrap_or_default())
        }
    )*};
}

impl<'de> Deserializer<'de> for Draw<'_> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.kind(TEXT_KINDS + OTHER_KINDS) {
            kind if kind < TEXT_KINDS => self.blaming(kind, visitor.visit_string(self.text(kind))),
            kind => {
                let outcome = match kind - TEXT_KINDS {
                    0 => self.deserialize_u64(visitor),
                    1 => self.deserialize_i64(visitor),
                    2 => self.deserialize_bool(visitor),
                    3 => self.deserialize_f64(visitor),
                    4 => self.deserialize_seq(visitor),
                    _ => self.deserialize_map(visitor),
                };
                self.blaming(kind, outcome)
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_bool(self.pen.choice() % 2 == 1)
    }

    wholes! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_f32(self.fraction() as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_f64(self.fraction())
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_char(['a', 'Z', '0', ' ', 'ß', '长', '🦀'][(self.pen.choice() % 7) as usize])
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let kind = self.kind(TEXT_KINDS);
        self.blaming(kind, visitor.visit_string(self.text(kind)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let length = self.list_length();
        visitor.visit_byte_buf((0..length).map(|_| self.pen.choice() as u8).collect())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.depth >= DEPTH_OF_LEAVES || self.pen.choice().is_multiple_of(3) {
            true => visitor.visit_none(),
            false => visitor.visit_some(self.part(0)?),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self.part(0)?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_seq(self.elements())
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_seq(self.parts(length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_seq(self.parts(length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_map(self.elements())
    }

    /// Most types can be read from their fields in order, which tells apart a field from its aliases.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let kind = self.kind(2);
        let outcome = match kind {
            0 => visitor.visit_seq(self.parts(fields.len())),
            _ => visitor.visit_map(self.fields(fields)),
        };
        self.blaming(kind, outcome)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let kind = self.kind(variants.len() as u32) as usize;
        let variant = variants.get(kind).ok_or_else(|| Unfit::custom("an enum without variants"))?;
        visitor.visit_enum(Variant { name: variant, fields: self.part(kind)? })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }
}

/// The parts of a value, each by its number; as a map with these keys, or with keys that are drawn too.
struct Parts<'a> {
    parts: vec::IntoIter<usize>,
    keys: Option<&'static [&'static str]>,
    of: Draw<'a>,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Unfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unfit> {
        self.parts.next().map(|part| self.of.read_part(part, seed)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.parts.len())
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        let Some(part) = self.parts.as_slice().first().copied() else { return Ok(None) };
        match self.keys {
            Some(keys) => seed.deserialize(keys[part].into_deserializer()).map(Some),
            None => self.of.read_part(KEYS, seed).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unfit> {
        let part = self.parts.next().ok_or_else(|| Unfit::custom("a value without a key"))?;
        self.of.read_part(part, seed)
    }
}

struct Variant<'a> {
    name: &'static str,
    fields: Draw<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Unfit;
    type Variant = Fields<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Fields<'a>), Unfit> {
        let name: StringDeserializer<Unfit> = self.name.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, Fields(self.fields)))
    }
}

struct Fields<'a>(Draw<'a>);

impl<'de> VariantAccess<'de> for Fields<'_> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(self.0.part(0)?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unfit> {
        self.0.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Unfit> {
        self.0.deserialize_struct("variant", fields, visitor)
    }
}
