//! [`ContentsVerification`]: the rows of a read model that differ from those that its code makes of
//! the log.

use std::fmt;

use crate::sql::Value;
use crate::store::{Name, Position};

/// The number of characters of a value that are printed.
const VALUE_CHARACTERS_MAX: usize = 60;

/// The result of comparing a read model, as readers see it, with one built from the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContentsVerification {
    /// The read model.
    pub name: Name,
    /// The position at which it was compared; the sum if it follows several logs.
    pub position: Position,
    /// The number of events it was built from.
    pub events: u64,
    /// The number of rows that readers see.
    pub rows: u64,
    /// The tables that differ.
    pub differences: Vec<TableDifference>,
    /// The reason why it was not compared; `None` if it was.
    pub unchecked: Option<String>,
}

/// A table with rows that differ from those built from the log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableDifference {
    /// The name of the table, as readers know it.
    pub table: String,
    /// The number of distinct rows that are missing, superfluous, or there the wrong number of
    /// times.
    pub rows: u64,
    /// The first of these rows.
    pub examples: Vec<RowDifference>,
}

/// A row that is missing, superfluous, or there the wrong number of times.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowDifference {
    /// The columns of the row with their values.
    pub values: Vec<(String, Value)>,
    /// The number of times that readers see the row.
    pub found: u64,
    /// The number of times that the row is there when the read model is built from the log.
    pub expected: u64,
}

impl ContentsVerification {
    pub(in crate::system) fn new(name: Name) -> Self {
        Self {
            name,
            position: Position::ZERO,
            events: 0,
            rows: 0,
            differences: Vec::new(),
            unchecked: None,
        }
    }

    /// Returns `true` if the read model was compared and no row differs.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.unchecked.is_none()
    }
}

impl fmt::Display for ContentsVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            position,
            events,
            rows,
            differences,
            unchecked,
        } = self;
        write!(
            f,
            "{name}: {rows} rows of {events} events up to position {position}: "
        )?;
        match unchecked {
            Some(why) => write!(f, "not compared: {why}"),
            None if differences.is_empty() => f.write_str("as built from the log"),
            None => f.write_str("not as built from the log"),
        }?;
        differences
            .iter()
            .try_for_each(|difference| write!(f, "\n{name}, {difference}"))
    }
}

impl fmt::Display for TableDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            rows,
            examples,
        } = self;
        let plural = if *rows == 1 { "" } else { "s" };
        write!(f, "table {table}, {rows} row{plural}:")?;
        examples
            .iter()
            .try_for_each(|example| write!(f, "\n  {example}"))?;
        match *rows as usize - examples.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self
            .values
            .iter()
            .map(|(column, value)| format!("{column}={}", Shown(value)));
        write!(f, "{}: ", values.collect::<Vec<_>>().join(" "))?;
        match (self.found, self.expected) {
            (0, 1) => f.write_str("is missing"),
            (1, 0) => f.write_str("should not be there"),
            (found, expected) => write!(f, "is there {found} times instead of {expected}"),
        }
    }
}

/// A value as people read it: long texts shortened, bytes counted.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("NULL"),
            Value::Integer(number) => number.fmt(f),
            Value::Real(number) => number.fmt(f),
            Value::Text(text) if text.chars().count() > VALUE_CHARACTERS_MAX => {
                write!(
                    f,
                    "{:?}…",
                    text.chars().take(VALUE_CHARACTERS_MAX).collect::<String>()
                )
            }
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Blob(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}
