//! The options that say how events of earlier releases are read: `upcast`, `former_names`, `split` and `retired`.

use std::collections::{BTreeMap, HashMap, HashSet};

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, LitInt, LitStr, Path};

use super::model::{EventType, Events};
use crate::errors::Errors;
use crate::fingerprint::Fingerprint;
use crate::messages;
use crate::options::{Options, words};
use crate::runtime_path::RuntimePath;
use crate::stored_name::check_stored_name;

/// A function from one version of a payload to the next.
pub(super) struct Upcast {
    /// The word `upcast`.
    at: Ident,
    from: u16,
    with: Path,
}

/// Stored events that this release does not record any more.
#[derive(Default)]
pub(super) struct RemovedEvents {
    splits: Vec<Split>,
    retired: Vec<LitStr>,
}

/// A stored event that is read as several others.
struct Split {
    name: LitStr,
    version: u16,
    with: Path,
}

impl Upcast {
    pub(super) fn parse_all(options: &Options, errors: &mut Errors) -> Vec<Self> {
        let known = &["from", "with"];
        let example = "upcast(from = 1, with = function)";

        options.each("upcast", example, known, errors, Self::parse)
    }

    /// Returns `None` if something is missing or wrong, which has been reported.
    fn parse(at: &Ident, options: &Options, reported: usize, errors: &mut Errors) -> Option<Self> {
        let from = options.version("from", "from = 1", errors);
        let with = options.path("with", "with = function", errors);
        let missing = [("from", from.is_none()), ("with", with.is_none())];
        report_missing(at, &missing, messages::upcast_incomplete, reported, errors);
        Some(Self {
            at: at.clone(),
            from: from?,
            with: with?,
        })
    }
}

