//! Collects mistakes, so that one compilation shows them all. Their texts are in `messages`.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// Reports a mistake in the code of `place`.
    pub(crate) fn report(&mut self, place: impl ToTokens, message: impl Display) {
        self.0.push(syn::Error::new_spanned(place, message));
    }

    /// Reports a mistake at a place without code of its own.
    pub(crate) fn report_at(&mut self, span: Span, message: impl Display) {
        self.0.push(syn::Error::new(span, message));
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the reported mistakes as `compile_error!` calls, or `Ok` if there are none.
    pub(crate) fn finish(self) -> Result<(), TokenStream> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(self.0.iter().map(syn::Error::to_compile_error).collect())
    }
}
