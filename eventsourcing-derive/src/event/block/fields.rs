//! The types of parameters: they become the types of stored fields, so they must be owned and nameable.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{GenericArgument, PathArguments, Type, parse_quote};

use crate::messages;
use crate::source_text::source_text;

/// Returns `ty` in its form outside the block, where `Self` would mean the enum.
pub(in crate::event) fn without_self(ty: &Type, aggregate: &Type) -> Type {
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

/// Returns the message about a type that a stored field cannot have; `None` for all others.
pub(super) fn unstorable(ty: &Type) -> Option<String> {
    match ty {
        ty if is_impl_trait(ty) => Some(messages::parameter_impl()),
        ty if borrows(ty) => Some(messages::parameter_reference(source_text(&owned(ty)))),
        _ => None,
    }
}

/// Returns `true` if the type is or contains a reference.
fn borrows(ty: &Type) -> bool {
    any_token(ty.to_token_stream(), &|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == '&',
        TokenTree::Ident(word) => word == "_",
        _ => false,
    })
}

/// Returns `true` if the type is or contains `impl Trait`.
fn is_impl_trait(ty: &Type) -> bool {
    any_token(
        ty.to_token_stream(),
        &|token| matches!(token, TokenTree::Ident(word) if word == "impl"),
    )
}

/// Returns the owned type that a message suggests instead of a reference.
fn owned(ty: &Type) -> TokenStream {
    let Type::Reference(reference) = ty else {
        return quote!(String);
    };
    match &*reference.elem {
        Type::Slice(slice) => {
            let item = &slice.elem;
            quote!(Vec<#item>)
        }
        Type::Path(path) if path.path.is_ident("str") => quote!(String),
        elem => elem.to_token_stream(),
    }
}

/// Returns the types inside `ty`, one level deep.
pub(super) fn parts(ty: &Type) -> Vec<&Type> {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .iter()
            .flat_map(|segment| arguments(&segment.arguments))
            .collect(),
        Type::Tuple(tuple) => tuple.elems.iter().collect(),
        Type::Array(array) => vec![&array.elem],
        Type::Paren(paren) => parts(&paren.elem),
        Type::Group(group) => parts(&group.elem),
        _ => Vec::new(),
    }
}

fn arguments(arguments: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return Vec::new();
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// Returns `true` if the type is known to have a trait as soon as its parts have it, as `Option` or a tuple.
pub(super) fn stands_for_its_parts(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            ["Option", "Vec", "Box", "VecDeque"]
                .iter()
                .any(|name| last.ident == name)
                && !last.arguments.is_empty()
        }),
        Type::Tuple(_) | Type::Array(_) => true,
        Type::Paren(paren) => stands_for_its_parts(&paren.elem),
        Type::Group(group) => stands_for_its_parts(&group.elem),
        _ => false,
    }
}

pub(super) fn any_token(tokens: TokenStream, test: &impl Fn(&TokenTree) -> bool) -> bool {
    tokens.into_iter().any(|token| match &token {
        TokenTree::Group(group) => any_token(group.stream(), test),
        token => test(token),
    })
}
