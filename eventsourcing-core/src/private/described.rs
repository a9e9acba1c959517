//! The schema of a field for `#[event(schema)]`, and a fallback that keeps the error message single
//! if a field has none.

use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A field with a schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a field of an event with a schema, but nothing says what it looks like when it is stored",
    label = "derive `schemars::JsonSchema` for `{Self}`",
    note = "a type from elsewhere may have it with a feature of `schemars`; or write `#[schemars(with = \"String\")]` before the field"
)]
pub trait DescribedField {
    /// Requires the trait of the field.
    fn is_described() {}
}

#[diagnostic::do_not_recommend]
impl<T: JsonSchema> DescribedField for T {}

/// The payload of an event. Its inherent function exists if every field has a schema.
#[derive(Debug)]
pub struct PayloadOf<T>(PhantomData<T>);

impl<T: JsonSchema> PayloadOf<T> {
    /// Returns the schema of the payload.
    pub fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The same function for a payload with a field that has no schema. It is never called: the
/// expansion that names it does not compile.
pub trait Undescribed {
    fn schema(_: &mut SchemaGenerator) -> Schema {
        unreachable!("a field has no schema, so this program does not compile")
    }
}

impl<T> Undescribed for PayloadOf<T> {}
