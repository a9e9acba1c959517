//! From the `impl` block and its options to the model.

use proc_macro2::{Span, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, Type, parse_quote};

use super::super::former::RemovedEvents;
use super::fields::without_self;
use super::model::{Block, Field, Method};
use crate::errors::Errors;
use crate::messages;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use crate::source_text::source_text;

const BLOCK_OPTIONS: &[&str] = &["enum", "split", "retired", "schema", "crate"];

impl Block {
    /// The block, what its events have been stored as besides, and the wish for a schema.
    pub(super) fn parse(
        arguments: TokenStream,
        mut item: ItemImpl,
        errors: &mut Errors,
    ) -> (Self, RemovedEvents, Option<Ident>) {
        let options = Options::of_arguments("event", arguments, BLOCK_OPTIONS, errors);
        let schema = options.written_word("schema", errors);
        let gone = RemovedEvents::parse(&options, errors);
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
            gone,
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
        method.sig.variadic = None; // Reported, and the compiler shall not report it again.
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
    /// What an event carries need not matter to the state, so a parameter may be unused.
    ///
    /// `None`: not a parameter with a name, which is reported elsewhere.
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

/// A parameter that the method's body does not use may begin with an underscore; the field it names does not.
fn without_underscores(parameter: &Ident) -> Ident {
    match syn::parse_str::<Ident>(parameter.to_string().trim_start_matches('_')) {
        Ok(mut field) => {
            field.set_span(parameter.span());
            field
        }
        Err(_) => parameter.clone(),
    }
}

/// What clippy would have otherwise is not for a method to choose that is an event.
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

/// Whether it says how a field is stored, or what that looks like.
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

/// `amount_credited` is the event `AmountCredited`.
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
