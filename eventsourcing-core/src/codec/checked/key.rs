//! The checks of map keys: their types, and that none occurs twice.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;

use serde::Serialize;
use serde::ser::{Impossible, Serializer};

use super::problem::{Inspection, Problem};

/// The text keys of one map.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// All keys, concatenated.
    text: String,
    ends: Vec<usize>,
    /// `false` while each key was greater than the one before, so that none can occur twice. Sorted
    /// maps need no further check.
    is_unsorted: bool,
}

impl Keys {
    fn push(&mut self, key: &str) {
        if let Some(end) = self.ends.last() {
            let start = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
            self.is_unsorted |= key <= &self.text[start..*end];
        }
        self.text.push_str(key);
        self.ends.push(self.text.len());
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.text[start..*end])
    }

    /// Returns the key of the entry being written, the last of `entries`, if all keys are text.
    pub(super) fn last_of(&self, entries: usize) -> Option<&str> {
        self.iter().last().filter(|_| self.ends.len() == entries)
    }

    /// Returns a key that occurs twice.
    pub(super) fn repeated(&self) -> Option<&str> {
        if !self.is_unsorted {
            return None;
        }
        let mut seen = HashSet::with_capacity(self.ends.len());
        self.iter().find(|key| !seen.insert(*key))
    }
}

/// A key, which carries the inspection into the `Serialize` of its type.
pub(super) struct Key<'a, T: ?Sized> {
    pub(super) value: &'a T,
    pub(super) keys: &'a RefCell<Keys>,
    pub(super) inspection: &'a Inspection,
}

impl<T: Serialize + ?Sized> Serialize for Key<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            value,
            keys,
            inspection,
        } = *self;
        value.serialize(KeySerializer {
            inner: serializer,
            keys,
            inspection,
        })
    }
}

struct KeySerializer<'a, S> {
    inner: S,
    keys: &'a RefCell<Keys>,
    inspection: &'a Inspection,
}

/// JSON writes keys of these types as text. A type that is read through one of serde's buffers does
/// not convert them back, so they are doubtful.
macro_rules! doubtful {
    ($($method:ident($argument:ty);)*) => {
        $(fn $method(self, value: $argument) -> Result<S::Ok, S::Error> {
            self.inspection.doubt();
            self.inner.$method(value)
        })*
    };
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, S::Error> {
            self.inspection.refuse(Problem::Key)
        })*
    };
}

impl<S: Serializer> Serializer for KeySerializer<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Impossible<S::Ok, S::Error>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    fn serialize_str(self, key: &str) -> Result<S::Ok, S::Error> {
        self.keys.borrow_mut().push(key);
        self.inner.serialize_str(key)
    }

    fn serialize_char(self, key: char) -> Result<S::Ok, S::Error> {
        self.keys.borrow_mut().push(key.encode_utf8(&mut [0; 4]));
        self.inner.serialize_char(key)
    }

    fn collect_str<T: Display + ?Sized>(self, key: &T) -> Result<S::Ok, S::Error> {
        self.serialize_str(&key.to_string())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        key: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.keys.borrow_mut().push(key);
        self.inner.serialize_unit_variant(name, index, key)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        key: &T,
    ) -> Result<S::Ok, S::Error> {
        // A newtype is written as the value within.
        key.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<S::Ok, S::Error> {
        self.inspection.doubt();
        key.serialize(self)
    }

    fn serialize_f32(self, key: f32) -> Result<S::Ok, S::Error> {
        if !key.is_finite() {
            return self.inspection.refuse(Problem::NotFinite(key.into()));
        }
        self.inspection.doubt();
        self.inner.serialize_f32(key)
    }

    fn serialize_f64(self, key: f64) -> Result<S::Ok, S::Error> {
        if !key.is_finite() {
            return self.inspection.refuse(Problem::NotFinite(key));
        }
        self.inspection.doubt();
        self.inner.serialize_f64(key)
    }

    fn serialize_i128(self, key: i128) -> Result<S::Ok, S::Error> {
        match (i64::try_from(key), u64::try_from(key)) {
            (Ok(key), _) => self.serialize_i64(key),
            (_, Ok(key)) => self.serialize_u64(key),
            _ => self.inspection.refuse(Problem::Beyond64Bits),
        }
    }

    fn serialize_u128(self, key: u128) -> Result<S::Ok, S::Error> {
        match u64::try_from(key) {
            Ok(key) => self.serialize_u64(key),
            Err(_) => self.inspection.refuse(Problem::Beyond64Bits),
        }
    }

    doubtful! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
    }

    refuse! {
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inspection.refuse(Problem::Key)
    }
}
