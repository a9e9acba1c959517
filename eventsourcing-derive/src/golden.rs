//! Compares the expansions of the files in `tests/golden` with the reviewed ones beside them.
//!
//! `BLESS=1` writes them again.

use std::path::Path;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, File, Item};

#[test]
fn an_aggregate_and_its_events_expand_as_expected() {
    compare("account");
}

#[test]
fn handwritten_events_expand_as_expected() {
    compare("door");
}

#[test]
fn a_system_expands_as_expected() {
    compare("bank");
}

#[test]
fn events_that_describe_themselves_expand_as_expected() {
    compare("described");
}

#[test]
fn everything_is_defined_after_mistakes() {
    compare("mistakes");
}

#[test]
fn no_expansion_names_the_runtime_where_another_path_is_given() {
    let expansions = [
        crate::aggregate::derive(quote! {
            #[aggregate(crate = framework, snapshot = every(2))]
            struct Account {}
        }),
        crate::event::attribute(
            quote!(crate = framework, schema),
            quote!(impl Account { fn opened() -> Self {} }),
        ),
        crate::event::attribute(
            quote!(crate = framework),
            quote!(impl Account { fn closed(&mut self) {} }),
        ),
        crate::event::attribute(
            quote!(crate = framework),
            quote!(
                enum AccountEvent {
                    Opened,
                    Closed,
                }
            ),
        ),
        crate::event::attribute(
            quote!(crate = framework),
            quote!(
                struct Opened;
            ),
        ),
        crate::system::derive(quote! {
            #[system(crate = framework, schema)]
            struct Bank {
                #[application(aggregates(Account))]
                accounts: Accounts,
                #[projection(follows(accounts: Account))]
                feed: Feed,
            }
        }),
    ];
    for expansion in expansions {
        let text = expansion.to_string();
        assert!(
            text.contains("framework") && !text.contains("eventsourcing"),
            "{text}"
        );
    }
}

fn compare(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let source = std::fs::read_to_string(folder.join(name).with_extension("rs"))
        .expect("the source can be read");
    let file = syn::parse_file(&source).expect("the source is Rust");
    let expanded: TokenStream = file.items.into_iter().map(expand).collect();
    let expanded =
        prettyplease::unparse(&shown(syn::parse2(expanded).expect("an expansion is Rust")));
    let golden = folder.join(name).with_extension("expanded.rs");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &expanded).expect("the golden file can be written");
    }
    let expected =
        std::fs::read_to_string(&golden).expect("the golden file can be read; BLESS=1 writes it");
    assert!(
        expanded == expected,
        "{name} expands to something else; after BLESS=1 the difference can be reviewed"
    );
}

/// Unwraps the items inside the macro `described!`, as that macro does when its feature is on.
fn shown(mut file: File) -> File {
    let items = file.items.into_iter().flat_map(|item| match item {
        Item::Macro(item)
            if item
                .mac
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "described") =>
        {
            syn::parse2::<File>(item.mac.tokens)
                .expect("an expansion is Rust")
                .items
        }
        item => vec![item],
    });
    file.items = items.collect();
    file
}

/// Expands an item as the compiler does with these macros.
fn expand(mut item: Item) -> TokenStream {
    if let Some(event) = take(attributes(&mut item), "event") {
        let arguments = event
            .meta
            .require_list()
            .map_or_else(|_| TokenStream::new(), |list| list.tokens.clone());
        return crate::event::attribute(arguments, item.to_token_stream());
    }
    match take(attributes(&mut item), "derive") {
        Some(derive) if mentions(&derive, "Aggregate") => {
            crate::aggregate::derive(item.to_token_stream())
        }
        Some(derive) if mentions(&derive, "System") => {
            crate::system::derive(item.to_token_stream())
        }
        _ => item.to_token_stream(),
    }
}

fn attributes(item: &mut Item) -> &mut Vec<Attribute> {
    match item {
        Item::Struct(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Impl(item) => &mut item.attrs,
        _ => panic!("an item without macros of this crate"),
    }
}

fn take(attributes: &mut Vec<Attribute>, name: &str) -> Option<Attribute> {
    let index = attributes
        .iter()
        .position(|attribute| attribute.path().is_ident(name))?;
    Some(attributes.remove(index))
}

fn mentions(derive: &Attribute, name: &str) -> bool {
    derive.to_token_stream().to_string().contains(name)
}
