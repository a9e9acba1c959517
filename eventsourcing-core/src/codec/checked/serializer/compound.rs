//! Lists, maps and structs: their contents are checked too, and a refusal names the part.

use std::cell::RefCell;

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Place;
use crate::codec::checked::Part;
use crate::codec::checked::key::{Key, Keys};
use crate::codec::checked::problem::{Inspection, Problem, Segment};

/// The elements of a list.
pub(in crate::codec::checked) struct Elements<'a, C> {
    inner: C,
    inspection: &'a Inspection,
    place: Place,
    index: usize,
    /// The variant that the elements belong to, if any.
    variant: Option<&'static str>,
}

impl<'a, C> Elements<'a, C> {
    #[inline]
    pub(in crate::codec::checked) fn new(
        inner: C,
        inspection: &'a Inspection,
        place: Place,
        variant: Option<&'static str>,
    ) -> Self {
        Self {
            inner,
            inspection,
            place,
            index: 0,
            variant,
        }
    }

    #[inline]
    fn write<T: ?Sized, E>(
        &mut self,
        value: &T,
        write: impl FnOnce(&mut C, &Part<'_, T>) -> Result<(), E>,
    ) -> Result<(), E> {
        let part = Part {
            value,
            inspection: self.inspection,
            place: self.place,
        };
        let index = self.index;
        self.index += 1;
        write(&mut self.inner, &part).map_err(|error| {
            let error = self.inspection.within(Segment::Index(index), error);
            match self.variant {
                Some(variant) => self.inspection.within(Segment::Field(variant), error),
                None => error,
            }
        })
    }
}

macro_rules! elements {
    ($($compound:ident::$method:ident;)*) => {
        $(impl<C: $compound> $compound for Elements<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.write(value, |inner, part| inner.$method(part))
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

/// The entries of a map.
pub(in crate::codec::checked) struct Entries<'a, M> {
    inner: M,
    inspection: &'a Inspection,
    place: Place,
    keys: RefCell<Keys>,
    index: usize,
}

impl<'a, M: SerializeMap> Entries<'a, M> {
    #[inline]
    pub(in crate::codec::checked) fn new(
        inner: M,
        inspection: &'a Inspection,
        place: Place,
    ) -> Self {
        Self {
            inner,
            inspection,
            place,
            keys: RefCell::default(),
            index: 0,
        }
    }

    /// Returns the last written key, or the number of the entry if the key is not text.
    #[cold]
    fn segment(&self) -> Segment {
        match self.keys.borrow().last_of(self.index) {
            Some(key) => Segment::Key(key.to_owned()),
            None => Segment::Index(self.index.saturating_sub(1)),
        }
    }
}

impl<M: SerializeMap> SerializeMap for Entries<'_, M> {
    type Ok = M::Ok;
    type Error = M::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), M::Error> {
        self.index += 1;
        self.inner.serialize_key(&Key {
            value: key,
            keys: &self.keys,
            inspection: self.inspection,
        })
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), M::Error> {
        let part = Part {
            value,
            inspection: self.inspection,
            place: self.place,
        };
        let written = self.inner.serialize_value(&part);
        written.map_err(|error| self.inspection.within(self.segment(), error))
    }

    #[inline]
    fn end(self) -> Result<M::Ok, M::Error> {
        if let Some(key) = self.keys.borrow().repeated() {
            return self.inspection.refuse(Problem::Repeated(key.to_owned()));
        }
        self.inner.end()
    }
}

/// The fields of a variant.
pub(in crate::codec::checked) struct Fields<'a, C> {
    inner: C,
    inspection: &'a Inspection,
    place: Place,
    variant: &'static str,
}

impl<'a, C> Fields<'a, C> {
    #[inline]
    pub(in crate::codec::checked) fn new(
        inner: C,
        inspection: &'a Inspection,
        place: Place,
        variant: &'static str,
    ) -> Self {
        Self {
            inner,
            inspection,
            place,
            variant,
        }
    }
}

impl<C: SerializeStructVariant> SerializeStructVariant for Fields<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), C::Error> {
        let part = Part {
            value,
            inspection: self.inspection,
            place: self.place,
        };
        self.inner.serialize_field(key, &part).map_err(|error| {
            let error = self.inspection.within(Segment::Field(key), error);
            self.inspection.within(Segment::Field(self.variant), error)
        })
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
        self.inner.skip_field(key)
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

/// The number of first fields that are compared with the later ones. Serde itself makes sure that
/// the fields of a struct have different names; it cannot compare the tags of enums, which come
/// first, with the fields within a newtype variant.
const TAGS_MAX: usize = 3;

/// The fields of a struct.
pub(in crate::codec::checked) struct Struct<'a, S: Serializer> {
    inner: Inner<S>,
    inspection: &'a Inspection,
    place: Place,
    first: [&'static str; TAGS_MAX],
    fields: usize,
}

enum Inner<S: Serializer> {
    Struct(S::SerializeStruct),
    /// A number that `serde_json` keeps as text, to be written as a number.
    Number(S, Option<String>),
}

impl<'a, S: Serializer> Struct<'a, S> {
    #[inline]
    pub(in crate::codec::checked) fn new(
        inner: S::SerializeStruct,
        inspection: &'a Inspection,
        place: Place,
    ) -> Self {
        Self {
            inner: Inner::Struct(inner),
            inspection,
            place,
            first: [""; TAGS_MAX],
            fields: 0,
        }
    }

    pub(in crate::codec::checked) fn number(inner: S, inspection: &'a Inspection) -> Self {
        let inner = Inner::Number(inner, None);
        Self {
            inner,
            inspection,
            place: Place::ROOT,
            first: [""; TAGS_MAX],
            fields: 0,
        }
    }

    #[inline]
    fn check_differs(&mut self, key: &'static str) -> Result<(), S::Error> {
        let known = self.fields.min(TAGS_MAX);
        if self.first[..known].contains(&key) {
            return self.inspection.refuse(Problem::Repeated(key.to_owned()));
        }
        if known < TAGS_MAX {
            self.first[known] = key;
        }
        self.fields += 1;
        Ok(())
    }
}

impl<S: Serializer> SerializeStruct for Struct<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        self.check_differs(key)?;
        match &mut self.inner {
            Inner::Struct(inner) => {
                let part = Part {
                    value,
                    inspection: self.inspection,
                    place: self.place,
                };
                let written = inner.serialize_field(key, &part);
                written.map_err(|error| self.inspection.within(Segment::Field(key), error))
            }
            Inner::Number(_, text) => {
                let number = serde_json::to_value(value).map_err(S::Error::custom)?;
                *text = number.as_str().map(ToOwned::to_owned);
                Ok(())
            }
        }
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
        match &mut self.inner {
            Inner::Struct(inner) => inner.skip_field(key),
            Inner::Number(..) => Ok(()),
        }
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        match self.inner {
            Inner::Struct(inner) => inner.end(),
            Inner::Number(inner, text) => {
                write_number(inner, text.unwrap_or_default(), self.inspection)
            }
        }
    }
}

/// Writes the number in the text, if a number of 64 bits equals it exactly.
fn write_number<S: Serializer>(
    serializer: S,
    text: String,
    inspection: &Inspection,
) -> Result<S::Ok, S::Error> {
    if let Ok(number) = text.parse() {
        return serializer.serialize_u64(number);
    }
    if let Ok(number) = text.parse() {
        return serializer.serialize_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number)
            if number.is_finite()
                && serde_json::to_string(&number).is_ok_and(|same| same == text) =>
        {
            serializer.serialize_f64(number)
        }
        _ => inspection.refuse(Problem::NumberAsText(text)),
    }
}
