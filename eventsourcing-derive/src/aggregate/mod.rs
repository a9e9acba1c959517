//! `#[derive(Aggregate)]`: from the state's struct or enum to its `impl Aggregate`.

mod check;
mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;

use crate::errors::Errors;
use model::Aggregate;

pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let input = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let aggregate = Aggregate::parse(input, &mut errors);
    aggregate.check(&mut errors);
    match errors.finish() {
        Ok(()) => aggregate.expand(),
        Err(messages) => aggregate.stub(messages),
    }
}
