//! Schemas of values as they are stored, for the lock on events.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema of an amount. Amounts are stored as text, so that no reader turns them into binary fractions.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": r"^-?\d+\.\d\d$", "examples": ["20.00"] })
}
