//! Checks of `#[event]` on the parsed model. The stored form outlives the program, so it must not depend on the build.

use std::collections::HashSet;

use syn::{Attribute, Ident, ItemEnum};

use super::model::{EventItem, EventType, Events};
use crate::errors::Errors;
use crate::messages;
use crate::options::foreign_keys;

/// Options of serde with which an enum is not written as a variant with fields.
const SERDE_ENUM_REFUSED: &[&str] = &[
    "tag",
    "content",
    "untagged",
    "from",
    "try_from",
    "into",
    "remote",
    "transparent",
    "variant_identifier",
    "field_identifier",
];

/// Options of serde with which variants are counted differently or their fields are not written.
const SERDE_VARIANT_REFUSED: &[&str] = &[
    "skip",
    "skip_serializing",
    "skip_deserializing",
    "other",
    "untagged",
    "with",
    "serialize_with",
    "deserialize_with",
];

impl Events {
    pub(super) fn check(&self, errors: &mut Errors) {
        self.check_is_not_generic(errors);
        if let EventItem::Enum(item) = &self.item {
            check_has_variants(item, errors);
            check_serde(
                &item.ident,
                &item.attrs,
                SERDE_ENUM_REFUSED,
                |i, key| messages::event_serde_enum(i, key),
                errors,
            );
        }
        self.check_variants(errors);
    }

    /// Checks the variants only. An enum that was written for an `impl` block needs no other checks.
    pub(super) fn check_variants(&self, errors: &mut Errors) {
        for event in &self.types {
            check_is_in_every_build(event, errors);
            check_serde(
                &event.ident,
                &event.attributes,
                SERDE_VARIANT_REFUSED,
                |i, key| messages::event_serde_variant(i, key),
                errors,
            );
        }
        self.check_names_differ(errors);
        self.check_legacy(errors);
        self.schema.iter().for_each(|schema| schema.check(errors));
    }

    /// Reports type parameters: the stored name would stand for several types.
    fn check_is_not_generic(&self, errors: &mut Errors) {
        if !self.generics().params.is_empty() {
            errors.report(self.generics(), messages::event_generic(self.ident()));
        }
    }

    /// Reports stored names given twice: the name alone selects the variant.
    fn check_names_differ(&self, errors: &mut Errors) {
        let mut seen = HashSet::new();
        for event in &self.types {
            if !seen.insert(event.name.value()) {
                errors.report(
                    &event.name,
                    messages::repeated_event_name(event.name.value()),
                );
            }
        }
    }
}

/// Reports enums without variants: no event could create an aggregate.
fn check_has_variants(item: &ItemEnum, errors: &mut Errors) {
    if item.variants.is_empty() {
        errors.report(&item.ident, messages::event_enum_empty(&item.ident));
    }
}

/// Reports conditional compilation: other builds could not read what this one has stored.
fn check_is_in_every_build(event: &EventType, errors: &mut Errors) {
    if let Some(cfg) = conditional(&event.attributes) {
        errors.report(cfg, messages::event_cfg(&event.ident));
    }
}

fn check_serde(
    ident: &Ident,
    attributes: &[Attribute],
    refused: &[&str],
    message: fn(&Ident, &Ident) -> String,
    errors: &mut Errors,
) {
    let keys = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
        .flat_map(foreign_keys);
    for key in keys.filter(|key| refused.iter().any(|refused| key == refused)) {
        errors.report(&key, message(ident, &key));
    }
}

/// Returns the attribute that keeps an item out of some builds.
pub(super) fn conditional(attributes: &[Attribute]) -> Option<&Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr"))
}