/// Reports missing options. Reports nothing after other mistakes, which may be the reason that an option seems to be missing.
fn report_missing(
    at: &Ident,
    options: &[(&'static str, bool)],
    message: fn(&'static str) -> String,
    reported: usize,
    errors: &mut Errors,
) {
    if errors.count() == reported {
        for (option, _) in options.iter().filter(|(_, is_missing)| *is_missing) {
            errors.report(at, message(option));
        }
    }
}

impl RemovedEvents {
    pub(super) fn parse(options: &Options, errors: &mut Errors) -> Self {
        let retired: Vec<LitStr> = options.list("retired", "retired(\"Frozen\")", errors);
        retired
            .iter()
            .for_each(|name| check_stored_name(name, errors));
        let known = &["name", "version", "with"];
        let example = "split(name = \"Moved\", with = function)";

        Self {
            splits: options.each("split", example, known, errors, Split::parse),
            retired,
        }
    }
}

impl Split {
    /// Returns `None` if something is missing or wrong, which has been reported.
    fn parse(at: &Ident, options: &Options, reported: usize, errors: &mut Errors) -> Option<Self> {
        let name = options.text("name", "name = \"Moved\"", errors);
        let version = options.version("version", "version = 1", errors);
        let with = options.path("with", "with = function", errors);
        let missing = [("name", name.is_none()), ("with", with.is_none())];
        report_missing(at, &missing, messages::split_incomplete, reported, errors);
        let name = name?;
        let with = with?;

        check_stored_name(&name, errors);
        (errors.count() == reported).then_some(Self {
            name,
            version: version.unwrap_or(1),
            with,
        })
    }
}

impl Events {
    pub(super) fn check_legacy(&self, errors: &mut Errors) {
        self.types
            .iter()
            .for_each(|event| event.check_upcasts(errors));
        self.check_splits(errors);
        self.check_former_names_differ(errors);
    }

    /// Reports gaps between the versions of a split event: every version may still be in stores.
    fn check_splits(&self, errors: &mut Errors) {
        let mut versions: BTreeMap<String, (&LitStr, HashSet<u16>)> = BTreeMap::new();
        for Split { name, version, .. } in &self.removed.splits {
            let (_, known) = versions
                .entry(name.value())
                .or_insert_with(|| (name, HashSet::new()));
            if !known.insert(*version) {
                errors.report(name, messages::split_repeated(version, name.value()));
            }
        }
        for (name, (place, known)) in versions {
            let last = known.iter().max().copied().unwrap_or_default();
            if let Some(missing) = (1..last).find(|version| !known.contains(version)) {
                errors.report(place, messages::split_missing(missing, name));
            }
        }
    }

    /// Reports stored names given twice: a stored name stands for at most one event.
    fn check_former_names_differ(&self, errors: &mut Errors) {
        let mut seen: HashSet<String> = self.types.iter().map(|event| event.name.value()).collect();
        let mut split = HashMap::new();
        for Split { name, .. } in &self.removed.splits {
            split.entry(name.value()).or_insert(name);
        }
        let mut splits: Vec<_> = split.into_values().collect();
        splits.sort_by_key(|name| name.value());
        let former = self.types.iter().flat_map(|event| &event.former_names);
        for name in former.chain(&self.removed.retired).chain(splits) {
            if !seen.insert(name.value()) {
                errors.report(name, messages::former_name_taken(name.value()));
            }
        }
    }

    /// Expands to `const FORMER` and its fingerprint; `None` if earlier releases stored nothing else.
    pub(super) fn legacy(&self) -> Option<TokenStream> {
        let runtime = &self.runtime;
        let types = self
            .types
            .iter()
            .enumerate()
            .flat_map(|(index, event)| event.legacy(index, runtime));
        let removed = self.removed.expand(runtime);
        let former: Vec<_> = types.chain(removed).collect();
        if former.is_empty() {
            return None;
        }
        let fingerprint = self.legacy_fingerprint();
        Some(quote! {
            const FORMER: &'static [#runtime::LegacyEvent<Self>] = &[#(#former),*];
            const FORMER_FINGERPRINT: u64 = #fingerprint;
        })
    }

    /// Returns the fingerprint of the options that change how stored events are read. The macro does not see the bodies of the
    /// functions, so they do not count.
    fn legacy_fingerprint(&self) -> LitInt {
        let mut fingerprint = Fingerprint::new();
        for event in &self.types {
            let ident = &event.ident;
            for name in &event.former_names {
                fingerprint.add(quote!(#ident #name));
            }
            for Upcast { from, with, .. } in &event.upcasts {
                let from = Literal::u16_unsuffixed(*from);
                fingerprint.add(quote!(#ident #from #with));
            }
        }
        for Split {
            name,
            version,
            with,
        } in &self.removed.splits
        {
            let version = Literal::u16_unsuffixed(*version);
            fingerprint.add(quote!(split #name #version #with));
        }
        for name in &self.removed.retired {
            fingerprint.add(quote!(retired #name));
        }
        fingerprint.finish()
    }
}

impl EventType {
    /// Checks that each version before the current one leads to the next.
    fn check_upcasts(&self, errors: &mut Errors) {
        if self.is_incomplete {
            return;
        }
        let mut known = HashSet::new();
        for Upcast { at, from, .. } in &self.upcasts {
            if *from >= self.version {
                let name = &self.ident;
                let version = self.version;
                let next = u32::from(*from) + 1;

                errors.report(at, messages::upcast_of_current(name, version, from, next));
            } else if !known.insert(*from) {
                errors.report(at, messages::upcast_repeated(from, &self.ident));
            }
        }
        let missing: Vec<_> = (1..self.version)
            .filter(|version| !known.contains(version))
            .collect();
        if let Some(first) = missing.first() {
            let next = first + 1;
            let message = match missing.len() {
                1 => messages::upcast_missing(&self.ident, first, next),
                _ => messages::upcasts_missing(&self.ident, words(&missing), first),
            };
            errors.report(&self.ident, message);
        }
    }

    /// Expands to the names and versions under which earlier releases may have stored the event.
    fn legacy(&self, index: usize, runtime: &RuntimePath) -> Vec<TokenStream> {
        let own = (self.version > 1).then_some(&self.name);
        let names = own.into_iter().chain(&self.former_names);
        let read_as = names.map(|name| {
            let upcasters = self.upcasters(runtime);
            quote! {{
                const UPCASTERS: &[#runtime::private::Upcaster] = &[#(#upcasters),*];
                #runtime::LegacyEvent::read_as(#name, #index, UPCASTERS)
            }}
        });
        read_as.collect()
    }

    fn upcasters(&self, runtime: &RuntimePath) -> Vec<TokenStream> {
        let mut upcasts: Vec<_> = self.upcasts.iter().collect();
        upcasts.sort_by_key(|upcast| upcast.from);
        upcasts
            .into_iter()
            .map(|upcast| upcaster(&upcast.with, runtime))
            .collect()
    }
}

impl RemovedEvents {
    fn expand(&self, runtime: &RuntimePath) -> Vec<TokenStream> {
        let splits = self.splits.iter().map(
            |Split {
                 name,
                 version,
                 with,
             }| {
                let splitter = reader(with, runtime, &quote!(events::<Self>()), &[]);
                quote!(#runtime::LegacyEvent::split(#name, #version, #splitter))
            },
        );
        let retired = self
            .retired
            .iter()
            .map(|name| quote!(#runtime::LegacyEvent::retired(#name)));
        splits.chain(retired).collect()
    }
}

/// Expands to a function from one version of a payload to the next. The function of the user may fail or not.
fn upcaster(with: &Path, runtime: &RuntimePath) -> TokenStream {
    let located = runtime.located_at(with.span());
    let span = Span::call_site().located_at(with.span());

    let import = quote_spanned!(span=> use #located::private::Certain as _;);
    reader(with, runtime, &quote!(payload()), &[import])
}

/// Expands to a function of payloads that calls the user's function. Its spans are those of the user's path, so traits that the
/// function's types lack are reported there.
fn reader(
    with: &Path,
    runtime: &RuntimePath,
    outcome: &TokenStream,
    imports: &[TokenStream],
) -> TokenStream {
    let located = runtime.located_at(with.span());
    let span = Span::call_site().located_at(with.span());

    let outcome = outcome.clone().into_iter().map(|mut token| {
        token.set_span(span);
        token
    });
    quote_spanned! {span=>
        |payload: &#located::private::StoredPayload<'_>| {
            #(#imports)*
            #located::private::Outcome(#with(#located::private::read(payload)?)).#(#outcome)*
        }
    }
}
