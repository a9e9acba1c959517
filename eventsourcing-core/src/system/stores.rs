//! [`Stores`] and [`Applications`]: which application keeps its events where.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Definition, SystemError};
use crate::Application;
use crate::store::EventStore;

/// The stores of a system: one for all applications, unless one is given a store of its own.
///
/// A single store converts into it, so `MySystem::start(store, runner)` is enough. One store is one log with one
/// order over all applications; give an application its own only for a reason.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<dyn EventStore>,
    own: BTreeMap<String, Arc<dyn EventStore>>,
}

impl Stores {
    /// One store for all.
    #[must_use]
    pub fn shared(store: impl EventStore) -> Self {
        Self { shared: Arc::new(store), own: BTreeMap::new() }
    }

    /// Gives `application` a store of its own.
    #[must_use]
    pub fn with(mut self, application: impl Into<String>, store: impl EventStore) -> Self {
        self.own.insert(application.into(), Arc::new(store));
        self
    }

    pub(crate) fn of(&self, application: &str) -> Arc<dyn EventStore> {
        Arc::clone(self.own.get(application).unwrap_or(&self.shared))
    }

    pub(crate) fn check(&self, definition: &Definition) -> Result<(), SystemError> {
        let unknown = |name: &&String| definition.applications.iter().all(|application| application.name != *name);
        match self.own.keys().find(unknown) {
            None => Ok(()),
            Some(name) => Err(super::unknown_application(definition, name)),
        }
    }
}

impl<S: EventStore> From<S> for Stores {
    fn from(store: S) -> Self {
        Self::shared(store)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("own", &self.own.keys()).finish_non_exhaustive()
    }
}

/// The applications of a system that is being started. `#[derive(System)]` hands them to the services.
#[derive(Debug)]
pub struct Applications {
    by_name: BTreeMap<&'static str, Application>,
}

impl Applications {
    pub(crate) fn new(applications: impl IntoIterator<Item = (&'static str, Application)>) -> Self {
        Self { by_name: applications.into_iter().collect() }
    }

    /// The application of this name.
    ///
    /// # Panics
    /// If the system's definition has none: `assemble` and `definition` come from one declaration.
    #[must_use]
    pub fn application(&self, name: &str) -> Application {
        self.by_name.get(name).cloned().expect("every assembled application is in the definition")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Application> {
        self.by_name.values()
    }
}
