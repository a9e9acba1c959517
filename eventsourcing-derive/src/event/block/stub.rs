//! The stub of an `impl` block after mistakes: the enum, its traits and the fold without function, so that the compiler does
//! not report them missing.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Type;

use super::super::model::Events;
use super::fields::unstorable;
use super::model::{Block, Field, Method};

impl Block {
    pub(super) fn stub(&self, events: &Events, messages: TokenStream) -> TokenStream {
        let enumeration = self.stub_enum();
        let event = events.stub_implementation();
        let block = self.stub_block();
        quote!(#messages #enumeration #event #block)
    }

    /// Expands to the enum without derives, which would report the same mistakes again.
    fn stub_enum(&self) -> TokenStream {
        let Self {
            runtime, events, ..
        } = self;
        let variants = self.variants().map(Method::stub_variant);
        let body = quote!(::core::unreachable!());
        quote! {
            #[allow(missing_docs, non_camel_case_types, unreachable_pub, private_interfaces)]
            pub enum #events { #(#variants,)* }

            impl ::core::clone::Clone for #events {
                fn clone(&self) -> Self { #body }
            }
            impl ::core::fmt::Debug for #events {
                fn fmt(&self, _: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result { #body }
            }
            impl ::core::cmp::PartialEq for #events {
                fn eq(&self, _: &Self) -> bool { #body }
            }
            impl #runtime::private::serde::Serialize for #events {
                fn serialize<S: #runtime::private::serde::Serializer>(
                    &self,
                    _: S,
                ) -> ::core::result::Result<S::Ok, S::Error> { #body }
            }
            impl<'de> #runtime::private::serde::Deserialize<'de> for #events {
                fn deserialize<D: #runtime::private::serde::Deserializer<'de>>(
                    _: D,
                ) -> ::core::result::Result<Self, D::Error> { #body }
            }
        }
    }

    /// Expands to the block and its fold, or to nothing if the block itself is invalid: the compiler would report it again.
    fn stub_block(&self) -> TokenStream {
        let Self {
            runtime,
            item,
            events,
            ..
        } = self;
        let aggregate = &item.self_ty;
        if !matches!(**aggregate, Type::Path(_)) {
            return TokenStream::new();
        }
        let (impl_generics, _, where_clause) = item.generics.split_for_impl();
        quote! {
            #item

            impl #impl_generics #runtime::Fold<#events> for #aggregate #where_clause {
                fn create(_: #events) -> ::core::result::Result<Self, #runtime::UnexpectedEvent> {
                    ::core::unreachable!()
                }

                fn apply(&mut self, _: #events) -> ::core::result::Result<(), #runtime::UnexpectedEvent> {
                    ::core::unreachable!()
                }
            }
        }
    }
}

impl Method {
    fn stub_variant(&self) -> TokenStream {
        let variant = &self.variant;
        let mut seen = HashSet::new();
        let fields = self
            .fields
            .iter()
            .filter(|field| seen.insert(&field.ident))
            .map(Field::stub_field);
        let fields: Vec<_> = fields.collect();
        match &*fields {
            [] => quote!(#variant),
            fields => quote!(#variant { #(#fields,)* }),
        }
    }
}

impl Field {
    /// Expands to the field with its type. A type that cannot be stored is replaced by an array whose length is the error: the
    /// compiler accepts any value for such an array, and reports the same message at the same place once.
    fn stub_field(&self) -> TokenStream {
        let Self { ident, ty, .. } = self;
        match unstorable(ty) {
            None => quote!(#ident: #ty),
            Some(message) => {
                let message = syn::Error::new_spanned(ty, message).to_compile_error();
                quote!(#ident: [(); #message])
            }
        }
    }
}
