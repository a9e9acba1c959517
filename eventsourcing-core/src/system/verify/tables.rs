//! Which rows two generations of a table do not have in common.

use std::fmt;

use crate::Table;
use crate::projection::table_of;
use crate::sql::{Database, Row, SqlError, Transaction, Value};

/// How many rows of a table are shown of those that differ.
const ROWS_SHOWN_MAX: usize = 5;
/// How much of a value is shown, in characters.
const VALUE_CHARACTERS_MAX: usize = 60;

/// A table that is not what it should be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableDifference {
    /// Its name, as readers know it.
    pub table: String,
    /// How many different rows are not there as often as they should be.
    pub rows: u64,
    /// The first of them.
    pub examples: Vec<RowDifference>,
}

/// A row that is not there as often as it should be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowDifference {
    /// The names of its columns, with their values.
    pub values: Vec<(String, Value)>,
    /// How often readers see it.
    pub found: u64,
    /// How often it is there if the read model is built from the log.
    pub expected: u64,
}

/// Whom the tables are asked through.
pub(super) enum Asked<'a> {
    /// Each statement is of a moment of its own.
    Database(&'a dyn Database),
    /// Nobody changes them meanwhile.
    Transaction(&'a mut dyn Transaction),
}

/// What two generations of a table have to do with each other.
pub(super) struct Compared {
    /// How many rows readers see.
    pub(super) rows: u64,
    pub(super) difference: Option<TableDifference>,
}

impl Asked<'_> {
    async fn query(&mut self, sql: &str) -> Result<Vec<Row>, SqlError> {
        match self {
            Self::Database(database) => database.query(sql, &[]).await,
            Self::Transaction(transaction) => transaction.query(sql, &[]).await,
        }
    }

    /// Compares a table as readers see it with another generation, whatever the order of the rows.
    pub(super) async fn compare(&mut self, table: &Table, shown: u64, fresh: u64) -> Result<Compared, SqlError> {
        let name = table.name.to_owned();
        let (shown, fresh) = (table_of(table.name, shown), table_of(table.name, fresh));
        let rows = self.query(&format!("SELECT COUNT(*) AS number FROM {shown}")).await?;
        let rows = rows.first().map_or(Ok(0), |row| row.get("number"))?;
        let Some(columns) = self.columns(&shown, &fresh).await? else { return Ok(Compared { rows, difference: None }) };
        let differing = self.query(&differing_rows(&columns, &shown, &fresh)).await?;
        let Some(first) = differing.first() else { return Ok(Compared { rows, difference: None }) };
        let difference = TableDifference {
            table: name,
            rows: first.get("rows that differ")?,
            examples: differing.iter().map(|row| example(row, columns.len())).collect::<Result<_, _>>()?,
        };
        Ok(Compared { rows, difference: Some(difference) })
    }

    /// The names of the columns; `None` if neither table has a row.
    async fn columns(&mut self, shown: &str, fresh: &str) -> Result<Option<Vec<String>>, SqlError> {
        for table in [shown, fresh] {
            if let Some(row) = self.query(&format!("SELECT * FROM {table} LIMIT 1")).await?.first() {
                return Ok(Some(row.columns().to_vec()));
            }
        }
        Ok(None)
    }
}

/// Each row that one table has more often than the other, how often both have it, and how many such rows there are.
fn differing_rows(columns: &[String], shown: &str, fresh: &str) -> String {
    let quoted = |column: &String| format!("\"{}\"", column.replace('"', "\"\""));
    let columns = columns.iter().map(quoted).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {columns}, SUM(\"in shown\") AS \"found\", SUM(\"in fresh\") AS \"expected\", \
                COUNT(*) OVER () AS \"rows that differ\" \
         FROM (SELECT {columns}, 1 AS \"in shown\", 0 AS \"in fresh\" FROM {shown} \
               UNION ALL SELECT {columns}, 0, 1 FROM {fresh}) AS both_of_them \
         GROUP BY {columns} HAVING SUM(\"in shown\") <> SUM(\"in fresh\") \
         ORDER BY {columns} LIMIT {ROWS_SHOWN_MAX}"
    )
}

fn example(row: &Row, columns: usize) -> Result<RowDifference, SqlError> {
    let values = row.columns().iter().cloned().zip(row.values().iter().cloned()).take(columns).collect();
    let number = |index: usize| match row.values().get(columns + index) {
        Some(Value::Integer(number)) => Ok(number.unsigned_abs()),
        other => Err(SqlError::Column { column: row.columns()[columns].clone(), reason: format!("{other:?}") }),
    };
    Ok(RowDifference { values, found: number(0)?, expected: number(1)? })
}

impl fmt::Display for TableDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, rows, examples } = self;
        let plural = if *rows == 1 { "" } else { "s" };
        write!(f, "table {table}, {rows} row{plural}:")?;
        examples.iter().try_for_each(|example| write!(f, "\n  {example}"))?;
        match *rows as usize - examples.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(|(column, value)| format!("{column}={}", Shown(value)));
        write!(f, "{}: ", values.collect::<Vec<_>>().join(" "))?;
        match (self.found, self.expected) {
            (0, 1) => f.write_str("is missing"),
            (1, 0) => f.write_str("should not be there"),
            (found, expected) => write!(f, "is there {found} times instead of {expected}"),
        }
    }
}

/// A value, for people.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("NULL"),
            Value::Integer(number) => number.fmt(f),
            Value::Real(number) => number.fmt(f),
            Value::Text(text) if text.chars().count() > VALUE_CHARACTERS_MAX => {
                write!(f, "{:?}…", text.chars().take(VALUE_CHARACTERS_MAX).collect::<String>())
            }
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Blob(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}
