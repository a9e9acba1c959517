//! Reads the `impl` block and its options into the model.

use proc_macro2::{Span, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, Type, parse_quote};

use super::super::legacy::RemovedEvents;
use super::fields::without_self;
use super::model::{Block, Field, Method};
use crate::errors::Errors;
use crate::messages;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use crate::source_text::source_text;

const BLOCK_OPTIONS: &[&str] = &["enum", "split", "retired", "schema", "crate"];

impl Block {
    /// Returns the block, the removed events, and the option `schema`.
    pub(super) fn parse(
        arguments: TokenStream,
        mut item: ItemImpl,
        errors: &mut Errors,
    ) -> (Self, RemovedEvents, Option<Ident>) {
        let options = Options::of_arguments("event", arguments, BLOCK_OPTIONS, errors);
        let schema = options.written_word("schema", errors);
        let removed = RemovedEvents::parse(&options, errors);
        let runtime = RuntimePath::parse(&options, errors);
        let aggregate = name_of(&item.self_ty, errors);
        let events = options.ident("enum", "enum = AccountEvent", errors);
        let methods = item.items.iter_mut().filter_map(|inner| match inner {
            ImplItem::Fn(method) => Some(Method::parse(method, &item.self_ty, errors)),
            _ => None,
        });
        let methods = methods.collect();
        item.attrs.push(lints());
        let events = events.unwrap_or_else(|| format_ident!("{}Event", aggregate.unraw()));
        (
            Self {
                runtime,
                methods,
                events,
                aggregate,
                item,
            },
            removed,
            schema,
        )
    }
}

impl Method {
    fn parse(method: &mut ImplItemFn, aggregate: &Type, errors: &mut Errors) -> Self {
        let attributes = method.attrs.clone();
        method
            .attrs
            .retain(|attribute| !belongs_to_variant(attribute) || is_documentation(attribute));
        let inputs = method.sig.inputs.iter_mut();
        let fields = inputs
            .filter_map(|input| Field::parse(input, aggregate))
            .collect();
        let signature = method.sig.clone();
        method.sig.variadic = None; // The checks report it, and the compiler must not report it again.
        Self {
            signature,
            body: method.block.clone(),
            variant_attributes: attributes
                .iter()
                .filter(|attribute| belongs_to_variant(attribute))
                .cloned()
                .collect(),
            attributes,
            variant: variant_of(&method.sig.ident, errors),
            fields,
        }
    }
}

impl Field {
    /// Reads a parameter, and allows it to be unused: a field of an event need not matter to the state.
    ///
    /// Returns `None` if the parameter has no name, which the checks report.
    fn parse(input: &mut FnArg, aggregate: &Type) -> Option<Self> {
        let FnArg::Typed(parameter) = input else {
            return None;
        };
        let Pat::Ident(pattern) = &*parameter.pat else {
            return None;
        };
        let moves = |attribute: &Attribute| is_of_storage(attribute) || is_documentation(attribute);
        let (attributes, kept) = parameter.attrs.drain(..).partition(moves);
        parameter.attrs = kept;
        parameter
            .attrs
            .push(parse_quote!(#[allow(unused_variables)]));
        let ident = without_underscores(&pattern.ident);
        Some(Self {
            attributes,
            ident,
            ty: without_self(&parameter.ty, aggregate),
        })
    }
}

/// Returns the name of the field: that of the parameter without leading underscores, which only mark it as unused.
fn without_underscores(parameter: &Ident) -> Ident {
    match syn::parse_str::<Ident>(parameter.to_string().trim_start_matches('_')) {
        Ok(mut field) => {
            field.set_span(parameter.span());
            field
        }
        Err(_) => parameter.clone(),
    }
}

/// Returns the lints that are allowed in the block, because the form of an event's method is fixed.
fn lints() -> Attribute {
    parse_quote!(#[allow(
        clippy::boxed_local,
        clippy::missing_const_for_fn,
        clippy::needless_pass_by_ref_mut,
        clippy::needless_pass_by_value,
        clippy::unused_self
    )])
}

fn belongs_to_variant(attribute: &Attribute) -> bool {
    attribute.path().is_ident("event") || is_of_storage(attribute) || is_documentation(attribute)
}

/// Returns `true` if the attribute says how a field is stored or described.
fn is_of_storage(attribute: &Attribute) -> bool {
    attribute.path().is_ident("serde") || attribute.path().is_ident("schemars")
}

pub(super) fn is_documentation(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

fn name_of(self_ty: &Type, errors: &mut Errors) -> Ident {
    if let Type::Path(path) = self_ty
        && let Some(last) = path.path.segments.last()
    {
        return last.ident.clone();
    }
    errors.report(self_ty, messages::block_type(source_text(self_ty)));
    Ident::new("Aggregate", Span::call_site())
}

/// Returns the variant of a method: `AmountCredited` for `amount_credited`.
fn variant_of(method: &Ident, errors: &mut Errors) -> Ident {
    let method = method.unraw();
    let name: String = method.to_string().split('_').map(capitalised).collect();
    match syn::parse_str::<Ident>(&name) {
        Ok(mut variant) => {
            variant.set_span(method.span());
            variant
        }
        Err(_) => {
            errors.report(&method, messages::variant_unnameable(&method));
            method
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
