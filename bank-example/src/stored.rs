//! What values look like where they are stored: for the lock on events.

use schemars::{Schema, SchemaGenerator, json_schema};

/// An amount is a text, so that no reader makes a binary fraction of it.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": r"^-?\d+\.\d\d$", "examples": ["20.00"] })
}
