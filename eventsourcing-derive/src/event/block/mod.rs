//! `#[event]` on an `impl` block: each method is an event, and the block is the fold.

mod check;
mod expand;
mod fields;
mod implementations;
mod model;
mod parameters;
mod parse;
mod stub;

pub(super) use expand::is_generated;
pub(super) use fields::without_self;
pub(super) use parameters::{distinct, named_types};

use proc_macro2::TokenStream;
use syn::ItemImpl;

use super::model::Events;
use crate::errors::Errors;
use model::Block;

pub(super) fn expand(arguments: TokenStream, item: ItemImpl) -> TokenStream {
    let mut errors = Errors::default();
    let (block, removed, schema) = Block::parse(arguments, item, &mut errors);
    block.check(&mut errors);
    let events = Events::of_block(
        block.to_enum(),
        block.runtime.clone(),
        removed,
        schema,
        &mut errors,
    );
    events.check_variants(&mut errors);
    match errors.finish() {
        Ok(()) => block.expand(&events),
        Err(messages) => block.stub(&events, messages),
    }
}
