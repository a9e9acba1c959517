//! Expands the model to the `impl Aggregate`. The checks have passed, so nothing here can fail.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Data;
use syn::spanned::Spanned;

use super::model::Aggregate;

impl Aggregate {
    pub(super) fn expand(&self) -> TokenStream {
        let fold = self.fold();
        let state = self.state();

        let shape = &self.shape;
        let former = self.event();
        let fingerprint = quote!(#shape, #fold::FINGERPRINT, #former::FORMER_FINGERPRINT);
        let bodies = [
            quote!(#fold::create(event)),
            quote!(#fold::apply(self, event)),
            quote!(#state::serialize_state(self, serializer)),
            quote!(#state::deserialize_state(deserializer)),
        ];
        self.implementation(&fingerprint, &bodies, &TokenStream::new())
    }

    /// Expands to the messages and an implementation without function, so that the compiler does not report a missing one.
    pub(super) fn stub(&self, messages: TokenStream) -> TokenStream {
        if let Data::Union(_) = self.input.data {
            return messages;
        }
        let shape = &self.shape;
        let bodies = [(); 4].map(|()| quote!(::core::unreachable!()));
        let conditions = quote!(where Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        let implementation = self.implementation(&quote!(#shape, 0, 0), &bodies, &conditions);
        quote!(#messages #implementation)
    }

    /// The span of the type's name. Every bound on the type has this span, so the compiler reports a missing trait once.
    fn span(&self) -> Span {
        self.input.ident.span()
    }

    fn fold(&self) -> TokenStream {
        let runtime = &self.runtime;
        quote_spanned!(self.span()=> <Self as #runtime::Fold<<Self as #runtime::Aggregate>::Event>>)
    }

    fn event(&self) -> TokenStream {
        let runtime = &self.runtime;
        quote_spanned!(self.span()=> <<Self as #runtime::Aggregate>::Event as #runtime::Event>)
    }

    fn state(&self) -> TokenStream {
        let runtime = &self.runtime;
        quote_spanned!(self.span()=> <Self as #runtime::private::State>)
    }

    fn implementation(
        &self,
        fingerprint: &TokenStream,
        bodies: &[TokenStream; 4],
        conditions: &TokenStream,
    ) -> TokenStream {
        let Self {
            input,
            runtime,
            name,
            event,
            ..
        } = self;
        let ident = &input.ident;
        let (impl_generics, type_generics, _) = input.generics.split_for_impl();
        let other_names = self.other_names();
        let snapshot_policy = self.snapshot_policy();

        let [create, apply, serialize, deserialize] = bodies;
        quote! {
            #[automatically_derived]
            impl #impl_generics #runtime::EventOf<#ident #type_generics> for #event {}

            #[automatically_derived]
            impl #impl_generics #runtime::Aggregate for #ident #type_generics #conditions {
                type Event = #event;
                const NAME: &'static str = #name;
                #other_names
                const FINGERPRINT: #runtime::store::Fingerprint = #runtime::private::fingerprint(#fingerprint);
                #snapshot_policy

                fn fold_first(event: Self::Event) -> ::core::result::Result<Self, #runtime::UnexpectedEvent> {
                    #create
                }

                fn fold_next(&mut self, event: Self::Event) -> ::core::result::Result<(), #runtime::UnexpectedEvent> {
                    #apply
                }

                fn serialize_state<S: #runtime::private::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> ::core::result::Result<S::Ok, S::Error> {
                    #serialize
                }

                fn deserialize_state<'de, D: #runtime::private::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    #deserialize
                }
            }
        }
    }

    fn other_names(&self) -> TokenStream {
        let former = &self.former_names;
        let next = &self.next_name;

        let first = former
            .first()
            .map(|first| quote!(const FIRST_NAME: &'static str = #first;));
        let others: Vec<_> = former.iter().chain(next).collect();
        let others = (!others.is_empty())
            .then(|| quote!(const OTHER_NAMES: &'static [&'static str] = &[#(#others),*];));
        quote!(#others #first)
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
