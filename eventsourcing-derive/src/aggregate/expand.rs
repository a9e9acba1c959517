//! From the model to the `impl Aggregate`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Data;
use syn::spanned::Spanned;

use super::model::Aggregate;

impl Aggregate {
    pub(super) fn expand(&self) -> TokenStream {
        self.implementation(&TokenStream::new())
    }

    /// The messages, and an implementation that keeps the compiler from reporting that there is none.
    pub(super) fn stub(&self, messages: TokenStream) -> TokenStream {
        if let Data::Union(_) = self.input.data {
            return messages;
        }
        let (runtime, event) = (&self.runtime, &self.event);
        let implementation = self.implementation(&quote! {
            where
                Self: #runtime::Fold<#event>
                    + #runtime::private::serde::Serialize
                    + #runtime::private::serde::de::DeserializeOwned
                    + ::core::marker::Send
                    + ::core::marker::Sync
                    + 'static
        });
        quote!(#messages #implementation)
    }

    fn implementation(&self, conditions: &TokenStream) -> TokenStream {
        let Self { input, runtime, name, event, shape, .. } = self;
        let ident = &input.ident;
        let (impl_generics, type_generics, _) = input.generics.split_for_impl();
        let snapshot_policy = self.snapshot_policy();
        quote! {
            #[automatically_derived]
            impl #impl_generics #runtime::Aggregate for #ident #type_generics #conditions {
                type Event = #event;
                const NAME: &'static str = #name;
                const FINGERPRINT: #runtime::store::Fingerprint = #runtime::private::fingerprint(
                    #shape,
                    <Self as #runtime::Fold<<Self as #runtime::Aggregate>::Event>>::FINGERPRINT,
                );
                #snapshot_policy
            }
        }
    }

    fn snapshot_policy(&self) -> TokenStream {
        let runtime = &self.runtime;
        let body = match &self.snapshot {
            None => quote!(#runtime::snapshot::never()),
            Some(policy) => quote! {
                use #runtime::snapshot::{every, never};
                #policy
            },
        };
        let output = quote_spanned!(self.snapshot.span()=> impl #runtime::snapshot::SnapshotPolicy);
        quote! {
            fn snapshot_policy() -> #output {
                #body
            }
        }
    }
}
