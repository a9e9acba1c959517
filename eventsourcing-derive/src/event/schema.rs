//! `#[event(schema)]`: implements `DescribedEvent`, which describes the stored form of events.
//!
//! For each event the expansion has a struct that is never constructed, with the fields of the event and their attributes for
//! serde and schemars. Schemars describes that struct. Its implementation is conditional, so that a field without
//! `JsonSchema` is reported once, at the requirement of the expansion.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Field, Fields, Ident, ItemEnum, ItemStruct, LitStr, Meta, Token, Type, parse_quote,
};

use super::block::{distinct, is_generated, named_types, without_self};
use super::model::Events;
use crate::errors::Errors;
use crate::messages;
use crate::options::foreign_keys;
use crate::runtime_path::RuntimePath;
use crate::source_text::source_text;

/// Options of serde about trait bounds, which schemars does not need.
const NOT_OF_SCHEMA: &[&str] = &["bound", "crate"];

/// Options of serde with which the type of a field does not say how it is stored.
const STORED_OTHERWISE: &[&str] = &["with", "serialize_with", "deserialize_with"];

/// Options of serde with which the field is in no payload.
const NOT_STORED: &[&str] = &["skip", "skip_deserializing"];

/// Options of schemars with which it does not need the type's schema.
const DESCRIBED_OTHERWISE: &[&str] = &["with", "schema_with"];

/// The option `schema` and the payloads to describe.
pub(super) struct Schema {
    /// The word `schema`.
    at: Ident,
    payloads: Vec<Payload>,
}

/// The fields of one event.
struct Payload {
    attributes: Vec<Attribute>,
    fields: Fields,
}

impl Schema {
    /// Reads the payloads of an enum and removes its attributes for schemars, unless the enum derives `JsonSchema` itself: without
    /// that derive the compiler does not know them.
    pub(super) fn of_enum(item: &mut ItemEnum, at: Option<Ident>) -> Option<Self> {
        let at = at?;
        let payloads = item.variants.iter().map(|variant| Payload {
            attributes: attributes_of_variant(&item.attrs, &variant.attrs),
            fields: variant.fields.clone(),
        });
        let payloads = payloads.collect();
        if !derives_schema(&item.attrs) {
            for variant in &mut item.variants {
                without_schemars(&mut variant.attrs);
                variant
                    .fields
                    .iter_mut()
                    .for_each(|field| without_schemars(&mut field.attrs));
            }
        }
        Some(Self { at, payloads })
    }

    /// Reads the payload of a struct and removes its attributes for schemars, unless the struct derives `JsonSchema` itself.
    pub(super) fn of_struct(item: &mut ItemStruct, at: Option<Ident>) -> Option<Self> {
        let at = at?;
        let attributes = item.attrs.iter().filter_map(schema_attribute).collect();
        let payload = Payload {
            attributes,
            fields: item.fields.clone(),
        };
        if !derives_schema(&item.attrs) {
            without_schemars(&mut item.attrs);
            item.fields
                .iter_mut()
                .for_each(|field| without_schemars(&mut field.attrs));
        }
        Some(Self {
            at,
            payloads: vec![payload],
        })
    }

    /// Reports fields that are stored `with` a module of the user and not described by the user: nothing else knows their form.
    pub(super) fn check(&self, errors: &mut Errors) {
        for field in self.payloads.iter().flat_map(|payload| &payload.fields) {
            let key = keys(field, "serde")
                .into_iter()
                .find(|key| is_any(key, STORED_OTHERWISE));
            if let Some(key) = key.filter(|_| !has(field, "schemars", DESCRIBED_OTHERWISE)) {
                errors.report(&key, messages::field_stored_otherwise(&key));
            }
        }
    }
}

