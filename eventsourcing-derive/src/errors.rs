//! Collects mistakes, so that one compilation shows them all. What they say stands in `messages`.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Reports a mistake in the code that `place` stands for.
    pub(crate) fn report(&mut self, place: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(place, message));
    }

    /// Reports a mistake where nothing is written.
    pub(crate) fn report_at(&mut self, span: Span, message: impl Display) {
        self.push(syn::Error::new(span, message));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The reported mistakes as `compile_error!` calls, or nothing.
    pub(crate) fn finish(self) -> Result<(), TokenStream> {
        self.0.map_or(Ok(()), |errors| Err(errors.into_compile_error()))
    }

    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }
}
