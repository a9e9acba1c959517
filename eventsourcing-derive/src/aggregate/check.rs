//! What an aggregate must be.

use syn::Data;

use super::model::Aggregate;
use crate::errors::Errors;
use crate::messages;

impl Aggregate {
    pub(super) fn check(&self, errors: &mut Errors) {
        self.check_is_no_union(errors);
        self.check_is_not_generic(errors);
    }

    /// serde knows no unions.
    fn check_is_no_union(&self, errors: &mut Errors) {
        if let Data::Union(_) = self.input.data {
            errors.report(&self.input.ident, messages::aggregate_union(&self.input.ident));
        }
    }

    /// The stored name would mean several types.
    fn check_is_not_generic(&self, errors: &mut Errors) {
        if !self.input.generics.params.is_empty() {
            errors.report(&self.input.generics, messages::aggregate_generic(&self.input.ident));
        }
    }
}
