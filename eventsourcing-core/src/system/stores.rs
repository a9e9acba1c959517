//! [`Stores`] and [`Applications`]: the store in which each application keeps its events.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Definition, SystemError};
use crate::sql::Database;
use crate::store::FollowerStore;
use crate::{Application, ReadModel};

/// The stores of a system: one for all applications, unless one is given a store of its own.
///
/// A single store converts into it, so `MySystem::start(store, runner)` is enough. One store is one
/// log with one order over all applications; give an application its own only for a reason.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<dyn FollowerStore>,
    own: BTreeMap<String, Arc<dyn FollowerStore>>,
    read_models: Option<Arc<dyn FollowerStore>>,
}

/// The store that keeps the position of a read model, and its database.
type StoreAndDatabase = (Arc<dyn FollowerStore>, Arc<dyn Database>);

impl Stores {
    /// Returns stores with one store for all applications.
    #[must_use]
    pub fn shared(store: impl FollowerStore) -> Self {
        Self {
            shared: Arc::new(store),
            own: BTreeMap::new(),
            read_models: None,
        }
    }

    /// Gives `application` a store of its own.
    #[must_use]
    pub fn with(mut self, application: impl Into<String>, store: impl FollowerStore) -> Self {
        self.own.insert(application.into(), Arc::new(store));
        self
    }

    /// Keeps the read models of [`SqlProjection`](crate::SqlProjection)s in the database of
    /// `store`, and not in that of the store that all applications share. For stores that have
    /// none, and to keep reports away from the log.
    #[must_use]
    pub fn with_read_models(mut self, store: impl FollowerStore) -> Self {
        self.read_models = Some(Arc::new(store));
        self
    }

    /// Returns the store of all applications that have none of their own.
    #[must_use]
    pub fn store(&self) -> Arc<dyn FollowerStore> {
        Arc::clone(&self.shared)
    }

    /// Returns the store that keeps the positions of read models, and its database.
    pub(crate) fn read_models(&self, name: &str) -> Result<StoreAndDatabase, SystemError> {
        let store = self.read_models.as_ref().unwrap_or(&self.shared);
        match store.database() {
            Some(database) => Ok((Arc::clone(store), database)),
            None => Err(SystemError::Invalid {
                reason: format!(
                    "the read model {name} needs a SQL database, and the store has none; give it one: \
                     Stores::shared(store).with_read_models(SqliteStore::in_memory()?)"
                ),
            }),
        }
    }

    pub(crate) fn of(&self, application: &str) -> Arc<dyn FollowerStore> {
        Arc::clone(self.own.get(application).unwrap_or(&self.shared))
    }

    /// Returns the stores of the applications, each once.
    pub(crate) fn of_all(&self, definition: &Definition) -> Vec<Arc<dyn FollowerStore>> {
        let mut stores: Vec<Arc<dyn FollowerStore>> = Vec::new();
        for application in &definition.applications {
            let store = self.of(application.name);
            if !stores.iter().any(|known| Arc::ptr_eq(known, &store)) {
                stores.push(store);
            }
        }
        stores
    }

    pub(crate) fn check(&self, definition: &Definition) -> Result<(), SystemError> {
        let unknown = |name: &&String| {
            definition
                .applications
                .iter()
                .all(|application| application.name != *name)
        };
        match self.own.keys().find(unknown) {
            None => Ok(()),
            Some(name) => Err(super::unknown_application(definition, name)),
        }
    }
}

impl<S: FollowerStore> From<S> for Stores {
    fn from(store: S) -> Self {
        Self::shared(store)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("own", &self.own.keys())
            .finish_non_exhaustive()
    }
}

/// The foreign projections that were passed to the builder, by follower name.
pub(crate) type GivenProjections = HashMap<&'static str, Box<dyn Any + Send + Sync>>;

/// The parts of a system that is being started. `#[derive(System)]` puts the system together from
/// them.
pub struct Applications {
    by_name: BTreeMap<&'static str, Application>,
    /// The stores that they write to, each once.
    stores: Vec<Arc<dyn FollowerStore>>,
    read_models: Vec<ReadModel>,
    given: Mutex<GivenProjections>,
}

impl Applications {
    pub(crate) fn new(
        applications: impl IntoIterator<Item = (&'static str, Application)>,
        stores: Vec<Arc<dyn FollowerStore>>,
        read_models: Vec<ReadModel>,
        given: GivenProjections,
    ) -> Self {
        Self {
            by_name: applications.into_iter().collect(),
            stores,
            read_models,
            given: Mutex::new(given),
        }
    }

    /// Returns the application of this name.
    ///
    /// # Panics
    /// If the system's definition has none: `assemble` and `definition` come from one declaration.
    #[must_use]
    pub fn application(&self, name: &str) -> Application {
        self.by_name
            .get(name)
            .cloned()
            .expect("every assembled application is in the definition")
    }

    /// Returns the handle for queries to the read model of this name.
    ///
    /// # Panics
    /// If no follower of the system is a read model of this name.
    #[must_use]
    pub fn read_model(&self, name: &str) -> ReadModel {
        let found = self
            .read_models
            .iter()
            .find(|read_model| *read_model.name() == *name);
        found
            .cloned()
            .expect("every assembled read model is among the followers")
    }

    /// Takes the foreign projection of this name out of those that were passed to the builder.
    /// Works once for each name.
    ///
    /// # Panics
    /// If no follower of the system is a foreign projection of this name and type.
    #[must_use]
    pub fn projection<P: Any>(&self, name: &str) -> P {
        let given = self
            .given
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        let projection = given.and_then(|given| (given as Box<dyn Any>).downcast().ok());
        *projection.expect("every foreign projection was passed before the system is assembled")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Application> {
        self.by_name.values()
    }

    pub(crate) fn stores(&self) -> &[Arc<dyn FollowerStore>] {
        &self.stores
    }

    pub(crate) fn read_models(&self) -> impl Iterator<Item = &ReadModel> {
        self.read_models.iter()
    }
}

impl fmt::Debug for Applications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applications")
            .field("by_name", &self.by_name)
            .finish_non_exhaustive()
    }
}
