//! Expands the model to the module with the tests. Types of the test kit are named by their full path, so that no name of the
//! kit hides a name of the user's module.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::{Laws, Subject};

/// The methods of `Laws`, one for each law.
const OF_AGGREGATES: &[&str] = &[
    "folding_never_panics",
    "replay_gives_what_was_recorded",
    "a_snapshot_and_the_events_after_it_are_all_events",
    "what_is_stored_can_be_read",
];

impl Laws {
    pub(super) fn expand(&self) -> TokenStream {
        let Self {
            kit,
            module,
            subject,
            events,
        } = self;
        let events = events
            .as_ref()
            .map(|events| quote_spanned!(events.span()=> .with_events(#events)));
        let (laws, names): (_, &[&str]) = match subject {
            Subject::Aggregate {
                aggregate,
                decisions,
                samples,
            } => {
                let decisions = decisions
                    .iter()
                    .map(|decide| quote_spanned!(decide.span()=> .with_decision(#decide)));
                let samples = samples
                    .as_ref()
                    .map(|samples| quote_spanned!(samples.span()=> .with_samples(#samples)));
                let laws = quote_spanned!(aggregate.span()=> #kit::laws::Subject::<#aggregate>::new().laws());
                (quote!(#laws #events #(#decisions)* #samples), OF_AGGREGATES)
            }
            Subject::Policy {
                policy,
                aggregate,
                given,
            } => {
                let given = given
                    .iter()
                    .map(|given| quote_spanned!(given.span()=> .with_given::<#given>()));
                let laws = quote_spanned!(policy.span()=> #kit::laws::PolicyLaws::<#policy, #aggregate>::new());
                (
                    quote!(#laws #events #(#given)* .with_timers()),
                    &["an_event_processed_twice_leads_to_the_same"],
                )
            }
        };
        let names = names.iter().map(|name| Ident::new(name, Span::call_site()));
        quote! {
            mod #module {
                #[allow(unused_imports, clippy::wildcard_imports)]
                use super::*;
                #[allow(unused_imports)]
                use #kit::laws::{AnySubject as _, TimersOrNone as _};

                #(#[test] fn #names() { #laws.#names(); })*
            }
        }
    }
}
