//! Checks of `follows(…)`: the followed field exists, owns the aggregate, and is followed once.

use std::collections::HashSet;

use super::model::{Follow, Part, System, event_name};
use crate::errors::Errors;
use crate::messages;
use crate::options::{nearest, words};
use crate::source_text::source_text;

impl System {
    pub(super) fn check_follows(&self, errors: &mut Errors) {
        for part in &self.parts {
            check_differ(part, errors);
            for follow in &part.follows {
                self.check_follow(part, follow, errors);
                check_events(follow, errors);
            }
        }
    }

    fn check_follow(&self, part: &Part, follow: &Follow, errors: &mut Errors) {
        if self.incomplete.contains(&follow.field) {
            return;
        }
        let Some(followed) = self.part(&follow.field) else {
            return errors.report(&follow.field, self.no_such_field(follow));
        };
        if followed.field == part.field {
            errors.report(follow, messages::follows_itself(&part.field));
        } else if followed.aggregates().is_none() {
            errors.report(&follow.field, messages::follows_projection(&followed.field));
        } else if !followed.incomplete && !followed.owns(&follow.aggregate) {
            errors.report(&follow.aggregate, not_owned(followed, follow));
        }
    }

    fn no_such_field(&self, follow: &Follow) -> String {
        let applications = self.parts.iter().filter(|part| part.aggregates().is_some());
        let known: Vec<_> = applications.map(|part| part.field.to_string()).collect();
        match nearest(&follow.field.to_string(), known.iter().map(String::as_str)) {
            Some(nearest) => messages::follows_misspelt(&follow.field, nearest),
            None => messages::follows_unknown(&follow.field, words(&known)),
        }
    }
}

/// Reports sources listed twice: an event would arrive twice.
fn check_differ(part: &Part, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for follow in &part.follows {
        let aggregate = source_text(&follow.aggregate);
        if !seen.insert((&follow.field, aggregate.clone())) {
            errors.report(follow, messages::repeated_follow(&follow.field, aggregate));
        }
    }
}

/// Checks the names of events. The compiler reports names that the aggregate does not have.
fn check_events(follow: &Follow, errors: &mut Errors) {
    let Some(events) = &follow.events else { return };
    let aggregate = source_text(&follow.aggregate);
    if events.is_empty() {
        errors.report(&follow.aggregate, messages::follows_no_event(&aggregate));
    }
    let mut seen = HashSet::new();
    for event in events {
        match event_name(event) {
            None => errors.report(
                event,
                messages::follows_strange_event(source_text(event), &aggregate),
            ),
            Some(name) if !seen.insert(name) => {
                errors.report(name, messages::repeated_followed_event(name));
            }
            Some(_) => {}
        }
    }
}

fn not_owned(followed: &Part, follow: &Follow) -> String {
    let owned: Vec<_> = followed
        .aggregates()
        .unwrap_or_default()
        .iter()
        .map(source_text)
        .collect();
    messages::follows_not_owned(
        &followed.field,
        source_text(&follow.aggregate),
        words(&owned),
    )
}
