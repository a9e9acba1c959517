//! The options of the macros: `key = value` and `key(…)`, separated by commas. Every macro reads them here, so that mistakes
//! in them read alike.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, ExprLit, ExprPath, Ident, Lit, LitInt, LitStr, Meta, Path, Token,
    parenthesized, token,
};

use crate::errors::Errors;
use crate::messages;

/// Options that may be given several times.
const REPEATABLE: &[&str] = &["upcast", "split"];

/// The options of one macro call. Unknown and repeated options have been reported and left out.
pub(crate) struct Options(Vec<Entry>);

struct Entry {
    key: Ident,
    value: Value,
}

enum Value {
    Missing,
    Expr(Expr),
    List(TokenStream),
}

impl Options {
    /// Reads the options of every `#[attribute(…)]` among `attributes`.
    pub(crate) fn of_attributes(
        attribute: &str,
        attributes: &[Attribute],
        known: &[&str],
        errors: &mut Errors,
    ) -> Self {
        let mut entries = Vec::new();
        for written in attributes
            .iter()
            .filter(|written| written.path().is_ident(attribute))
        {
            match &written.meta {
                Meta::Path(_) => {}
                Meta::List(list) => entries.extend(read(attribute, list.tokens.clone(), errors)),
                Meta::NameValue(meta) => {
                    errors.report(
                        meta,
                        messages::malformed_options(shown(attribute), "expected parentheses"),
                    );
                }
            }
        }
        Self::known(attribute, entries, known, errors)
    }

    /// Reads the options between the parentheses of an attribute macro, or of `macro!` if `attribute` ends with `!`.
    pub(crate) fn of_arguments(
        attribute: &str,
        arguments: TokenStream,
        known: &[&str],
        errors: &mut Errors,
    ) -> Self {
        let entries = read(attribute, arguments, errors);
        Self::known(attribute, entries, known, errors)
    }

    fn known(attribute: &str, entries: Vec<Entry>, known: &[&str], errors: &mut Errors) -> Self {
        let mut kept: Vec<Entry> = Vec::new();
        for entry in entries {
            if !known.iter().any(|known| entry.key == known) {
                errors.report(
                    &entry.key,
                    unknown(attribute, &entry.key.to_string(), known),
                );
            } else if kept.iter().any(|kept| kept.key == entry.key)
                && !REPEATABLE.iter().any(|repeatable| entry.key == repeatable)
            {
                errors.report(&entry.key, messages::repeated_option(&entry.key));
            } else {
                kept.push(entry);
            }
        }
        Self(kept)
    }

