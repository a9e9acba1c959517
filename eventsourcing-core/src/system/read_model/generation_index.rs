//! [`GenerationIndex`]: the stored list of the generations of a read model, and the tables and
//! views of each [`Generation`].

use serde::{Deserialize, Serialize};

use crate::Table;
use crate::projection::{quoted, table_of};
use crate::store::StoreError;

/// One generation: a set of tables, and a follower of its own that fills them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generation {
    /// The number of the generation, from 1.
    pub(crate) number: u64,
    /// The version of the read model that fills its tables.
    pub(crate) version: u32,
    /// The tables of that version, by the names that readers use.
    pub(super) tables: Vec<String>,
}

/// The stored list of the generations of a read model. The field names are part of the storage
/// format.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GenerationIndex {
    /// The generation that readers see.
    #[serde(rename = "shown")]
    pub(crate) live: Option<Generation>,
    /// The generation that is being built.
    pub(crate) building: Option<Generation>,
    /// The generation that is built to be compared with the live one, and then removed.
    #[serde(rename = "checking", default, skip_serializing_if = "Option::is_none")]
    pub(crate) verifying: Option<Generation>,
}

impl GenerationIndex {
    /// Reads the index from the text of its note.
    pub(super) fn read(note: &str) -> Result<Self, StoreError> {
        serde_json::from_str(note).map_err(|error| {
            StoreError::corrupt(format!("the generations of a read model, {note:?}"), error)
        })
    }

    /// Returns the largest number of the existing generations.
    pub(super) fn newest(&self) -> u64 {
        let Self {
            live,
            building,
            verifying,
        } = self;
        live.iter()
            .chain(building)
            .chain(verifying)
            .map(|generation| generation.number)
            .max()
            .unwrap_or_default()
    }
}

impl Generation {
    /// Returns `true` if its tables have the names of these.
    pub(crate) fn has_tables(&self, tables: &[Table]) -> bool {
        self.tables
            .iter()
            .map(String::as_str)
            .eq(tables.iter().map(|table| table.name))
    }

    /// Returns the statements that make the generation visible to readers.
    pub(super) fn publishing(&self) -> impl Iterator<Item = String> {
        let view = |table| {
            format!(
                "CREATE VIEW {} AS SELECT * FROM {}",
                quoted(table),
                quoted(&table_of(table, self.number))
            )
        };
        self.tables.iter().map(move |table| view(table))
    }

    /// Returns the statements that hide the generation. The same transaction makes another one
    /// visible.
    pub(super) fn unpublishing(&self) -> impl Iterator<Item = String> {
        self.tables
            .iter()
            .map(|table| format!("DROP VIEW {}", quoted(table)))
    }

    pub(super) fn removal(&self) -> impl Iterator<Item = String> {
        self.tables
            .iter()
            .map(|table| format!("DROP TABLE {}", quoted(&table_of(table, self.number))))
    }
}
