//! Converts each [`Value`] to the type of its parameter, and each column to a [`Value`].
//!
//! A value is accepted where nothing of it is lost; otherwise it is refused before the statement runs, with advice.
//! Text is accepted for every type that PostgreSQL reads from text.

use std::error::Error as StdError;
use std::sync::Arc;

use eventsourcing_core::sql::{Row, Value};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Column, Error, Statement};
use uuid::Uuid;

type AnyError = Box<dyn StdError + Sync + Send>;

/// Checks that `values` fit the parameters of `statement`, and that its columns are readable.
///
/// # Errors
/// The mismatch, and the cast that resolves it.
pub(crate) fn check(statement: &Statement, values: &[Value]) -> Result<(), String> {
    let parameters = statement.params();
    if parameters.len() != values.len() {
        return Err(format!(
            "{} parameters are expected, but {} values are given",
            parameters.len(),
            values.len()
        ));
    }
    for (number, (value, kind)) in (1..).zip(values.iter().zip(parameters)) {
        fits(value, kind).map_err(|(what, cast)| {
            format!("${number} has the type {kind} and cannot be {what}; write CAST(${number} AS {cast})")
        })?;
    }
    statement.columns().iter().try_for_each(is_readable)
}

/// Wraps `values` as parameters of a statement for which they have been checked.
pub(crate) fn parameters(values: &[Value]) -> Vec<Parameter<'_>> {
    values.iter().map(Parameter).collect()
}

/// Reads the rows that `statement` has returned.
pub(crate) fn rows(statement: &Statement, rows: &[tokio_postgres::Row]) -> Result<Vec<Row>, Error> {
    let columns: Arc<[String]> = statement
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    rows.iter()
        .map(|row| Ok(Row::new(Arc::clone(&columns), cells(row)?)))
        .collect()
}

fn cells(row: &tokio_postgres::Row) -> Result<Vec<Value>, Error> {
    (0..row.len())
        .map(|column| row.try_get(column).map(|Cell(value)| value))
        .collect()
}

/// Returns a description of the value, and the type to cast to, if the value does not fit.
fn fits(value: &Value, kind: &Type) -> Result<(), (String, &'static str)> {
    let does_fit = match value {
        Value::Null => true,
        Value::Integer(number) => holds_whole(kind, *number),
        Value::Real(number) => holds_fraction(kind, *number),
        Value::Text(_) => !is_number(kind) && *kind != Type::BOOL && *kind != Type::BYTEA,
        Value::Blob(_) => *kind == Type::BYTEA,
    };
    if does_fit {
        return Ok(());
    }
    Err(match value {
        Value::Integer(number) => (format!("the whole number {number}"), "BIGINT"),
        Value::Real(number) => (format!("the fraction {number}"), "DOUBLE PRECISION"),
        Value::Blob(_) => ("bytes".to_owned(), "BYTEA"),
        Value::Text(_) | Value::Null => ("text".to_owned(), "TEXT"),
    })
}

fn holds_whole(kind: &Type, number: i64) -> bool {
    match *kind {
        Type::INT2 => i16::try_from(number).is_ok(),
        Type::INT4 => i32::try_from(number).is_ok(),
        Type::INT8 | Type::NUMERIC => true,
        Type::BOOL => number == 0 || number == 1,
        Type::FLOAT4 => (number as f32) as i128 == i128::from(number),
        Type::FLOAT8 => (number as f64) as i128 == i128::from(number),
        _ => false,
    }
}

/// Returns `true` if the type holds the fraction. A narrower type rounds, as its column always does, but no value
/// becomes infinite.
fn holds_fraction(kind: &Type, number: f64) -> bool {
    match *kind {
        Type::FLOAT4 => (number as f32).is_finite() || !number.is_finite(),
        Type::FLOAT8 => true,
        _ => false,
    }
}

fn is_number(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC
    )
}

fn is_readable(column: &Column) -> Result<(), String> {
    if Cell::accepts(column.type_()) {
        return Ok(());
    }
    let name = column.name();
    let kind = column.type_();

    Err(format!(
        "column {name:?} has the type {kind}; cast it to BIGINT, DOUBLE PRECISION, TEXT or BYTEA"
    ))
}

