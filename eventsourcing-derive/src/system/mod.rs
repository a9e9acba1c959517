//! `#[derive(System)]`: from a struct of applications and projections to its `impl System`.

mod check;
mod expand;
mod follows;
mod model;
mod parse;

use proc_macro2::TokenStream;

use crate::errors::Errors;
use model::System;

pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let input = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let system = System::parse(input, &mut errors);
    system.check(&mut errors);
    match errors.finish() {
        Ok(()) => system.expand(),
        Err(messages) => system.stub(messages),
    }
}
