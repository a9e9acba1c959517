//! Expands the model to the user's block, the enum, and the `impl Fold`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Ident, ItemEnum, parse_quote};

use super::super::model::Events;
use super::model::{Block, Field, Method};
use super::parse::is_documentation;
use crate::fingerprint::Fingerprint;

impl Block {
    /// Returns the enum that a user could have written instead, with all its options.
    pub(super) fn to_enum(&self) -> ItemEnum {
        let Self {
            runtime, events, ..
        } = self;
        let serde = runtime.serde();
        let documentation = self.documentation();
        let variants = self.variants().map(|method| method.to_variant(self));
        parse_quote! {
            #(#documentation)*
            #[derive(#runtime::private::serde::Serialize, #runtime::private::serde::Deserialize)]
            #[serde(crate = #serde)]
            #[allow(
                private_interfaces,
                clippy::enum_variant_names,
                clippy::large_enum_variant,
                clippy::module_name_repetitions
            )]
            pub enum #events { #(#variants,)* }
        }
    }

    pub(super) fn expand(&self, events: &Events) -> TokenStream {
        let item = &self.item;
        let enumeration = events.expand();
        let implementations = self.implementations();
        let fold = self.fold();

        let requirements = self.requirements();
        quote!(#item #enumeration #implementations #fold #requirements)
    }

    fn documentation(&self) -> Vec<Attribute> {
        let written: Vec<_> = self
            .item
            .attrs
            .iter()
            .filter(|attribute| is_documentation(attribute))
            .cloned()
            .collect();
        match undocumented(&written) {
            false => written,
            true => vec![documentation(&format!(
                "The events of [`{}`].",
                self.aggregate
            ))],
        }
    }

    fn fold(&self) -> TokenStream {
        let Self {
            runtime,
            item,
            events,
            ..
        } = self;
        let aggregate = &item.self_ty;
        let fingerprint = self.fingerprint();
        let deprecated = self
            .methods
            .iter()
            .any(Method::is_deprecated)
            .then(|| quote!(#[allow(deprecated)]));
        let creations = self.methods.iter().map(|method| method.creation(self));
        let changes = self.methods.iter().map(|method| method.change(self));
        quote! {
            #[automatically_derived]
            #deprecated
            impl #runtime::Fold<#events> for #aggregate {
                const FINGERPRINT: u64 = #fingerprint;

                fn create(event: #events) -> ::core::result::Result<Self, #runtime::UnexpectedEvent> {
                    match event { #(#creations,)* }
                }

                fn apply(&mut self, event: #events) -> ::core::result::Result<(), #runtime::UnexpectedEvent> {
                    match event { #(#changes,)* }
                }
            }
        }
    }

    /// Returns the fingerprint of the methods' bodies and fields. Visibility and lints do not count.
    fn fingerprint(&self) -> syn::LitInt {
        let mut fingerprint = Fingerprint::new();
        for method in &self.methods {
            fingerprint.add(&method.signature.ident);
            for field in &method.fields {
                fingerprint.add(field.to_field());
            }
            fingerprint.add(&method.body);
        }
        fingerprint.finish()
    }
}

impl Method {
    fn to_variant(&self, block: &Block) -> TokenStream {
        let Self {
            signature,
            variant_attributes,
            variant,
            fields,
            ..
        } = self;
        let name = &signature.ident;
        let documentation = undocumented(variant_attributes)
            .then(|| documentation(&format!("{EVENT}{}`.", name.unraw())));
        let fields = fields
            .iter()
            .map(|field| field.to_documented_field(name, block));
        match fields.len() {
            0 => quote!(#documentation #(#variant_attributes)* #variant),
            _ => quote!(#documentation #(#variant_attributes)* #variant { #(#fields,)* }),
        }
    }

    fn creation(&self, block: &Block) -> TokenStream {
        if !self.creates() {
            return self.unexpected(block);
        }
        let pattern = self.pattern(block, "field");
        let call = self.call(&[]);

        quote!(#pattern => ::core::result::Result::Ok(#call))
    }

    fn change(&self, block: &Block) -> TokenStream {
        if self.creates() {
            return self.unexpected(block);
        }
        let pattern = self.pattern(block, "field");
        let call = self.call(&[quote!(self)]);

        quote! {
            #pattern => {
                #call;
                ::core::result::Result::Ok(())
            }
        }
    }

    fn unexpected(&self, block: &Block) -> TokenStream {
        let Block {
            runtime, events, ..
        } = block;
        let variant = &self.variant;
        quote!(#events::#variant { .. } => ::core::result::Result::Err(#runtime::UnexpectedEvent))
    }

    /// Returns the pattern of the variant, with its fields bound to `field0`, `field1` and so on.
    pub(super) fn pattern(&self, block: &Block, prefix: &str) -> TokenStream {
        let events = &block.events;
        let variant = &self.variant;

        let names = self.fields.iter().map(|field| &field.ident);
        let values = self.values(prefix);
        quote!(#events::#variant { #(#names: #values,)* })
    }

    /// Returns the call of the user's method, with the span of its name.
    fn call(&self, receiver: &[TokenStream]) -> TokenStream {
        let method = &self.signature.ident;
        let values = self.values("field");
        quote_spanned!(method.span()=> Self::#method(#(#receiver,)* #(#values,)*))
    }

    /// Returns generated names for the fields. The user's names might be those of constants, or begin with an underscore.
    pub(super) fn values(&self, prefix: &str) -> Vec<Ident> {
        let fields = self.fields.iter().enumerate();
        fields
            .map(|(index, field)| format_ident!("{prefix}{index}", span = field.ident.span()))
            .collect()
    }
}

impl Field {
    fn to_documented_field(&self, method: &Ident, block: &Block) -> TokenStream {
        let text = || {
            format!(
                "{PARAMETER}{}` of `{}`.",
                self.ident.unraw(),
                method.unraw()
            )
        };
        let documentation = undocumented(&self.attributes).then(|| documentation(&text()));
        let bound = block.serde_bound(self);
        let field = self.to_field();

        quote!(#documentation #bound #field)
    }

    fn to_field(&self) -> TokenStream {
        let Self {
            attributes,
            ident,
            ty,
        } = self;
        quote!(#(#attributes)* #ident: #ty)
    }
}

fn undocumented(attributes: &[Attribute]) -> bool {
    !attributes.iter().any(is_documentation)
}

const EVENT: &str = "The event `";
const PARAMETER: &str = "The parameter `";

/// Returns `true` if the attribute is documentation that this macro has written.
pub(in crate::event) fn is_generated(attribute: &Attribute) -> bool {
    let text = attribute.to_token_stream().to_string();
    [EVENT, PARAMETER]
        .iter()
        .any(|beginning| text.contains(&format!("\"{beginning}")))
}

/// Returns documentation for a part that the user has not documented: the enum is public, and the lint `missing_docs` may be on.
fn documentation(text: &str) -> Attribute {
    parse_quote!(#[doc = #text])
}
