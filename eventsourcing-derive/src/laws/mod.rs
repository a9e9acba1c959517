//! `laws!`: expands to a module with one test for each law, named after the type.

mod expand;
mod parse;

use proc_macro2::{Ident, TokenStream};
use syn::{Expr, Type};

use crate::errors::Errors;

/// The model of one `laws!` call.
struct Laws {
    /// The path of the crate `eventsourcing-testing`, whose macro passes it on.
    kit: TokenStream,
    module: Ident,
    subject: Subject,
    events: Option<Expr>,
}

enum Subject {
    Aggregate {
        aggregate: Box<Type>,
        decisions: Vec<Expr>,
        samples: Option<Expr>,
    },
    Policy {
        policy: Box<Type>,
        aggregate: Box<Type>,
        given: Vec<Expr>,
    },
}

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let laws = Laws::parse(input, &mut errors);
    match (errors.finish(), laws) {
        (Ok(()), Some(laws)) => laws.expand(),
        (Err(messages), _) => messages,
        (Ok(()), None) => TokenStream::new(),
    }
}
