//! The types of parameters, which become the types of stored fields.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Type, parse_quote};

/// `ty` as it is written outside the block, where `Self` means the enum.
pub(super) fn without_self(ty: &Type, aggregate: &Type) -> Type {
    let tokens = replace_self(ty.to_token_stream(), &aggregate.to_token_stream());
    parse_quote!(#tokens)
}

fn replace_self(tokens: TokenStream, aggregate: &TokenStream) -> TokenStream {
    let replaced = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(word) if word == "Self" => aggregate.clone(),
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), replace_self(group.stream(), aggregate));
            inner.set_span(group.span());
            TokenTree::Group(inner).into()
        }
        token => token.into(),
    });
    replaced.collect()
}

/// Whether the type borrows something, on the outside or within.
pub(super) fn borrows(ty: &Type) -> bool {
    any_token(ty.to_token_stream(), &|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == '&',
        TokenTree::Ident(word) => word == "_",
        _ => false,
    })
}

/// Whether the type is or contains `impl Trait`.
pub(super) fn is_open(ty: &Type) -> bool {
    any_token(ty.to_token_stream(), &|token| matches!(token, TokenTree::Ident(word) if word == "impl"))
}

/// What to write instead of a reference.
pub(super) fn owned(ty: &Type) -> TokenStream {
    let Type::Reference(reference) = ty else { return quote!(String) };
    match &*reference.elem {
        Type::Slice(slice) => {
            let item = &slice.elem;
            quote!(Vec<#item>)
        }
        Type::Path(path) if path.path.is_ident("str") => quote!(String),
        elem => elem.to_token_stream(),
    }
}

fn any_token(tokens: TokenStream, test: &impl Fn(&TokenTree) -> bool) -> bool {
    tokens.into_iter().any(|token| match &token {
        TokenTree::Group(group) => any_token(group.stream(), test),
        token => test(token),
    })
}
