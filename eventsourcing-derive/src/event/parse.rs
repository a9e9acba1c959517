//! Reads the enum or struct and its options into the model.

use syn::{Attribute, Ident, ItemEnum, ItemStruct, Variant};

use super::legacy::{RemovedEvents, Upcast};
use super::model::{EventItem, EventType, Events};
use super::schema::Schema;
use crate::errors::Errors;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use crate::stored_name::{check_stored_name, stored_name};

const VARIANT_OPTIONS: &[&str] = &["name", "former_names", "version", "upcast"];

impl Events {
    pub(super) fn of_enum(
        mut item: ItemEnum,
        runtime: RuntimePath,
        removed: RemovedEvents,
        schema: Option<Ident>,
        errors: &mut Errors,
    ) -> Self {
        let types = EventType::of_variants(&mut item, errors);
        let schema = Schema::of_enum(&mut item, schema);
        Self {
            runtime,
            item: EventItem::Enum(item),
            types,
            removed,
            schema,
        }
    }

    /// Reads the enum that was written for an `impl` block.
    pub(super) fn of_block(
        mut item: ItemEnum,
        runtime: RuntimePath,
        removed: RemovedEvents,
        schema: Option<Ident>,
        errors: &mut Errors,
    ) -> Self {
        let types = EventType::of_variants(&mut item, errors);
        let schema = Schema::of_enum(&mut item, schema);
        Self {
            runtime,
            item: EventItem::Block(item),
            types,
            removed,
            schema,
        }
    }

    pub(super) fn of_struct(mut item: ItemStruct, options: &Options, errors: &mut Errors) -> Self {
        let runtime = RuntimePath::parse(options, errors);
        let removed = RemovedEvents::parse(options, errors);

        let types = vec![EventType::new(&item.ident, Vec::new(), options, errors)];
        let schema = Schema::of_struct(&mut item, options.written_word("schema", errors));
        Self {
            runtime,
            item: EventItem::Struct(item),
            types,
            removed,
            schema,
        }
    }
}

impl EventType {
    fn of_variants(item: &mut ItemEnum, errors: &mut Errors) -> Vec<Self> {
        item.variants
            .iter_mut()
            .map(|variant| Self::of_variant(variant, errors))
            .collect()
    }

    fn of_variant(variant: &mut Variant, errors: &mut Errors) -> Self {
        let reported = errors.count();
        let options = Options::of_attributes("event", &variant.attrs, VARIANT_OPTIONS, errors);
        variant
            .attrs
            .retain(|attribute| !attribute.path().is_ident("event"));
        let event = Self::new(&variant.ident, variant.attrs.clone(), &options, errors);
        Self {
            is_incomplete: errors.count() > reported,
            ..event
        }
    }

    fn new(
        ident: &syn::Ident,
        attributes: Vec<Attribute>,
        options: &Options,
        errors: &mut Errors,
    ) -> Self {
        let reported = errors.count();
        let chosen = options.text("name", "name = \"Opened\"", errors);
        let version = options.version("version", "version = 2", errors);
        let former_names: Vec<_> =
            options.list("former_names", "former_names(\"Credited\")", errors);
        former_names
            .iter()
            .for_each(|name| check_stored_name(name, errors));
        Self {
            ident: ident.clone(),
            attributes,
            name: stored_name(chosen, ident, errors),
            version: version.unwrap_or(1),
            former_names,
            upcasts: Upcast::parse_all(options, errors),
            is_incomplete: errors.count() > reported,
        }
    }
}
