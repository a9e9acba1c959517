//! Ownership: within a system, an application saves the aggregates that it owns and no others.
//!
//! What another application owns may be kept in another store, and its followers look for the events there. So a save past the
//! owner is refused before anything is written.

use super::Application;
use crate::store::StoreError;
use crate::system::Definition;

/// The owners of the aggregates of a system.
pub(crate) struct Owners(Vec<Owned>);

struct Owned {
    /// The stored name of the aggregate.
    aggregate: &'static str,
    application: &'static str,
}

impl Owners {
    pub(crate) fn of(definition: &Definition) -> Self {
        let owned = definition.applications.iter().flat_map(|application| {
            let name = application.name;
            application.aggregates.iter().map(move |aggregate| Owned {
                aggregate,
                application: name,
            })
        });
        Self(owned.collect())
    }

    fn owner(&self, aggregate: &str) -> Option<&'static str> {
        self.0
            .iter()
            .find(|owned| owned.aggregate == aggregate)
            .map(|owned| owned.application)
    }
}

impl Application {
    /// Checks that an aggregate belongs to this application, if it is one of a system.
    ///
    /// # Errors
    /// [`StoreError::Invalid`]: another application owns the aggregate, or none does.
    pub(super) fn check_owns(&self, aggregate: &'static str) -> Result<(), StoreError> {
        let Some(owners) = &self.settings.owners else {
            return Ok(());
        };
        let name = &self.name;
        let reason = match owners.owner(aggregate) {
            Some(owner) if owner == name.as_str() => return Ok(()),
            Some(owner) => {
                format!(
                    "application {name} cannot save {aggregate}, which {owner} owns; save it through {owner}"
                )
            }
            None => format!(
                "application {name} cannot save {aggregate}, which no application of the system owns; write it into \
                 `aggregates(…)` of the one that does"
            ),
        };
        Err(StoreError::Invalid { reason })
    }
}