    /// Returns the value of `key = "text"`.
    pub(crate) fn text(&self, key: &str, example: &str, errors: &mut Errors) -> Option<LitStr> {
        self.typed(key, "a text", example, errors, |value| match value {
            Value::Expr(Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            })) => Some(text.clone()),
            _ => None,
        })
    }

    /// Returns the value of `key = path::to::something`.
    pub(crate) fn path(&self, key: &str, example: &str, errors: &mut Errors) -> Option<Path> {
        self.typed(key, "a path", example, errors, |value| match value {
            Value::Expr(Expr::Path(ExprPath {
                qself: None, path, ..
            })) => Some(path.clone()),
            _ => None,
        })
    }

    /// Returns the value of `key = Name`.
    pub(crate) fn ident(&self, key: &str, example: &str, errors: &mut Errors) -> Option<Ident> {
        self.typed(key, "a name", example, errors, |value| match value {
            Value::Expr(Expr::Path(ExprPath {
                qself: None, path, ..
            })) => path.get_ident().cloned(),
            _ => None,
        })
    }

    /// Returns the value of `key = 2`, a number from 1 to 65535.
    pub(crate) fn version(&self, key: &str, example: &str, errors: &mut Errors) -> Option<u16> {
        let number = |value: &LitInt| value.base10_parse().ok().filter(|version| *version > 0);
        self.typed(
            key,
            "a number from 1 to 65535",
            example,
            errors,
            |value| match value {
                Value::Expr(Expr::Lit(ExprLit {
                    lit: Lit::Int(value),
                    ..
                })) => number(value),
                _ => None,
            },
        )
    }

    /// Returns the value of `key = expression`.
    pub(crate) fn expr(&self, key: &str, example: &str, errors: &mut Errors) -> Option<Expr> {
        self.typed(key, "an expression", example, errors, |value| match value {
            Value::Expr(expr) => Some(expr.clone()),
            _ => None,
        })
    }

    /// Returns `true` if the word `key` is among the options.
    pub(crate) fn word(&self, key: &str, errors: &mut Errors) -> bool {
        self.written_word(key, errors).is_some()
    }

    /// Returns the word `key` with its place in the source.
    pub(crate) fn written_word(&self, key: &str, errors: &mut Errors) -> Option<Ident> {
        self.typed(key, "nothing", key, errors, |value| {
            matches!(value, Value::Missing).then_some(())
        })?;
        self.0
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| entry.key.clone())
    }

    /// Returns the items of `key(item, item)`.
    pub(crate) fn list<T: Parse>(&self, key: &str, example: &str, errors: &mut Errors) -> Vec<T> {
        let items = self.typed(
            key,
            "a list in parentheses",
            example,
            errors,
            |value| match value {
                Value::List(items) => Punctuated::<T, Token![,]>::parse_terminated
                    .parse2(items.clone())
                    .ok(),
                _ => None,
            },
        );
        items.into_iter().flatten().collect()
    }

    /// Parses every `key(…)` with `parse`, which gets the word `key`, the options, and the number of mistakes that had been
    /// reported before them.
    pub(crate) fn each<T>(
        &self,
        key: &str,
        example: &str,
        known: &[&str],
        errors: &mut Errors,
        parse: fn(&Ident, &Self, usize, &mut Errors) -> Option<T>,
    ) -> Vec<T> {
        let mut each = Vec::new();
        for entry in self.0.iter().filter(|entry| entry.key == key) {
            let Value::List(options) = &entry.value else {
                errors.report(
                    entry,
                    messages::wrong_value(key, "options in parentheses", example),
                );
                continue;
            };
            let reported = errors.count();
            let options = Self::of_arguments("event", options.clone(), known, errors);
            each.extend(parse(&entry.key, &options, reported, errors));
        }
        each
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        example: &str,
        errors: &mut Errors,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let entry = self.0.iter().find(|entry| entry.key == key)?;
        let value = read(&entry.value);
        if value.is_none() {
            errors.report(entry, messages::wrong_value(key, expected, example));
        }
        value
    }
}

/// Returns the keys of an attribute of another crate, such as serde. An attribute that cannot be read is left for that crate
/// to report.
pub(crate) fn foreign_keys(attribute: &Attribute) -> Vec<Ident> {
    let entries = attribute.parse_args_with(Punctuated::<Entry, Token![,]>::parse_terminated);
    entries
        .into_iter()
        .flatten()
        .map(|entry| entry.key)
        .collect()
}

/// Returns the word of `known` that `found` is probably a misspelling of.
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |known: &str| match known.contains(found) || found.contains(known) {
        true => 1,
        false => strsim::damerau_levenshtein(found, known),
    };
    let distances = known.into_iter().map(|known| (distance(known), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + found.chars().count() / 3).then_some(nearest)
}

fn unknown(attribute: &str, option: &str, known: &[&str]) -> String {
    match nearest(option, known.iter().copied()) {
        Some(nearest) => messages::misspelt_option(shown(attribute), option, nearest),
        None => messages::unknown_option(shown(attribute), option, words(known)),
    }
}

/// Joins words for a message: "`a`, `b` and `c`".
pub(crate) fn words(words: &[impl ToString]) -> String {
    let quoted: Vec<_> = words
        .iter()
        .map(|word| format!("`{}`", word.to_string()))
        .collect();
    match quoted.split_last() {
        None => "none".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// Returns the macro as the source spells it.
fn shown(attribute: &str) -> String {
    if attribute.ends_with('!') {
        attribute.into()
    } else {
        format!("#[{attribute}]")
    }
}

fn read(attribute: &str, tokens: TokenStream, errors: &mut Errors) -> Vec<Entry> {
    match Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens) {
        Ok(entries) => entries.into_iter().collect(),
        Err(cause) => {
            errors.report_at(
                cause.span(),
                messages::malformed_options(shown(attribute), &cause),
            );
            Vec::new()
        }
    }
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() {
            Value::Expr(input.parse()?)
        } else if input.peek(token::Paren) {
            let items;
            parenthesized!(items in input);
            Value::List(items.parse()?)
        } else {
            Value::Missing
        };
        Ok(Self { key, value })
    }
}

impl ToTokens for Entry {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.key.to_tokens(tokens);
        match &self.value {
            Value::Missing => {}
            Value::Expr(expr) => expr.to_tokens(tokens),
            Value::List(items) => items.to_tokens(tokens),
        }
    }
}
