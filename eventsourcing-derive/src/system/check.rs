//! Checks of `#[derive(System)]` on the parsed model, except those of `follows`.

use std::collections::{HashMap, HashSet};

use syn::Path;

use super::model::{Part, Role, System};
use crate::errors::Errors;
use crate::messages;
use crate::source_text::source_text;

impl System {
    pub(super) fn check(&self, errors: &mut Errors) {
        self.check_is_not_generic(errors);
        for part in &self.parts {
            part.check_has_work(errors);
        }
        self.check_names_differ(errors);
        self.check_aggregates_have_one_owner(errors);
        self.check_follows(errors);
    }

    /// Reports type parameters: the stored names would stand for several systems.
    fn check_is_not_generic(&self, errors: &mut Errors) {
        if !self.input.generics.params.is_empty() {
            errors.report(
                &self.input.generics,
                messages::system_generic(&self.input.ident),
            );
        }
    }

    /// Reports names given twice: the positions of followers are stored under their names.
    fn check_names_differ(&self, errors: &mut Errors) {
        let mut seen = HashSet::new();
        for part in &self.parts {
            if !seen.insert(part.name.value()) {
                errors.report(&part.name, messages::repeated_name(part.name.value()));
            }
        }
    }

    /// Reports aggregates of two owners: each owner would expect to see all their events.
    fn check_aggregates_have_one_owner(&self, errors: &mut Errors) {
        let mut owners: HashMap<String, &Part> = HashMap::new();
        for (part, aggregate) in self.parts.iter().flat_map(owned) {
            match owners.insert(source_text(aggregate), part) {
                None => {}
                Some(first) if first.field == part.field => {
                    errors.report(
                        aggregate,
                        messages::repeated_aggregate(source_text(aggregate)),
                    );
                }
                Some(first) => {
                    let message = messages::aggregate_of_two(
                        source_text(aggregate),
                        &first.field,
                        &part.field,
                    );
                    errors.report(aggregate, message);
                }
            }
        }
    }
}

impl Part {
    fn check_has_work(&self, errors: &mut Errors) {
        if self.incomplete || !self.follows.is_empty() {
            return;
        }
        match &self.role {
            Role::Application { aggregates, .. } if aggregates.is_empty() => {
                errors.report(&self.field, messages::application_idle(&self.field));
            }
            Role::Application {
                timers: Some(timers),
                ..
            } => {
                errors.report(timers, messages::timers_without_follows(&self.field));
            }
            Role::Application { timers: None, .. } => {}
            Role::Projection(_) => {
                errors.report(&self.field, messages::projection_idle(&self.field));
            }
        }
    }
}

fn owned(part: &Part) -> impl Iterator<Item = (&Part, &Path)> {
    part.aggregates()
        .unwrap_or_default()
        .iter()
        .map(move |aggregate| (part, aggregate))
}
