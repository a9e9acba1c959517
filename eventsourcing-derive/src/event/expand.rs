//! Expands the model to the user's item and its `impl Event`. The checks have passed, so nothing here can fail.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::Fields;
use syn::ext::IdentExt;

use super::model::{EventItem, EventType, Events};

impl Events {
    pub(super) fn expand(&self) -> TokenStream {
        let item = &self.item;
        let implementation = self.implementation();
        let description = self.description();

        quote!(#item #implementation #description)
    }

    /// Expands to the messages, the item, and an implementation without function, so that the compiler does not report a missing
    /// one.
    pub(super) fn stub(&self, messages: TokenStream) -> TokenStream {
        let item = &self.item;
        let implementation = self.stub_implementation();
        quote!(#messages #item #implementation)
    }

    pub(super) fn implementation(&self) -> TokenStream {
        let runtime = &self.runtime;
        let ident = self.ident();

        let types = self.types.iter().map(|event| event.expand(self));
        let variants = self
            .types
            .iter()
            .map(|event| event.ident.unraw().to_string());
        let former = self.legacy();
        let methods = match &self.item {
            EventItem::Enum(_) => self.enum_methods(),
            EventItem::Block(_) => self.block_methods(),
            EventItem::Struct(item) if matches!(item.fields, Fields::Unit) => self.unit_methods(),
            EventItem::Struct(_) => self.struct_methods(),
        };
        quote! {
            #[automatically_derived]
            impl #runtime::Event for #ident {
                const TYPES: &'static [#runtime::EventType] = &[#(#types),*];
                const VARIANTS: &'static [&'static str] = &[#(#variants),*];
                #former
                #methods
            }
        }
    }

    pub(super) fn stub_implementation(&self) -> TokenStream {
        let runtime = &self.runtime;
        let ident = self.ident();

        let (impl_generics, type_generics, _) = self.generics().split_for_impl();
        let body = quote!(::core::unreachable!());
        let methods = self.methods([&body, &body, &body, &body]);
        let description = self.stub_description();
        quote! {
            impl #impl_generics #runtime::Event for #ident #type_generics
            where
                Self: ::core::marker::Send + ::core::marker::Sync + 'static
            {
                const TYPES: &'static [#runtime::EventType] = &[];
                #methods
            }
            #description
        }
    }

    fn enum_methods(&self) -> TokenStream {
        self.methods([
            &self.index(),
            &self.payload(&quote!(duplicate), &quote!(self)),
            &self.payload(&quote!(serialize_variant), &quote!(self, serializer)),
            &self.payload(&quote!(deserialize_variant), &quote!(index, deserializer)),
        ])
    }

    /// Returns the methods of a block's enum. A trait that a parameter lacks is reported at the requirements of the block, so the
    /// bodies call helpers that compile without it.
    fn block_methods(&self) -> TokenStream {
        let runtime = &self.runtime;
        self.methods([
            &self.index(),
            &quote!(::core::clone::Clone::clone(self)),
            &quote! {
                use #runtime::private::Missing as _;
                #runtime::private::Of(self).serialize_variant(serializer)
            },
            &quote! {
                use #runtime::private::Missing as _;
                #runtime::private::Of::<Self>::deserialize_variant(index, deserializer)
            },
        ])
    }

    fn index(&self) -> TokenStream {
        let arms = self
            .types
            .iter()
            .enumerate()
            .map(|(index, EventType { ident, .. })| quote!(Self::#ident { .. } => #index));
        quote!(match self { #(#arms,)* })
    }

    fn struct_methods(&self) -> TokenStream {
        self.methods([
            &quote!(0),
            &self.payload(&quote!(duplicate), &quote!(self)),
            &self.payload(&quote!(serialize_struct), &quote!(self, serializer)),
            &self.payload(&quote!(deserialize_struct), &quote!(index, deserializer)),
        ])
    }

    /// Returns a call of the payload's helper. Every call has the span of the type's name, so the compiler reports a missing bound
    /// once.
    fn payload(&self, method: &TokenStream, arguments: &TokenStream) -> TokenStream {
        let runtime = &self.runtime;
        quote_spanned!(self.ident().span()=> <Self as #runtime::private::Payload>::#method(#arguments))
    }

    /// Returns the methods of a struct without fields. It is stored as an empty map, as a variant without fields is, so that fields
    /// can be added later.
    fn unit_methods(&self) -> TokenStream {
        let runtime = &self.runtime;
        let name = self.ident().to_string();

        self.methods([
            &quote!(0),
            &quote_spanned!(self.ident().span()=> <Self as ::core::clone::Clone>::clone(self)),
            &quote! {
                let fields = #runtime::private::serde::Serializer::serialize_struct(serializer, #name, 0)?;
                #runtime::private::serde::ser::SerializeStruct::end(fields)
            },
            &quote! {
                let _ = index;
                <#runtime::private::serde::de::IgnoredAny as #runtime::private::serde::Deserialize>::deserialize(deserializer)?;
                ::core::result::Result::Ok(Self)
            },
        ])
    }

    fn methods(
        &self,
        [index, duplicate, serialize, deserialize]: [&TokenStream; 4],
    ) -> TokenStream {
        let runtime = &self.runtime;
        quote! {
            fn index(&self) -> usize {
                #index
            }

            fn duplicate(&self) -> Self {
                #duplicate
            }

            fn serialize_payload<S: #runtime::private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                #serialize
            }

            fn deserialize_payload<'de, D: #runtime::private::serde::Deserializer<'de>>(
                index: usize,
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                #deserialize
            }
        }
    }
}

impl EventType {
    fn expand(&self, events: &Events) -> TokenStream {
        let runtime = &events.runtime;
        let name = &self.name;
        let version = self.version;

        quote!(#runtime::EventType { name: #name, version: #version })
    }
}

impl ToTokens for EventItem {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Enum(item) | Self::Block(item) => item.to_tokens(tokens),
            Self::Struct(item) => item.to_tokens(tokens),
        }
    }
}