/// Returns the attributes for serde of the variant and of all variants, in the form for a struct.
fn attributes_of_variant(of_enum: &[Attribute], of_variant: &[Attribute]) -> Vec<Attribute> {
    let own: Vec<_> = of_variant.iter().filter_map(schema_attribute).collect();
    let renames_itself = of_variant
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"));
    let renames_itself = renames_itself
        .flat_map(foreign_keys)
        .any(|key| key == "rename_all");
    let inherited = of_enum
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
        .flat_map(metas);
    let inherited =
        inherited.filter_map(|meta| match meta.path().get_ident()?.to_string().as_str() {
            "rename_all_fields" if !renames_itself => Some(renamed(meta)),
            "deny_unknown_fields" => Some(meta),
            _ => None,
        });
    let inherited: Vec<_> = inherited.collect();
    let inherited: Option<Attribute> =
        (!inherited.is_empty()).then(|| parse_quote!(#[serde(#(#inherited),*)]));
    own.into_iter().chain(inherited).collect()
}

/// Turns `rename_all_fields` of an enum into `rename_all` of a struct.
fn renamed(mut meta: Meta) -> Meta {
    let path = parse_quote!(rename_all);
    match &mut meta {
        Meta::Path(old) => *old = path,
        Meta::List(list) => list.path = path,
        Meta::NameValue(value) => value.path = path,
    }
    meta
}

/// Returns the parts of an attribute that matter to the schema of a variant or struct.
fn schema_attribute(attribute: &Attribute) -> Option<Attribute> {
    match attribute.path().get_ident()?.to_string().as_str() {
        "doc" | "schemars" => (!is_generated(attribute)).then(|| attribute.clone()),
        "serde" => only(attribute, |key| {
            [
                "rename_all",
                "deny_unknown_fields",
                "transparent",
                "default",
            ]
            .contains(&key)
        }),
        _ => None,
    }
}

/// Returns the parts of an attribute that matter to the schema of a field.
fn field_schema_attribute(attribute: &Attribute) -> Option<Attribute> {
    match attribute.path().get_ident()?.to_string().as_str() {
        "doc" | "schemars" => (!is_generated(attribute)).then(|| attribute.clone()),
        "serde" => only(attribute, |key| {
            !NOT_OF_SCHEMA.contains(&key) && !STORED_OTHERWISE.contains(&key)
        }),
        _ => None,
    }
}

fn only(attribute: &Attribute, keep: impl Fn(&str) -> bool) -> Option<Attribute> {
    let kept = metas(attribute).into_iter().filter(|meta| {
        meta.path()
            .get_ident()
            .is_some_and(|key| keep(&key.to_string()))
    });
    let kept: Vec<_> = kept.collect();
    (!kept.is_empty()).then(|| parse_quote!(#[serde(#(#kept),*)]))
}

/// Returns the entries of an attribute of serde. An attribute that cannot be read is left for serde to report.
fn metas(attribute: &Attribute) -> Vec<Meta> {
    let metas = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    metas.into_iter().flatten().collect()
}

fn derives_schema(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("derive") && source_text(attribute).contains("JsonSchema")
    })
}

fn without_schemars(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| !attribute.path().is_ident("schemars"));
}

fn keys(field: &Field, attribute: &str) -> Vec<Ident> {
    field
        .attrs
        .iter()
        .filter(|written| written.path().is_ident(attribute))
        .flat_map(foreign_keys)
        .collect()
}

fn has(field: &Field, attribute: &str, known: &[&str]) -> bool {
    keys(field, attribute).iter().any(|key| is_any(key, known))
}

fn is_any(key: &Ident, known: &[&str]) -> bool {
    known.iter().any(|known| key == known)
}

/// Returns `true` if the schema of the field is that of its type.
fn is_described_by_its_type(field: &Field) -> bool {
    !has(field, "serde", NOT_STORED) && !has(field, "schemars", DESCRIBED_OTHERWISE)
}

impl Events {
    /// Expands to the `impl DescribedEvent`; `None` without the option `schema`.
    pub(super) fn description(&self) -> Option<TokenStream> {
        let schema = self.schema.as_ref()?;
        let runtime = &self.runtime;
        let ident = self.ident();

        let names: Vec<_> = (0..schema.payloads.len())
            .map(|index| format_ident!("__Payload{index}"))
            .collect();
        let payloads = schema
            .payloads
            .iter()
            .zip(&names)
            .map(|(payload, name)| payload.expand(name, self));
        let indices = 0..names.len();
        let requirements = schema.requirements(self);
        let implementation = quote! {
            const _: () = {
                use ::core::convert::Into as _; // Schemars counts on the prelude.

                #(#payloads)*

                #[automatically_derived]
                impl #runtime::schema::DescribedEvent for #ident {
                    fn payload_schema(
                        index: usize,
                        generator: &mut #runtime::schema::SchemaGenerator,
                    ) -> #runtime::schema::Schema {
                        use #runtime::private::Undescribed as _;
                        match index {
                            #(#indices => #runtime::private::PayloadOf::<#names<true>>::schema(generator),)*
                            _ => ::core::unreachable!(),
                        }
                    }
                }
                #requirements
            };
        };
        Some(schema.if_enabled(runtime, &implementation))
    }

    /// Expands to an implementation without function, for the stub after mistakes.
    pub(super) fn stub_description(&self) -> Option<TokenStream> {
        let schema = self.schema.as_ref()?;
        let runtime = &self.runtime;
        let ident = self.ident();

        let (impl_generics, type_generics, _) = self.generics().split_for_impl();
        let implementation = quote! {
            impl #impl_generics #runtime::schema::DescribedEvent for #ident #type_generics
            where
                Self: ::core::marker::Send + ::core::marker::Sync + 'static
            {
                fn payload_schema(_: usize, _: &mut #runtime::schema::SchemaGenerator) -> #runtime::schema::Schema {
                    ::core::unreachable!()
                }
            }
        };
        Some(schema.if_enabled(runtime, &implementation))
    }
}

