//! [`ContentsVerification`]: the rows of a read model that are not what comes of the log.

use std::fmt;

use crate::sql::Value;
use crate::store::{Name, Position};

/// How much of a value is shown, in characters.
const VALUE_CHARACTERS_MAX: usize = 60;

/// Whether what readers see is what comes of the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContentsVerification {
    /// The read model.
    pub name: Name,
    /// Where it was compared; in several logs the sum.
    pub position: Position,
    /// How many events it was built from.
    pub events: u64,
    /// How many rows readers see.
    pub rows: u64,
    /// The tables that are not what they should be.
    pub differences: Vec<TableDifference>,
    /// Why nothing can be said about it.
    pub unchecked: Option<String>,
}

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

    /// Whether it was compared and is what comes of the log.
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

/// A value, for people.
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
