//! The trait bounds on the types of parameters. Each type is checked once, at the place where it is first written, so that a
//! missing trait is one message.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, LitStr, Type};

use super::fields::{any_token, parts, stands_for_its_parts};
use super::model::{Block, Field};
use crate::options::foreign_keys;
use crate::source_text::source_text;

/// Options of serde with which the type of the field does not need both of serde's traits.
const STORED_OTHERWISE: &[&str] = &[
    "skip",
    "skip_serializing",
    "skip_deserializing",
    "with",
    "serialize_with",
    "deserialize_with",
    "bound",
];

/// Names of types that serde supports, which need no bound. If such a name means another type, serde reports what it lacks.
const KNOWN: &[&str] = &[
    "String", "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8",
    "u16", "u32", "u64", "u128", "usize",
];

impl Block {
    /// Expands to a constant that compiles only if every parameter's type has the required traits.
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

    /// Returns a bound that makes serde's implementations conditional, at the first field that names a type, so that a missing trait
    /// is not reported inside them. `Events::block_methods` calls helpers that compile without these implementations.
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

    /// Returns `true` if the type may contain an event enum, or is written with `$crate`. A bound on a type that contains this enum
    /// would be a cycle, and the text of a bound cannot name the crate of a macro.
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

/// Returns `true` if two types are certainly the same. Types with `$crate` are not: it may stand for different crates.
fn same(one: &Type, other: &Type) -> bool {
    let text = source_text(one);
    text == source_text(other) && !text.contains("$crate")
}

/// Returns the types that messages name: those inside lists, options and tuples, on which a user can derive traits.
pub(in crate::event) fn named_types(ty: &Type) -> Vec<&Type> {
    match stands_for_its_parts(ty) {
        true => parts(ty).into_iter().flat_map(named_types).collect(),
        false => vec![ty],
    }
}

/// Returns all types inside `ty`, at any depth.
fn parts_within(ty: &Type) -> Vec<&Type> {
    parts(ty)
        .into_iter()
        .flat_map(|part| std::iter::once(part).chain(parts_within(part)))
        .collect()
}
