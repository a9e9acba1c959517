//! From the model to the item as it was written and its `impl Event`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Fields;

use super::model::{EventItem, EventType, Events};

impl Events {
    pub(super) fn expand(&self) -> TokenStream {
        let item = &self.item;
        let implementation = self.implementation();
        quote!(#item #implementation)
    }

    /// The messages, the item, and an implementation that keeps the compiler from reporting that there is none.
    pub(super) fn stub(&self, messages: TokenStream) -> TokenStream {
        let item = &self.item;
        let implementation = self.stub_implementation();
        quote!(#messages #item #implementation)
    }

    pub(super) fn implementation(&self) -> TokenStream {
        let (runtime, ident) = (&self.runtime, self.ident());
        let types = self.types.iter().map(|event| event.expand(self));
        let methods = match &self.item {
            EventItem::Enum(_) => self.enum_methods(),
            EventItem::Struct(item) if matches!(item.fields, Fields::Unit) => self.unit_methods(),
            EventItem::Struct(_) => self.struct_methods(),
        };
        quote! {
            #[automatically_derived]
            impl #runtime::Event for #ident {
                const TYPES: &'static [#runtime::EventType] = &[#(#types),*];
                #methods
            }
        }
    }

    pub(super) fn stub_implementation(&self) -> TokenStream {
        let (runtime, ident) = (&self.runtime, self.ident());
        let (impl_generics, type_generics, _) = self.generics().split_for_impl();
        let body = quote!(::core::unreachable!());
        let methods = self.methods([&body, &body, &body]);
        quote! {
            impl #impl_generics #runtime::Event for #ident #type_generics
            where
                Self: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static
            {
                const TYPES: &'static [#runtime::EventType] = &[];
                #methods
            }
        }
    }

    fn enum_methods(&self) -> TokenStream {
        let runtime = &self.runtime;
        let arms =
            self.types.iter().enumerate().map(|(index, EventType { ident, .. })| quote!(Self::#ident { .. } => #index));
        self.methods([
            &quote!(match self { #(#arms,)* }),
            &quote!(#runtime::private::serialize_variant(self, serializer)),
            &quote!(#runtime::private::deserialize_variant(index, deserializer)),
        ])
    }

    fn struct_methods(&self) -> TokenStream {
        let runtime = &self.runtime;
        self.methods([
            &quote!(0),
            &quote!(#runtime::private::serde::Serialize::serialize(self, serializer)),
            &quote! {
                let _ = index;
                #runtime::private::serde::Deserialize::deserialize(deserializer)
            },
        ])
    }

    /// A struct without fields is an empty map, as a variant without fields is, so that it can be given fields later.
    fn unit_methods(&self) -> TokenStream {
        let (runtime, name) = (&self.runtime, self.ident().to_string());
        self.methods([
            &quote!(0),
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

    fn methods(&self, [index, serialize, deserialize]: [&TokenStream; 3]) -> TokenStream {
        let runtime = &self.runtime;
        quote! {
            fn index(&self) -> usize {
                #index
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
        let (runtime, name, version) = (&events.runtime, &self.name, self.version);
        quote!(#runtime::EventType { name: #name, version: #version })
    }
}

impl ToTokens for EventItem {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Enum(item) => item.to_tokens(tokens),
            Self::Struct(item) => item.to_tokens(tokens),
        }
    }
}
