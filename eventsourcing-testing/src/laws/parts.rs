//! The parts of a generated value: elements, entries, fields, and the contents of a variant.

use std::vec;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::generator::{Mismatch, ValueSource};

/// The number of the part that stands for the keys of a map.
const KEYS: usize = usize::MAX - 1;

impl<'a> ValueSource<'a> {
    pub(super) fn parts(self, count: usize) -> Parts<'a> {
        Parts {
            parts: (0..count).collect::<Vec<_>>().into_iter(),
            keys: None,
            of: self,
        }
    }

    /// Returns the elements of a list, all from the same place in the type.
    pub(super) fn elements(self) -> Parts<'a> {
        Parts {
            parts: vec![0; self.list_length()].into_iter(),
            keys: None,
            of: self,
        }
    }

    pub(super) fn fields(self, keys: &'static [&'static str]) -> Parts<'a> {
        Parts {
            keys: Some(keys),
            ..self.parts(keys.len())
        }
    }
}

/// The parts of a value by their numbers: a sequence, a map with the given keys, or a map with generated keys.
pub(super) struct Parts<'a> {
    parts: vec::IntoIter<usize>,
    keys: Option<&'static [&'static str]>,
    of: ValueSource<'a>,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mismatch> {
        self.parts
            .next()
            .map(|part| self.of.read_part(part, seed))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.parts.len())
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let Some(part) = self.parts.as_slice().first().copied() else {
            return Ok(None);
        };
        match self.keys {
            Some(keys) => seed.deserialize(keys[part].into_deserializer()).map(Some),
            None => self.of.read_part(KEYS, seed).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let part = self
            .parts
            .next()
            .ok_or_else(|| Mismatch::custom("a value without a key"))?;
        self.of.read_part(part, seed)
    }
}

/// A variant and its contents.
pub(super) struct Variant<'a> {
    pub(super) name: &'static str,
    pub(super) fields: ValueSource<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Mismatch;
    type Variant = Fields<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Fields<'a>), Mismatch> {
        let name: StrDeserializer<'_, Mismatch> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Fields(self.fields)))
    }
}

pub(super) struct Fields<'a>(ValueSource<'a>);

impl<'de> VariantAccess<'de> for Fields<'_> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self.0.part(0)?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.deserialize_struct("variant", fields, visitor)
    }
}