/// A value that is sent to the server. Text and numbers of any length are sent in PostgreSQL's text format.
#[derive(Debug)]
pub(crate) struct Parameter<'a>(&'a Value);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        match (self.0, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(number), &Type::BOOL) => (*number == 1).to_sql(kind, out),
            (Value::Integer(number), &Type::INT2) => i16::try_from(*number)?.to_sql(kind, out),
            (Value::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(kind, out),
            (Value::Integer(number), &Type::FLOAT4) => (*number as f32).to_sql(kind, out),
            (Value::Integer(number), &Type::FLOAT8) => (*number as f64).to_sql(kind, out),
            (Value::Integer(number), &Type::NUMERIC) => number.to_string().to_sql(&Type::TEXT, out),
            (Value::Integer(number), _) => number.to_sql(kind, out),
            (Value::Real(number), &Type::FLOAT4) => (*number as f32).to_sql(kind, out),
            (Value::Real(number), _) => number.to_sql(kind, out),
            (Value::Text(text), _) => text.to_sql(&Type::TEXT, out),
            (Value::Blob(bytes), _) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, kind: &Type) -> Format {
        match self.0 {
            Value::Text(_) => Format::Text,
            Value::Integer(_) if *kind == Type::NUMERIC => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}

/// A value received from the server.
struct Cell(Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        Ok(Self(match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.into(),
            Type::INT2 => i32::from(i16::from_sql(kind, raw)?).into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            Type::INT8 => i64::from_sql(kind, raw)?.into(),
            Type::FLOAT4 => f64::from(f32::from_sql(kind, raw)?).into(),
            Type::FLOAT8 => f64::from_sql(kind, raw)?.into(),
            Type::BYTEA => <&[u8]>::from_sql(kind, raw)?.into(),
            Type::UUID => Uuid::from_sql(kind, raw)?.into(),
            Type::VOID => Value::Null,
            _ => <&str>::from_sql(kind, raw)?.into(),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, AnyError> {
        Ok(Self(Value::Null))
    }

    fn accepts(kind: &Type) -> bool {
        let others = [
            Type::BOOL,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::FLOAT4,
            Type::FLOAT8,
        ];
        let bytes = [Type::BYTEA, Type::UUID, Type::VOID];
        others.contains(kind) || bytes.contains(kind) || <&str as FromSql<'_>>::accepts(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_where_nothing_of_them_is_lost() {
        let text = Value::from("7");
        let blob = Value::from(vec![7]);

        for (value, kind) in [
            (Value::Null, Type::UUID),
            (1_i64.into(), Type::BOOL),
            (32_767_i64.into(), Type::INT2),
            (i64::from(i32::MIN).into(), Type::INT4),
            (i64::MIN.into(), Type::INT8),
            (i64::MAX.into(), Type::NUMERIC),
            ((1_i64 << 53).into(), Type::FLOAT8),
            (i64::MIN.into(), Type::FLOAT8),
            ((1_i64 << 24).into(), Type::FLOAT4),
            (0.1.into(), Type::FLOAT4),
            (f64::INFINITY.into(), Type::FLOAT4),
            (text.clone(), Type::UUID),
            (text.clone(), Type::JSONB),
            (text.clone(), Type::TIMESTAMPTZ),
            (blob.clone(), Type::BYTEA),
        ] {
            fits(&value, &kind).unwrap_or_else(|_| panic!("{value:?} into {kind}"));
        }
        for (value, kind, cast) in [
            (2_i64.into(), Type::BOOL, "BIGINT"),
            (32_768_i64.into(), Type::INT2, "BIGINT"),
            ((1_i64 << 31).into(), Type::INT4, "BIGINT"),
            (((1_i64 << 53) + 1).into(), Type::FLOAT8, "BIGINT"),
            (i64::MAX.into(), Type::FLOAT8, "BIGINT"),
            (((1_i64 << 24) + 1).into(), Type::FLOAT4, "BIGINT"),
            (7_i64.into(), Type::TEXT, "BIGINT"),
            (0.5.into(), Type::INT8, "DOUBLE PRECISION"),
            (0.1.into(), Type::NUMERIC, "DOUBLE PRECISION"),
            (1e300.into(), Type::FLOAT4, "DOUBLE PRECISION"),
            (text.clone(), Type::INT8, "TEXT"),
            (text.clone(), Type::BOOL, "TEXT"),
            (text, Type::BYTEA, "TEXT"),
            (blob, Type::TEXT, "BYTEA"),
        ] {
            assert_eq!(
                fits(&value, &kind).expect_err("something would be lost").1,
                cast,
                "{value:?} into {kind}"
            );
        }
    }
}
