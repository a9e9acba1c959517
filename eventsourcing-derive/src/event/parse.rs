//! From the enum or struct and its options to the model.

use syn::{Attribute, ItemEnum, ItemStruct, Variant};

use super::model::{EventItem, EventType, Events};
use crate::errors::Errors;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use crate::stored_name::stored_name;

const VARIANT_OPTIONS: &[&str] = &["name", "version"];

impl Events {
    pub(super) fn of_enum(mut item: ItemEnum, runtime: RuntimePath, errors: &mut Errors) -> Self {
        let types = EventType::of_variants(&mut item, errors);
        Self { runtime, item: EventItem::Enum(item), types }
    }

    /// Of the enum that the block form writes.
    pub(super) fn of_block(mut item: ItemEnum, runtime: RuntimePath, errors: &mut Errors) -> Self {
        let types = EventType::of_variants(&mut item, errors);
        Self { runtime, item: EventItem::Block(item), types }
    }

    pub(super) fn of_struct(item: ItemStruct, options: &Options, errors: &mut Errors) -> Self {
        let runtime = RuntimePath::parse(options, errors);
        let types = vec![EventType::new(&item.ident, Vec::new(), options, errors)];
        Self { runtime, item: EventItem::Struct(item), types }
    }
}

impl EventType {
    fn of_variants(item: &mut ItemEnum, errors: &mut Errors) -> Vec<Self> {
        item.variants.iter_mut().map(|variant| Self::of_variant(variant, errors)).collect()
    }

    fn of_variant(variant: &mut Variant, errors: &mut Errors) -> Self {
        let options = Options::of_attributes("event", &variant.attrs, VARIANT_OPTIONS, errors);
        variant.attrs.retain(|attribute| !attribute.path().is_ident("event"));
        Self::new(&variant.ident, variant.attrs.clone(), &options, errors)
    }

    fn new(ident: &syn::Ident, attributes: Vec<Attribute>, options: &Options, errors: &mut Errors) -> Self {
        let chosen = options.text("name", "name = \"Opened\"", errors);
        let version = options.version("version", "version = 2", errors);
        let name = stored_name(chosen, ident, errors);
        Self { ident: ident.clone(), attributes, name, version: version.unwrap_or(1) }
    }
}
