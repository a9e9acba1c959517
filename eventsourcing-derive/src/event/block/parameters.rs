//! What the expansion asks of the types of parameters: once for each type, in the place where it is first written.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, LitStr, Type};

use super::fields::{any_token, parts, stands_for_its_parts};
use super::model::{Block, Field};
use crate::options::foreign_keys;
use crate::source_text::source_text;

/// With these, serde does not need its traits for the type of the field, or not both.
const STORED_OTHERWISE: &[&str] = &[
    "skip",
    "skip_serializing",
    "skip_deserializing",
    "with",
    "serialize_with",
    "deserialize_with",
    "bound",
];

/// What serde knows: no bound is needed. If the name means something else, serde reports what that lacks.
const KNOWN: &[&str] = &[
    "String", "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8",
    "u16", "u32", "u64", "u128", "usize",
];

impl Block {
    /// Does nothing, but compiles only if every parameter can be what a parameter has to be.
    pub(super) fn requirements(&self) -> Option<TokenStream> {
        let runtime = &self.runtime;
        let stored = self.types(Field::is_stored);
        let others = self.types(|field| !field.is_stored());

        let named = distinct(stored.iter().flat_map(|ty| named_types(ty)));
        let stored = distinct(named.iter().chain(&stored).copied());
        let others = others
            .into_iter()
            .filter(|ty| !stored.iter().any(|stored| same(stored, ty)));
        let copied: Vec<_> = others
            .map(|ty| self.requirement(ty, &named, quote!(Copied), quote!(is_copied)))
            .collect();
        let stored = stored
            .iter()
            .map(|ty| self.requirement(ty, &named, quote!(Parameter), quote!(is_parameter)));
        let all: Vec<_> = stored.chain(copied).collect();
        (!all.is_empty()).then(|| {
            quote! {
                const _: fn() = || {
                    use #runtime::private::Unasked as _;
                    #(#all;)*
                };
            }
        })
    }

    /// Makes serde's implementations conditional, at the first field that names a type, so that what the type lacks is
    /// not reported in them. `Events::block_methods` asks for them in a way that bears it.
    pub(super) fn serde_bound(&self, field: &Field) -> Option<TokenStream> {
        let named = distinct(
            self.types(Field::is_stored)
                .into_iter()
                .flat_map(named_types),
        );
        let is_first = |ty: &&Type| named.iter().any(|first| std::ptr::eq(*first, *ty));
        let named = distinct(named_types(&field.ty))
            .into_iter()
            .filter(is_first);
        let named: Vec<_> = named
            .filter(|ty| !is_known(ty) && !self.may_contain_events(ty))
            .collect();
        let first = named.first()?;
        let serde = self.runtime.serde();

        let span = if named.len() == 1 {
            first.span()
        } else {
            field.ty.span()
        };
        let bounds = |bound: &dyn Fn(TokenStream) -> String| {
            let bounds: Vec<_> = named.iter().map(|ty| bound(ty.to_token_stream())).collect();
            LitStr::new(&bounds.join(", "), span)
        };
        let serialize = bounds(&|ty| format!("for<'any> {ty}: {serde}::Serialize + 'any"));
        let deserialize = bounds(&|ty| format!("for<'any> {ty}: {serde}::Deserialize<'any>"));
        Some(quote!(#[serde(bound(serialize = #serialize, deserialize = #deserialize))]))
    }

    /// The bound of a type that contains the enum, or another that contains this one, would go round in circles. The text
    /// of a bound cannot name the crate that a macro comes from.
    fn may_contain_events(&self, ty: &Type) -> bool {
        any_token(ty.to_token_stream(), &|token| match token {
            TokenTree::Ident(word) => {
                self.events == *word
                    || ["Event", "$crate"]
                        .iter()
                        .any(|end| word.to_string().ends_with(end))
            }
            _ => false,
        })
    }

    fn requirement(
        &self,
        ty: &Type,
        named: &[&Type],
        required: TokenStream,
        asked: TokenStream,
    ) -> TokenStream {
        let runtime = self.runtime.located_at(ty.span());
        let within = |part: &&&Type| parts_within(ty).iter().any(|inner| same(inner, part));
        let parts: Vec<_> = named.iter().filter(within).collect();
        match &*parts {
            [] => quote_spanned!(ty.span()=> <#ty as #runtime::private::#required>::#asked()),
            parts => {
                let parts = parts
                    .iter()
                    .rfold(quote!(()), |parts, part| quote!((#part, #parts)));
                quote_spanned!(ty.span()=> #runtime::private::Within::<#ty, #parts>::#asked())
            }
        }
    }

    fn types(&self, choose: impl Fn(&Field) -> bool) -> Vec<&Type> {
        let fields = self.methods.iter().flat_map(|method| &method.fields);
        distinct(fields.filter(|field| choose(field)).map(|field| &field.ty))
    }
}

impl Field {
    fn is_stored(&self) -> bool {
        let keys = self
            .attributes
            .iter()
            .filter(|attribute| is_serde(attribute))
            .flat_map(foreign_keys);
        !keys
            .into_iter()
            .any(|key| STORED_OTHERWISE.iter().any(|otherwise| key == otherwise))
    }
}

fn is_serde(attribute: &Attribute) -> bool {
    attribute.path().is_ident("serde")
}

fn is_known(ty: &Type) -> bool {
    KNOWN.contains(&&*source_text(ty))
}

pub(in crate::event) fn distinct<'a>(types: impl IntoIterator<Item = &'a Type>) -> Vec<&'a Type> {
    let mut distinct: Vec<&Type> = Vec::new();
    for ty in types {
        if !distinct.iter().any(|earlier| same(earlier, ty)) {
            distinct.push(ty);
        }
    }
    distinct
}

/// Whether two types are certainly one: `$crate` may be this crate or that.
fn same(one: &Type, other: &Type) -> bool {
    let text = source_text(one);
    text == source_text(other) && !text.contains("$crate")
}

/// The types to be named in messages: what stands in lists, options and tuples, for which nothing can be derived.
pub(in crate::event) fn named_types(ty: &Type) -> Vec<&Type> {
    match stands_for_its_parts(ty) {
        true => parts(ty).into_iter().flat_map(named_types).collect(),
        false => vec![ty],
    }
}

/// The types that `ty` is written with.
fn parts_within(ty: &Type) -> Vec<&Type> {
    parts(ty)
        .into_iter()
        .flat_map(|part| std::iter::once(part).chain(parts_within(part)))
        .collect()
}
