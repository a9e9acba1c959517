//! The macros of `eventsourcing-core`, which re-exports them.
#![warn(missing_docs)]

mod aggregate;
mod errors;
mod event;
mod fingerprint;
mod messages;
mod options;
mod runtime_path;
mod source_text;
mod stored_name;
mod system;

use proc_macro::TokenStream;

/// Implements `Aggregate`.
#[proc_macro_derive(Aggregate, attributes(aggregate))]
pub fn derive_aggregate(input: TokenStream) -> TokenStream {
    aggregate::derive(input.into()).into()
}

/// Implements `Event`.
#[proc_macro_attribute]
pub fn event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    event::attribute(arguments.into(), item.into()).into()
}

/// Implements `System`.
#[proc_macro_derive(System, attributes(system, application, projection))]
pub fn derive_system(input: TokenStream) -> TokenStream {
    system::derive(input.into()).into()
}