impl Schema {
    /// Wraps the implementation in the runtime's macro `described!`, because only the runtime knows if its feature is on; otherwise
    /// that macro reports what to enable.
    fn if_enabled(&self, runtime: &RuntimePath, implementation: &TokenStream) -> TokenStream {
        let span = Span::call_site().located_at(self.at.span());
        let located = runtime.located_at(self.at.span());
        quote_spanned!(span=> #located::private::described! { #implementation })
    }

    /// Expands to a constant that compiles only if every field can be described.
    fn requirements(&self, events: &Events) -> Option<TokenStream> {
        let types: Vec<_> = self
            .payloads
            .iter()
            .flat_map(|payload| payload.described_types(events))
            .collect();
        let named = distinct(types.iter().flat_map(named_types));
        let asked = named.iter().map(|ty| {
            let located = events.runtime.located_at(ty.span());
            quote_spanned!(ty.span()=> <#ty as #located::private::DescribedField>::is_described())
        });
        (!named.is_empty()).then(|| quote!(const _: fn() = || { #(#asked;)* };))
    }
}

impl Payload {
    fn expand(&self, name: &Ident, events: &Events) -> TokenStream {
        let runtime = &events.runtime;
        let attributes = &self.attributes;

        let schemars = runtime.schemars();
        let bound = self.bound(events);
        let fields = self.fields.iter().map(|field| {
            let attributes = field.attrs.iter().filter_map(field_schema_attribute);
            let ident = field.ident.clone().map(at_call_site_span);
            let ty = type_of(field, events);

            let colon = ident.as_ref().map(|_| quote!(:));
            quote!(#(#attributes)* #ident #colon #ty)
        });
        let fields = match &self.fields {
            Fields::Unnamed(_) => quote!((#(#fields),*);),
            Fields::Named(_) | Fields::Unit => quote!({ #(#fields),* }),
        };
        let reading = self.reading(name);
        quote! {
            #[derive(#runtime::private::schemars::JsonSchema)]
            #[schemars(crate = #schemars #bound)]
            #(#attributes)*
            struct #name<const DESCRIBED: bool> #fields
            #reading
        }
    }

    /// Expands to a read of fields without names. They have the user's spans, so the compiler would warn about unread fields.
    fn reading(&self, name: &Ident) -> Option<TokenStream> {
        let Fields::Unnamed(fields) = &self.fields else {
            return None;
        };
        let fields = (0..fields.unnamed.len()).map(|index| format_ident!("_field{index}"));
        Some(quote!(const _: fn(#name<true>) = |#name(#(#fields),*)| {};))
    }

    /// Returns the bound that makes the implementation conditional, so that a missing trait is not reported inside it. Schemars
    /// honours a bound only on a generic struct, so the struct has a parameter without meaning. Types with `$crate` are left out,
    /// because the text of a bound cannot name the crate of a macro.
    fn bound(&self, events: &Events) -> Option<TokenStream> {
        let schemars = events.runtime.schemars();
        let types = self.described_types(events);
        let types = distinct(&types)
            .into_iter()
            .filter(|ty| !source_text(ty).contains("$crate"));
        let types: Vec<_> = types.collect();
        let span = if types.len() == 1 {
            types[0].span()
        } else {
            Span::call_site()
        };
        let bounds = types.iter().map(|ty| {
            format!(
                "for<'any> {}: {schemars}::JsonSchema + 'any",
                ty.to_token_stream()
            )
        });
        let bounds = bounds.collect::<Vec<_>>().join(", ");
        let text = LitStr::new(&bounds, span);
        (!bounds.is_empty()).then(|| quote!(, bound = #text))
    }

    fn described_types(&self, events: &Events) -> Vec<Type> {
        let fields = self
            .fields
            .iter()
            .filter(|field| is_described_by_its_type(field));
        fields.map(|field| type_of(field, events)).collect()
    }
}

/// Moves the field's name to the hygiene of the macro, where the compiler does not warn that the field is never read.
fn at_call_site_span(mut field: Ident) -> Ident {
    field.set_span(Span::call_site().located_at(field.span()));
    field
}

/// Returns the type of a field in its form outside the enum.
fn type_of(field: &Field, events: &Events) -> Type {
    let ident = events.ident();
    without_self(&field.ty, &parse_quote!(#ident))
}
