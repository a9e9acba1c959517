//! Records a value in serde's data model, to compare a written value with the one read back.
//!
//! Comparing bytes would not do: `Some(None)` and `None` are the same bytes. Types need neither
//! `PartialEq` nor `Debug`. Fields that serde skips are not recorded, and may differ.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::value::Error;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::checked::{Problem, Refused};

/// The longest text of a value in a message about two that differ.
const SHOWN_CHARS_MAX: usize = 100;

/// Checks that `read` equals `written`. Elements of lists may change places, because sets have no
/// order.
pub(super) fn compare(written: &impl Serialize, read: &impl Serialize) -> Result<(), Refused> {
    let refused = |error: Error| Refused::new(Problem::Custom(error.to_string()));
    let hash = |value: &dyn Fn() -> Result<u64, Error>| value().map_err(refused);
    // Hashes spare the trees, which copy every text of the value, and equal hashes end the
    // comparison. Only values that differ, or sets that were read in another order, need the trees.
    if hash(&|| trace::<u64>(written))? == hash(&|| trace::<u64>(read))? {
        return Ok(());
    }
    let written = trace::<Tree>(written).map_err(refused)?;
    let read = trace::<Tree>(read).map_err(refused)?;
    if written.sorted() == read.sorted() {
        return Ok(());
    }
    let mut path = String::new();
    let (written, read) = first_difference(&written, &read, &mut path);
    Err(Refused::at(path, Problem::Different { written, read }))
}

fn trace<T: Trace>(value: &impl Serialize) -> Result<T, Error> {
    value.serialize(Tracer(PhantomData))
}

