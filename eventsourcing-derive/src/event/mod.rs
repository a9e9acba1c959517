//! `#[event]`: from an `enum`, a `struct` or an `impl` block to an `impl Event`.
//!
//! For an `impl` block the macro first writes the enum that a user could have written, and then treats it as any other enum:
//! one mechanism, two spellings.

mod block;
mod check;
mod expand;
mod legacy;
mod model;
mod parse;
mod schema;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Item, ItemEnum, ItemStruct};

use crate::errors::Errors;
use crate::messages;
use crate::options::Options;
use crate::runtime_path::RuntimePath;
use legacy::RemovedEvents;
use model::Events;

const STRUCT_OPTIONS: &[&str] = &[
    "name",
    "former_names",
    "version",
    "upcast",
    "split",
    "retired",
    "schema",
    "crate",
];

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match syn::parse2(item.clone()) {
        Ok(Item::Impl(item)) => block::expand(arguments, item),
        Ok(Item::Enum(item)) => expand_enum(arguments, item),
        Ok(Item::Struct(item)) => expand_struct(arguments, item),
        Ok(_) => refuse(&item),
        Err(error) => error.into_compile_error(),
    }
}

fn expand_enum(arguments: TokenStream, item: ItemEnum) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::of_arguments(
        "event",
        arguments,
        &["split", "retired", "schema", "crate"],
        &mut errors,
    );
    let runtime = RuntimePath::parse(&options, &mut errors);
    let removed = RemovedEvents::parse(&options, &mut errors);

    let schema = options.written_word("schema", &mut errors);
    let events = Events::of_enum(item, runtime, removed, schema, &mut errors);
    events.check(&mut errors);
    finish(&events, errors)
}

fn expand_struct(arguments: TokenStream, item: ItemStruct) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::of_arguments("event", arguments, STRUCT_OPTIONS, &mut errors);
    let events = Events::of_struct(item, &options, &mut errors);
    events.check(&mut errors);
    finish(&events, errors)
}

fn finish(events: &Events, errors: Errors) -> TokenStream {
    match errors.finish() {
        Ok(()) => events.expand(),
        Err(messages) => events.stub(messages),
    }
}

fn refuse(item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    errors.report(item, messages::event_item());
    let messages = errors.finish().err();
    quote!(#messages #item)
}
