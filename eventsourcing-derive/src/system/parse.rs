//! Reads the struct and its attributes into the model.

use syn::{Attribute, Data, DeriveInput, Field, Fields};

use super::model::{Part, Role, System, Target};
use crate::errors::Errors;
use crate::messages;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use crate::stored_name::{owner_name, stored_name};

impl System {
    pub(super) fn parse(input: DeriveInput, errors: &mut Errors) -> Self {
        let options =
            Options::of_attributes("system", &input.attrs, &["name", "schema", "crate"], errors);
        let chosen = options.text("name", "name = \"Bank\"", errors);
        let schema = options.written_word("schema", errors);
        let runtime = RuntimePath::parse(&options, errors);
        let name = stored_name(chosen, &input.ident, errors);

        let mut system = Self {
            runtime,
            name,
            schema,
            parts: Vec::new(),
            incomplete: Vec::new(),
            input,
        };
        for field in fields(&system.input, errors) {
            match Part::parse(&field, errors) {
                Some(part) => system.parts.push(part),
                None => system.incomplete.extend(field.ident),
            }
        }
        system
    }
}

fn fields(input: &DeriveInput, errors: &mut Errors) -> Vec<Field> {
    if let Data::Struct(data) = &input.data
        && matches!(data.fields, Fields::Named(_))
    {
        return data.fields.iter().cloned().collect();
    }
    errors.report(&input.ident, messages::system_not_a_struct(&input.ident));
    Vec::new()
}

impl Part {
    /// Returns `None` if the field has no role, which has been reported.
    fn parse(field: &Field, errors: &mut Errors) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        match &*roles(field) {
            [] => errors.report(ident, messages::field_without_role(ident)),
            [role] if role.path().is_ident("application") => {
                return Some(Self::application(field, errors));
            }
            [_] => return Some(Self::projection(field, errors)),
            [_, second, ..] => errors.report(second, messages::field_with_two_roles(ident)),
        }
        None
    }

    fn application(field: &Field, errors: &mut Errors) -> Self {
        let reported = errors.count();
        let known = ["name", "aggregates", "follows", "timers"];
        let options = Options::of_attributes("application", &field.attrs, &known, errors);
        let aggregates = options.list("aggregates", "aggregates(Account, Ledger)", errors);
        let timers = options.written_word("timers", errors);
        Self::new(
            field,
            &options,
            Role::Application { aggregates, timers },
            reported,
            errors,
        )
    }

    fn projection(field: &Field, errors: &mut Errors) -> Self {
        let reported = errors.count();
        let known = ["name", "sql", "foreign", "follows"];
        let options = Options::of_attributes("projection", &field.attrs, &known, errors);
        let target = match (options.word("sql", errors), options.word("foreign", errors)) {
            (false, false) => Target::Memory,
            (true, false) => Target::Sql,
            (false, true) => Target::Foreign,
            (true, true) => {
                errors.report(
                    &field.ident,
                    messages::projection_of_two_kinds(field.ident.as_ref().expect("named")),
                );
                Target::Sql
            }
        };
        Self::new(field, &options, Role::Projection(target), reported, errors)
    }

    fn new(
        field: &Field,
        options: &Options,
        role: Role,
        reported: usize,
        errors: &mut Errors,
    ) -> Self {
        let ident = field.ident.clone().expect("only named fields are parsed");
        let chosen = options.text("name", "name = \"accounts\"", errors);
        Self {
            name: owner_name(chosen, &ident, errors),
            follows: options.list("follows", "follows(accounts: Account)", errors),
            field: ident,
            ty: field.ty.clone(),
            role,
            incomplete: errors.count() > reported,
        }
    }
}

fn roles(field: &Field) -> Vec<&Attribute> {
    let is_role = |attribute: &&Attribute| {
        attribute.path().is_ident("application") || attribute.path().is_ident("projection")
    };
    field.attrs.iter().filter(is_role).collect()
}
