//! `Clone`, `Debug` and `PartialEq` of the enum. They do what their derives would do, but compile even if a parameter lacks the
//! trait, which `parameters` then reports once, and not each derive and each use.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

use super::model::{Block, Method};

impl Block {
    pub(super) fn implementations(&self) -> TokenStream {
        let clone = self.clone_arms();
        let debug = self.debug_arms();
        let partial_eq = self.partial_eq_arms();

        let Self {
            runtime, events, ..
        } = self;
        quote! {
            #[automatically_derived]
            impl ::core::clone::Clone for #events {
                fn clone(&self) -> Self {
                    use #runtime::private::Missing as _;
                    match self { #clone }
                }
            }

            #[automatically_derived]
            impl ::core::fmt::Debug for #events {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    use #runtime::private::Missing as _;
                    match self { #debug }
                }
            }

            #[automatically_derived]
            impl ::core::cmp::PartialEq for #events {
                fn eq(&self, other: &Self) -> bool {
                    use #runtime::private::Missing as _;
                    match (self, other) { #partial_eq }
                }
            }
        }
    }

    fn clone_arms(&self) -> TokenStream {
        let Self {
            runtime, events, ..
        } = self;
        let arms = self.methods.iter().map(|method| {
            let variant = &method.variant;
            let pattern = method.pattern(self, "field");

            let names = method.names();
            let values = method.values("field");

            quote!(#pattern => #events::#variant { #(#names: #runtime::private::Of(#values).duplicate(),)* })
        });
        quote!(#(#arms,)*)
    }

    fn debug_arms(&self) -> TokenStream {
        let runtime = &self.runtime;
        let arms = self.methods.iter().map(|method| {
            let variant = method.variant.unraw().to_string();
            let pattern = method.pattern(self, "field");

            let names = method.names().map(|name| name.unraw().to_string());
            let values = method.values("field");
            match values.len() {
                0 => quote!(#pattern => f.write_str(#variant)),
                _ => quote! {
                    #pattern => f.debug_struct(#variant)
                        #(.field(#names, #runtime::private::Of(#values).shown()))*
                        .finish()
                },
            }
        });
        quote!(#(#arms,)*)
    }

    fn partial_eq_arms(&self) -> TokenStream {
        let runtime = &self.runtime;
        let arms = self.methods.iter().map(|method| {
            let left = method.pattern(self, "left");
            let right = method.pattern(self, "right");

            let lefts = method.values("left");
            let rights = method.values("right");

            match lefts.len() {
                0 => quote!((#left, #right) => true),
                _ => quote!((#left, #right) => #(#runtime::private::Of(#lefts).equals(#rights))&&*),
            }
        });
        let others = (self.methods.len() > 1).then(|| quote!(_ => false));
        quote!(#(#arms,)* #others)
    }
}

impl Method {
    fn names(&self) -> impl Iterator<Item = &syn::Ident> {
        self.fields.iter().map(|field| &field.ident)
    }
}