/// A recorded value, or a hash of it.
trait Trace: Sized {
    fn leaf(leaf: Leaf<'_>) -> Self;
    fn list(kind: Kind, items: Vec<Self>) -> Self;
    fn map(entries: Vec<(Self, Self)>) -> Self;
    fn fields(kind: Kind, fields: Vec<(&'static str, Self)>) -> Self;
}

#[derive(Hash)]
enum Leaf<'a> {
    None,
    Unit,
    Bool(bool),
    /// The number of bits, and the number.
    Signed(u8, i128),
    Unsigned(u8, u128),
    /// The bits, so that 0.0 and -0.0 differ.
    F32(u32),
    F64(u64),
    Char(char),
    Text(&'a str),
    Bytes(&'a [u8]),
    Named(&'static str),
    Variant(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Some,
    Newtype(&'static str),
    Sequence,
    Tuple,
    Struct(&'static str),
    Variant(&'static str, &'static str),
}

fn hash_of(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

impl Trace for u64 {
    fn leaf(leaf: Leaf<'_>) -> Self {
        hash_of(leaf)
    }

    fn list(kind: Kind, items: Vec<Self>) -> Self {
        hash_of((kind, items))
    }

    /// Makes a map. The order of the entries does not matter.
    fn map(entries: Vec<(Self, Self)>) -> Self {
        let sum = entries
            .iter()
            .fold(0_u64, |sum, entry| sum.wrapping_add(hash_of(entry)));
        hash_of((entries.len(), sum))
    }

    fn fields(kind: Kind, fields: Vec<(&'static str, Self)>) -> Self {
        hash_of((kind, fields))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tree {
    /// The kind of the value and its text.
    Leaf(&'static str, String),
    List(Kind, Vec<Self>),
    Map(Vec<(Self, Self)>),
    Fields(Kind, Vec<(&'static str, Self)>),
}

impl Trace for Tree {
    fn leaf(leaf: Leaf<'_>) -> Self {
        match leaf {
            Leaf::None => Self::Leaf("none", "None".into()),
            Leaf::Unit => Self::Leaf("unit", "()".into()),
            Leaf::Bool(value) => Self::Leaf("bool", value.to_string()),
            Leaf::Signed(8, value) => Self::Leaf("i8", value.to_string()),
            Leaf::Signed(16, value) => Self::Leaf("i16", value.to_string()),
            Leaf::Signed(32, value) => Self::Leaf("i32", value.to_string()),
            Leaf::Signed(64, value) => Self::Leaf("i64", value.to_string()),
            Leaf::Signed(_, value) => Self::Leaf("i128", value.to_string()),
            Leaf::Unsigned(8, value) => Self::Leaf("u8", value.to_string()),
            Leaf::Unsigned(16, value) => Self::Leaf("u16", value.to_string()),
            Leaf::Unsigned(32, value) => Self::Leaf("u32", value.to_string()),
            Leaf::Unsigned(64, value) => Self::Leaf("u64", value.to_string()),
            Leaf::Unsigned(_, value) => Self::Leaf("u128", value.to_string()),
            Leaf::F32(bits) => Self::Leaf("f32", format!("{:?}", f32::from_bits(bits))),
            Leaf::F64(bits) => Self::Leaf("f64", format!("{:?}", f64::from_bits(bits))),
            Leaf::Char(value) => Self::Leaf("char", format!("{value:?}")),
            Leaf::Text(value) => Self::Leaf("text", format!("{value:?}")),
            Leaf::Bytes(value) => Self::Leaf("bytes", format!("{value:?}")),
            Leaf::Named(name) => Self::Leaf("unit struct", name.into()),
            Leaf::Variant(name, variant) => Self::Leaf(name, variant.into()),
        }
    }

    fn list(kind: Kind, items: Vec<Self>) -> Self {
        Self::List(kind, items)
    }

    fn map(mut entries: Vec<(Self, Self)>) -> Self {
        entries.sort();
        Self::Map(entries)
    }

    fn fields(kind: Kind, fields: Vec<(&'static str, Self)>) -> Self {
        Self::Fields(kind, fields)
    }
}

impl Tree {
    fn sorted(&self) -> Self {
        match self {
            Self::Leaf(..) => self.clone(),
            Self::List(kind, items) => {
                let mut items: Vec<_> = items.iter().map(Self::sorted).collect();
                if *kind == Kind::Sequence {
                    items.sort();
                }
                Self::List(*kind, items)
            }
            Self::Map(entries) => Self::map(
                entries
                    .iter()
                    .map(|(key, value)| (key.sorted(), value.sorted()))
                    .collect(),
            ),
            Self::Fields(kind, fields) => Self::Fields(
                *kind,
                fields
                    .iter()
                    .map(|(name, value)| (*name, value.sorted()))
                    .collect(),
            ),
        }
    }

    /// Returns the text of a key in a path.
    fn as_key(&self) -> String {
        match self {
            Self::Leaf(_, text) => text.trim_matches('"').into(),
            other => other.to_string(),
        }
    }

    fn shown(&self) -> String {
        let text = self.to_string();
        match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(
                "i8" | "i16" | "i32" | "i64" | "i128" | "u8" | "u16" | "u32" | "u64" | "u128",
                text,
            ) => f.write_str(text),
            Self::Leaf(_, text) => f.write_str(text),
            Self::List(Kind::Some, items) => list(f, "Some(", items, ")"),
            Self::List(Kind::Newtype(name) | Kind::Struct(name), items) => {
                list(f, &format!("{name}("), items, ")")
            }
            Self::List(Kind::Variant(_, variant), items) => {
                list(f, &format!("{variant}("), items, ")")
            }
            Self::List(Kind::Tuple, items) => list(f, "(", items, ")"),
            Self::List(Kind::Sequence, items) => list(f, "[", items, "]"),
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                write!(f, "{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            Self::Fields(kind, fields) => {
                let name = match kind {
                    Kind::Struct(name) | Kind::Variant(_, name) => name,
                    _ => "",
                };
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                write!(f, "{name} {{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, begin: &str, items: &[Tree], end: &str) -> fmt::Result {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    write!(f, "{begin}{}{end}", items.join(", "))
}

/// Returns both sides where they first differ, and adds the way there to `path`.
fn first_difference(written: &Tree, read: &Tree, path: &mut String) -> (String, String) {
    match (written, read) {
        (Tree::List(kind, ours), Tree::List(other, theirs))
            if kind == other && ours.len() == theirs.len() =>
        {
            if let Some((index, (one, two))) = ours
                .iter()
                .zip(theirs)
                .enumerate()
                .find(|(_, (one, two))| one != two)
            {
                if !matches!(kind, Kind::Some | Kind::Newtype(_)) {
                    path.push_str(&format!("[{index}]"));
                }
                return first_difference(one, two, path);
            }
        }
        (Tree::Fields(kind, ours), Tree::Fields(other, theirs))
            if kind == other && ours.len() == theirs.len() =>
        {
            let mut pairs = ours.iter().zip(theirs);
            if let Some(((name, one), (same, two))) = pairs.find(|(one, two)| one != two)
                && name == same
            {
                push_name(path, name);
                return first_difference(one, two, path);
            }
        }
        (Tree::Map(ours), Tree::Map(theirs)) if ours.len() == theirs.len() => {
            let mut pairs = ours.iter().zip(theirs);
            if let Some(((key, one), (same, two))) = pairs.find(|(one, two)| one != two)
                && key == same
            {
                push_name(path, &key.as_key());
                return first_difference(one, two, path);
            }
        }
        _ => {}
    }
    let one = written.shown();
    let two = read.shown();
    match one == two {
        // The texts are equal, so only the types differ and have to be shown.
        true => (
            format!("{one} ({})", type_of(written)),
            format!("{two} ({})", type_of(read)),
        ),
        false => (one, two),
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn type_of(tree: &Tree) -> String {
    match tree {
        Tree::Leaf(name, _) => (*name).into(),
        Tree::List(kind, _) | Tree::Fields(kind, _) => format!("{kind:?}"),
        Tree::Map(_) => "map".into(),
    }
}

struct Tracer<T>(PhantomData<T>);

/// The contents of a list, a map or a struct.
struct Within<T> {
    kind: Kind,
    items: Vec<T>,
    fields: Vec<(&'static str, T)>,
    entries: Vec<(T, T)>,
    key: Option<T>,
}

impl<T> Within<T> {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            items: Vec::new(),
            fields: Vec::new(),
            entries: Vec::new(),
            key: None,
        }
    }
}

macro_rules! leaves {
    ($($method:ident($value:ident: $argument:ty) $leaf:expr;)*) => {
        $(fn $method(self, $value: $argument) -> Result<T, Error> {
            Ok(T::leaf($leaf))
        })*
    };
}

impl<T: Trace> Serializer for Tracer<T> {
    type Ok = T;
    type Error = Error;
    type SerializeSeq = Within<T>;
    type SerializeTuple = Within<T>;
    type SerializeTupleStruct = Within<T>;
    type SerializeTupleVariant = Within<T>;
    type SerializeMap = Within<T>;
    type SerializeStruct = Within<T>;
    type SerializeStructVariant = Within<T>;

    leaves! {
        serialize_bool(value: bool) Leaf::Bool(value);
        serialize_i8(value: i8) Leaf::Signed(8, value.into());
        serialize_i16(value: i16) Leaf::Signed(16, value.into());
        serialize_i32(value: i32) Leaf::Signed(32, value.into());
        serialize_i64(value: i64) Leaf::Signed(64, value.into());
        serialize_i128(value: i128) Leaf::Signed(128, value);
        serialize_u8(value: u8) Leaf::Unsigned(8, value.into());
        serialize_u16(value: u16) Leaf::Unsigned(16, value.into());
        serialize_u32(value: u32) Leaf::Unsigned(32, value.into());
        serialize_u64(value: u64) Leaf::Unsigned(64, value.into());
        serialize_u128(value: u128) Leaf::Unsigned(128, value);
        serialize_f32(value: f32) Leaf::F32(value.to_bits());
        serialize_f64(value: f64) Leaf::F64(value.to_bits());
        serialize_char(value: char) Leaf::Char(value);
        serialize_str(value: &str) Leaf::Text(value);
        serialize_bytes(value: &[u8]) Leaf::Bytes(value);
        serialize_unit_struct(name: &'static str) Leaf::Named(name);
    }

    fn serialize_none(self) -> Result<T, Error> {
        Ok(T::leaf(Leaf::None))
    }

    fn serialize_unit(self) -> Result<T, Error> {
        Ok(T::leaf(Leaf::Unit))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<T, Error> {
        Ok(T::leaf(Leaf::Variant(name, variant)))
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<T, Error> {
        Ok(T::list(Kind::Some, vec![value.serialize(self)?]))
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &V,
    ) -> Result<T, Error> {
        Ok(T::list(Kind::Newtype(name), vec![value.serialize(self)?]))
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &V,
    ) -> Result<T, Error> {
        Ok(T::list(
            Kind::Variant(name, variant),
            vec![value.serialize(self)?],
        ))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Sequence))
    }

    fn serialize_tuple(self, _: usize) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Tuple))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Struct(name)))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Variant(name, variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Sequence))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Struct(name)))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Within<T>, Error> {
        Ok(Within::new(Kind::Variant(name, variant)))
    }
}

macro_rules! items {
    ($($compound:ident::$method:ident;)*) => {
        $(impl<T: Trace> $compound for Within<T> {
            type Ok = T;
            type Error = Error;

            fn $method<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), Error> {
                self.items.push(value.serialize(Tracer(PhantomData))?);
                Ok(())
            }

            fn end(self) -> Result<T, Error> {
                Ok(T::list(self.kind, self.items))
            }
        })*
    };
}

items! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! fields {
    ($($compound:ident),*) => {
        $(impl<T: Trace> $compound for Within<T> {
            type Ok = T;
            type Error = Error;

            fn serialize_field<V: Serialize + ?Sized>(&mut self, name: &'static str, value: &V) -> Result<(), Error> {
                self.fields.push((name, value.serialize(Tracer(PhantomData))?));
                Ok(())
            }

            fn end(self) -> Result<T, Error> {
                Ok(T::fields(self.kind, self.fields))
            }
        })*
    };
}

fields! { SerializeStruct, SerializeStructVariant }

impl<T: Trace> SerializeMap for Within<T> {
    type Ok = T;
    type Error = Error;

    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), Error> {
        self.key = Some(key.serialize(Tracer(PhantomData))?);
        Ok(())
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), Error> {
        let value = value.serialize(Tracer(PhantomData))?;
        self.entries.extend(self.key.take().map(|key| (key, value)));
        Ok(())
    }

    fn end(self) -> Result<T, Error> {
        Ok(T::map(self.entries))
    }
}
