//! Reads the struct or enum and its `#[aggregate(…)]` into the model.

use proc_macro2::Literal;
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Fields, LitInt, LitStr};

use super::model::Aggregate;
use crate::errors::Errors;
use crate::fingerprint::Fingerprint;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use crate::stored_name::{check_is_free, check_stored_name, owner_name};

const OPTIONS: &[&str] = &[
    "name",
    "former_names",
    "next_name",
    "event",
    "snapshot",
    "snapshot_version",
    "crate",
];

impl Aggregate {
    pub(super) fn parse(input: DeriveInput, errors: &mut Errors) -> Self {
        let options = Options::of_attributes("aggregate", &input.attrs, OPTIONS, errors);
        let chosen = options.text("name", "name = \"Account\"", errors);
        let former_names: Vec<LitStr> =
            options.list("former_names", "former_names(\"Account\")", errors);
        let next_name = options.text("next_name", "next_name = \"Account\"", errors);
        former_names
            .iter()
            .chain(&next_name)
            .for_each(|name| check_stored_name(name, errors));
        next_name
            .iter()
            .for_each(|name| check_is_free(name, errors));
        let event = options.path("event", "event = AccountEvent", errors);
        let snapshot_version = options.version("snapshot_version", "snapshot_version = 2", errors);
        Self {
            runtime: RuntimePath::parse(&options, errors),
            name: owner_name(chosen, &input.ident, errors),
            former_names,
            next_name,
            event: event.unwrap_or_else(|| format_ident!("{}Event", input.ident.unraw()).into()),
            snapshot: options.expr("snapshot", "snapshot = every(50)", errors),
            shape: shape(&input, snapshot_version.unwrap_or(1)),
            input,
        }
    }
}

fn shape(input: &DeriveInput, snapshot_version: u16) -> LitInt {
    let mut shape = Fingerprint::new();
    shape.add(Literal::u16_unsuffixed(snapshot_version));
    add_serde(&mut shape, &input.attrs);
    match &input.data {
        Data::Struct(data) => add_fields(&mut shape, &data.fields),
        Data::Enum(data) => {
            for variant in &data.variants {
                add_serde(&mut shape, &variant.attrs);
                shape.add(&variant.ident);
                add_fields(&mut shape, &variant.fields);
            }
        }
        Data::Union(_) => {}
    }
    shape.finish()
}

fn add_fields(shape: &mut Fingerprint, fields: &Fields) {
    for field in fields {
        add_serde(shape, &field.attrs);
        shape.add(&field.ident);
        shape.add(&field.ty);
    }
}

fn add_serde(shape: &mut Fingerprint, attributes: &[Attribute]) {
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
    {
        shape.add(&attribute.meta);
    }
}
