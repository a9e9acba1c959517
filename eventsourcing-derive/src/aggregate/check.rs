//! Checks of `#[derive(Aggregate)]` on the parsed model, one method for each rule.

use std::collections::HashSet;

use syn::Data;

use super::model::Aggregate;
use crate::errors::Errors;
use crate::messages;

impl Aggregate {
    pub(super) fn check(&self, errors: &mut Errors) {
        self.check_is_not_union(errors);
        self.check_is_not_generic(errors);
        self.check_names_differ(errors);
    }

    /// Reports names given twice: a stream under such a name would be read twice.
    fn check_names_differ(&self, errors: &mut Errors) {
        let mut seen = HashSet::from([self.name.value()]);
        for name in self.former_names.iter().chain(&self.next_name) {
            if !seen.insert(name.value()) {
                errors.report(
                    name,
                    messages::aggregate_name_repeated(name.value(), &self.input.ident),
                );
            }
        }
    }

    /// Reports unions, which serde does not support.
    fn check_is_not_union(&self, errors: &mut Errors) {
        if let Data::Union(_) = self.input.data {
            errors.report(
                &self.input.ident,
                messages::aggregate_union(&self.input.ident),
            );
        }
    }

    /// Reports type parameters: the stored name would stand for several types.
    fn check_is_not_generic(&self, errors: &mut Errors) {
        if !self.input.generics.params.is_empty() {
            errors.report(
                &self.input.generics,
                messages::aggregate_generic(&self.input.ident),
            );
        }
    }
}
