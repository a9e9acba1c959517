//! Reads the source into the model. The type comes first, then the options.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Expr, ExprArray, Ident, Token, Type, bracketed};

use super::{Laws, Subject};
use crate::errors::Errors;
use crate::messages;
use crate::options::Options;

const OF_AGGREGATES: &[&str] = &["events", "decide", "samples"];
const OF_POLICIES: &[&str] = &["events", "given"];

impl Laws {
    /// Returns `None` only after a mistake was reported.
    pub(super) fn parse(input: TokenStream, errors: &mut Errors) -> Option<Self> {
        let Ok(Call { kit, input }) = Call::parse.parse2(input) else {
            errors.report_at(Span::call_site(), messages::laws_without_subject());
            return None;
        };
        let Ok(Head {
            policy,
            aggregate,
            options,
        }) = Head::parse.parse2(input.clone())
        else {
            let place = input
                .into_iter()
                .next()
                .map_or_else(Span::call_site, |token| token.span());
            errors.report_at(place, messages::laws_without_subject());
            return None;
        };
        let known = if policy.is_some() {
            OF_POLICIES
        } else {
            OF_AGGREGATES
        };
        let options = Options::of_arguments("laws!", options, known, errors);
        let events = options.expr("events", "events = [AccountEvent::Closed]", errors);
        let module = module(policy.as_deref(), &aggregate);
        let subject = match policy {
            Some(policy) => {
                let given = list(&options, "given", "given = [Account]", errors);
                Subject::Policy {
                    policy,
                    aggregate,
                    given,
                }
            }
            None => {
                let decisions = list(&options, "decide", "decide = [Account::credit]", errors);
                let samples = options.expr(
                    "samples",
                    "samples = [(\"Credited\", 1, json!({ \"amount\": 1 }))]",
                    errors,
                );
                Subject::Aggregate {
                    aggregate,
                    decisions,
                    samples,
                }
            }
        };
        Some(Self {
            kit,
            module,
            subject,
            events,
        })
    }
}

/// The path of the test kit in brackets, and the text of the user.
struct Call {
    kit: TokenStream,
    input: TokenStream,
}

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let kit;
        bracketed!(kit in input);
        Ok(Self {
            kit: kit.parse()?,
            input: input.parse()?,
        })
    }
}

struct Head {
    policy: Option<Box<Type>>,
    aggregate: Box<Type>,
    options: TokenStream,
}

impl Parse for Head {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let word = input.fork().parse::<Ident>();
        let is_policy = word.is_ok_and(|word| word == "policy")
            && !input.peek2(Token![,])
            && !input.peek2(Token![::]);
        let policy = match is_policy {
            true => {
                input.parse::<Ident>()?;
                let policy = input.parse()?;
                input.parse::<Token![:]>()?;
                Some(policy)
            }
            false => None,
        };
        let aggregate = input.parse()?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        Ok(Self {
            policy,
            aggregate,
            options: input.parse()?,
        })
    }
}

fn list(options: &Options, key: &str, example: &str, errors: &mut Errors) -> Vec<Expr> {
    match options.expr(key, example, errors) {
        None => Vec::new(),
        Some(Expr::Array(ExprArray { elems, .. })) => elems.into_iter().collect(),
        Some(other) => {
            errors.report(
                other,
                messages::wrong_value(key, "a list in brackets", example),
            );
            Vec::new()
        }
    }
}

/// Returns the name of the module, such as `account_laws` or `ledger_service_of_account_laws`.
fn module(policy: Option<&Type>, aggregate: &Type) -> Ident {
    let words: Vec<_> = policy
        .into_iter()
        .chain([aggregate])
        .map(in_lower_case)
        .collect();
    Ident::new(&format!("{}_laws", words.join("_of_")), Span::call_site())
}

/// Returns the last name in the type, in lower case with underscores.
fn in_lower_case(ty: &Type) -> String {
    let name = match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .map(|segment| segment.ident.to_string()),
        other => Some(other.to_token_stream().to_string()),
    };
    let mut words = String::new();
    for letter in name
        .unwrap_or_default()
        .trim_start_matches("r#")
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '_')
    {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
