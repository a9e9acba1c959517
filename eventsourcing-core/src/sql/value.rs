//! [`Value`]: the parameters of a statement and the columns of a row.

use jiff::Timestamp;
use uuid::Uuid;

use crate::store::{Position, Version};

/// A value of a SQL database.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL's `NULL`.
    Null,
    /// An integer, or a boolean as 0 or 1.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        }
    )*};
}

from! {
    i64 => |number| Self::Integer(number);
    i32 => |number| Self::Integer(number.into());
    u32 => |number| Self::Integer(number.into());
    bool => |truth| Self::Integer(truth.into());
    f64 => |number| Self::Real(number);
    &str => |text| Self::Text(text.to_owned());
    String => |text| Self::Text(text);
    &String => |text| Self::Text(text.clone());
    Vec<u8> => |bytes| Self::Blob(bytes);
    &[u8] => |bytes| Self::Blob(bytes.to_vec());
    Uuid => |id| Self::Text(id.to_string());
    // `Position::new` and `Version::new` cap their numbers at `i64::MAX`, so no cast wraps.
    Position => |position| Self::Integer(position.as_u64() as i64);
    Version => |version| Self::Integer(version.as_u64() as i64);
    Timestamp => |time| Self::Text(time.to_string());
}

impl<A> From<crate::Id<A>> for Value {
    fn from(id: crate::Id<A>) -> Self {
        id.as_uuid().into()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// The expected value of the column, for error messages.
    const EXPECTED: &'static str;

    /// Converts the value, or returns it unchanged if it is of another type.
    ///
    /// # Errors
    /// The value is of another type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

macro_rules! read {
    ($($type:ty, $expected:literal => { $($pattern:pat $(if $guard:expr)? => $made:expr),* };)*) => {$(
        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: Value) -> Result<Self, Value> {
                match value {
                    $($pattern $(if $guard)? => Ok($made),)*
                    other => Err(other),
                }
            }
        }
    )*};
}

read! {
    i64, "a whole number" => { Value::Integer(number) => number };
    u64, "a whole number from 0" => { Value::Integer(number @ 0..) => number.unsigned_abs() };
    Position, "a position" => { Value::Integer(number @ 0..) => Position::new(number.unsigned_abs()) };
    Version, "a version" => { Value::Integer(number @ 0..) => Version::new(number.unsigned_abs()) };
    f64, "a number" => { Value::Real(number) => number, Value::Integer(number) => number as f64 };
    bool, "0 or 1" => { Value::Integer(0) => false, Value::Integer(1) => true };
    String, "text" => { Value::Text(text) => text };
    Vec<u8>, "bytes" => { Value::Blob(bytes) => bytes };
    Value, "a value" => { value if true => value };
}

macro_rules! parse {
    ($($type:ty, $expected:literal;)*) => {$(
        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: Value) -> Result<Self, Value> {
                match &value {
                    Value::Text(text) => text.parse().map_err(|_| value),
                    _ => Err(value),
                }
            }
        }
    )*};
}

parse! {
    Uuid, "an id";
    Timestamp, "a time";
}

impl<A> FromValue for crate::Id<A> {
    const EXPECTED: &'static str = "an id";

    fn from_value(value: Value) -> Result<Self, Value> {
        Uuid::from_value(value).map(Self::from_uuid)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}
