//! Where expansions find `eventsourcing_core`: at the root, unless `crate = …` says otherwise.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Path, parse_quote};

use crate::errors::Errors;
use crate::options::Options;
use crate::source_text::source_text;

#[derive(Clone)]
pub(crate) struct RuntimePath(Path);

impl RuntimePath {
    pub(crate) fn parse(options: &Options, errors: &mut Errors) -> Self {
        let path = options.path("crate", "crate = ::eventsourcing_core", errors);
        Self(path.unwrap_or_else(|| parse_quote!(::eventsourcing_core)))
    }

    /// The path as if it were written at `place`, so that messages about what it names show that.
    pub(crate) fn located_at(&self, place: Span) -> TokenStream {
        let located = self.0.to_token_stream().into_iter().map(|mut token| {
            token.set_span(token.span().located_at(place));
            token
        });
        located.collect()
    }

    /// The path as serde's `crate` attribute wants it.
    pub(crate) fn serde(&self) -> String {
        source_text(&self.0) + "::private::serde"
    }

    /// The path as schemars' `crate` attribute wants it.
    pub(crate) fn schemars(&self) -> String {
        source_text(&self.0) + "::private::schemars"
    }
}

impl ToTokens for RuntimePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
