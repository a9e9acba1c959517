//! The `Deserializer` of generated values: one made-up value for each request of a type.

use serde::de::{Deserializer, Error as _, Visitor};

use super::generator::{DEPTH_OF_LEAVES, Mismatch, OTHER_KINDS, TEXT_KINDS, ValueSource};
use super::parts::Variant;

macro_rules! wholes {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            let whole = self.whole(<$type>::MAX as u128, <$type>::MIN != 0);
            visitor.$visit(<$type>::try_from(whole).unwrap_or_default())
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueSource<'_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
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

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_bool(self.generator.choice() % 2 == 1)
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

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_f32(self.fraction() as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_f64(self.fraction())
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_char(
            ['a', 'Z', '0', ' ', 'ß', '长', '🦀'][(self.generator.choice() % 7) as usize],
        )
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let kind = self.kind(TEXT_KINDS);
        self.blaming(kind, visitor.visit_string(self.text(kind)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let length = self.list_length();
        visitor.visit_byte_buf((0..length).map(|_| self.generator.choice() as u8).collect())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.depth >= DEPTH_OF_LEAVES || self.generator.choice().is_multiple_of(3) {
            true => visitor.visit_none(),
            false => visitor.visit_some(self.part(0)?),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self.part(0)?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_seq(self.elements())
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_seq(self.parts(length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_seq(self.parts(length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_map(self.elements())
    }

    /// Most types can be read from their fields in order. A map is the second kind only, because the names that serde passes include
    /// aliases, and a map with a field and its alias is refused.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
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
    ) -> Result<V::Value, Mismatch> {
        let kind = self.kind(variants.len() as u32) as usize;
        let variant = variants
            .get(kind)
            .ok_or_else(|| Mismatch::custom("an enum without variants"))?;
        visitor.visit_enum(Variant {
            name: variant,
            fields: self.part(kind)?,
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }
}
