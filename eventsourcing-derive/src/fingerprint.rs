//! Fingerprints of source code: FNV-1a over its tokens. Documentation, layout and a trailing comma do not count, because they
//! cannot change what a fold does.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::LitInt;

pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, source: impl ToTokens) {
        self.stream(source.to_token_stream());
        self.bytes(b"\0");
    }

    /// Returns the fingerprint as a hexadecimal literal.
    pub(crate) fn finish(self) -> LitInt {
        LitInt::new(&format!("{:#018x}", self.0), Span::call_site())
    }

    fn stream(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct)
                    if punct.as_char() == '#' && tokens.next_if(is_documentation).is_some() => {}
                TokenTree::Punct(punct) if punct.as_char() == ',' && tokens.peek().is_none() => {}
                token => self.token(token),
            }
        }
    }

    fn token(&mut self, token: TokenTree) {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                self.bytes(open);
                self.stream(group.stream());
                self.bytes(close);
            }
            TokenTree::Punct(punct) => self.bytes(punct.as_char().to_string().as_bytes()),
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                self.bytes(token.to_string().as_bytes());
                self.bytes(b" ");
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn is_documentation(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(word)) if word == "doc")
}

/// Returns the brackets of a group. A group without delimiters is only how a macro passes on its arguments, so it adds none.
fn brackets(delimiter: Delimiter) -> (&'static [u8], &'static [u8]) {
    match delimiter {
        Delimiter::Parenthesis => (b"(", b")"),
        Delimiter::Brace => (b"{", b"}"),
        Delimiter::Bracket => (b"[", b"]"),
        Delimiter::None => (b"", b""),
    }
}
