//! [`Checked`]: passes every value to the serializer of the codec, unless it could not be read
//! back.

mod compound;

use std::fmt::Display;

use serde::Serialize;
use serde::ser::Serializer;

use super::problem::{Inspection, Problem, Segment};
use super::{Part, VALUE_DEPTH_MAX};
use compound::{Elements, Entries, Fields, Struct};

/// The names by which `serde_json` recognizes its own types: text that is JSON, and a number that
/// is kept as text if a crate of the program has turned on the feature `arbitrary_precision`.
const RAW_VALUE: &str = "$serde_json::private::RawValue";
const NUMBER: &str = "$serde_json::private::Number";

/// A place in a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The number of lists, maps and structs around the place.
    depth: usize,
    /// The number of wrappers around the place that leave no trace in the stored value. They use
    /// stack as well.
    wrappers: usize,
    /// `true` if null would be read as the `None` of an option around the place.
    in_option: bool,
}

/// The largest number of wrappers: two for each level. Only a type that contains itself comes near
/// it.
const WRAPPERS_MAX: usize = 2 * VALUE_DEPTH_MAX;

impl Place {
    pub(super) const ROOT: Self = Self {
        depth: 0,
        wrappers: 0,
        in_option: false,
    };

    fn wrapped(self, in_option: bool) -> Self {
        Self {
            wrappers: self.wrappers + 1,
            in_option,
            ..self
        }
    }
}

pub(super) struct Checked<'a, S> {
    inner: S,
    inspection: &'a Inspection,
    place: Place,
}

impl<'a, S: Serializer> Checked<'a, S> {
    #[inline]
    pub(super) fn new(inner: S, inspection: &'a Inspection, place: Place) -> Self {
        Self {
            inner,
            inspection,
            place,
        }
    }

    /// Returns the place of a value `levels` levels deeper.
    #[inline]
    fn deeper(&self, levels: usize) -> Result<Place, S::Error> {
        let place = Place {
            depth: self.place.depth + levels,
            in_option: false,
            ..self.place
        };
        if place.depth > VALUE_DEPTH_MAX {
            return self.inspection.refuse(Problem::TooDeep);
        }
        Ok(place)
    }

    #[inline]
    fn wrapped<'v, T: ?Sized>(&self, value: &'v T, in_option: bool) -> Result<Part<'v, T>, S::Error>
    where
        'a: 'v,
    {
        let place = self.place.wrapped(in_option);
        if place.wrappers > WRAPPERS_MAX {
            return self.inspection.refuse(Problem::TooDeep);
        }
        Ok(Part {
            value,
            inspection: self.inspection,
            place,
        })
    }

    fn null_is_read_back(&self) -> Result<(), S::Error> {
        match self.place.in_option {
            true => self.inspection.refuse(Problem::NullInOption),
            false => Ok(()),
        }
    }
}

macro_rules! pass_on {
    ($($method:ident($argument:ty);)*) => {
        $(#[inline]
        fn $method(self, value: $argument) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Checked<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Elements<'a, S::SerializeSeq>;
    type SerializeTuple = Elements<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Elements<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Elements<'a, S::SerializeTupleVariant>;
    type SerializeMap = Entries<'a, S::SerializeMap>;
    type SerializeStruct = Struct<'a, S>;
    type SerializeStructVariant = Fields<'a, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        match value.is_finite() {
            true => self.inner.serialize_f32(value),
            false => self.inspection.refuse(Problem::NotFinite(value.into())),
        }
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        match value.is_finite() {
            true => self.inner.serialize_f64(value),
            false => self.inspection.refuse(Problem::NotFinite(value)),
        }
    }

    /// Writes the number in 64 bits, which every codec reads: MessagePack would write bytes. A
    /// larger number is refused, because a `serde_json::Value`, and so an upcaster, cannot hold it.
    /// Serde's buffers cannot hold 128 bits at all, so the value stays doubtful.
    fn serialize_i128(self, value: i128) -> Result<S::Ok, S::Error> {
        self.inspection.doubt();
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.inner.serialize_i64(value),
            (_, Ok(value)) => self.inner.serialize_u64(value),
            _ => self.inspection.refuse(Problem::Beyond64Bits),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<S::Ok, S::Error> {
        self.inspection.doubt();
        match u64::try_from(value) {
            Ok(value) => self.inner.serialize_u64(value),
            Err(_) => self.inspection.refuse(Problem::Beyond64Bits),
        }
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.null_is_read_back()?;
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let part = self.wrapped(value, true)?;
        self.inner.serialize_some(&part)
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.null_is_read_back()?;
        self.inner.serialize_unit()
    }

    /// Writes null by every codec: MessagePack would write an empty list, which JSON does not read
    /// as such a struct.
    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<S::Ok, S::Error> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let part = self.wrapped(value, self.place.in_option)?;
        self.inner.serialize_newtype_struct(name, &part)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let part = Part {
            value,
            inspection: self.inspection,
            place: self.deeper(1)?,
        };
        let written = self
            .inner
            .serialize_newtype_variant(name, index, variant, &part);
        written.map_err(|error| self.inspection.within(Segment::Field(variant), error))
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let place = self.deeper(1)?;
        Ok(Elements::new(
            self.inner.serialize_seq(len)?,
            self.inspection,
            place,
            None,
        ))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let place = self.deeper(1)?;
        Ok(Elements::new(
            self.inner.serialize_tuple(len)?,
            self.inspection,
            place,
            None,
        ))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let place = self.deeper(1)?;
        Ok(Elements::new(
            self.inner.serialize_tuple_struct(name, len)?,
            self.inspection,
            place,
            None,
        ))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let place = self.deeper(2)?;
        let inner = self
            .inner
            .serialize_tuple_variant(name, index, variant, len)?;
        Ok(Elements::new(inner, self.inspection, place, Some(variant)))
    }

    /// Writes a map. Serde writes a struct with flattened fields as a map of unknown length.
    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        if len.is_none() {
            self.inspection.doubt();
        }
        let place = self.deeper(1)?;
        Ok(Entries::new(
            self.inner.serialize_map(len)?,
            self.inspection,
            place,
        ))
    }

    #[inline]
    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        let place = self.deeper(1)?;
        if name == RAW_VALUE || name == NUMBER {
            self.inspection.doubt();
            if name == NUMBER && !self.inspection.writes_numbers_as_text() {
                return Ok(Struct::number(self.inner, self.inspection));
            }
        }
        Ok(Struct::new(
            self.inner.serialize_struct(name, len)?,
            self.inspection,
            place,
        ))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let place = self.deeper(2)?;
        let inner = self
            .inner
            .serialize_struct_variant(name, index, variant, len)?;
        Ok(Fields::new(inner, self.inspection, place, variant))
    }
}
