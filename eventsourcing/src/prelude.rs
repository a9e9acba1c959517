//! The names that most applications import: `use eventsourcing::prelude::*;`
//!
//! The prelude holds the names that domain code, services, policies, read models and `main` use. The vocabulary of stores, the
//! health and parking of followers, and the test kit are imported from their own modules.

#[cfg(feature = "derive")]
#[doc(no_inline)]
pub use crate::event;
#[doc(no_inline)]
pub use crate::{Aggregate, Event, Id, Root};

#[doc(no_inline)]
pub use crate::store::{CommandId, Position, StoreError, Version};
#[doc(no_inline)]
pub use crate::{Application, ApplicationError, CommandError, Created};
#[doc(no_inline)]
pub use crate::{Metadata, Receipt, RecordedEvent};

#[doc(no_inline)]
pub use crate::sql::SqlError;
#[doc(no_inline)]
pub use crate::{Due, Policy, Timers, UnitOfWork};
#[doc(no_inline)]
pub use crate::{Projection, ReadModel, SqlProjection, SqlReadModel, Table, Tx, values};

#[doc(no_inline)]
pub use crate::{DEFAULT_TIMEOUT, OnFailure, Runner, RunningSystem, Stores, System, SystemError};

#[cfg(feature = "schema")]
#[doc(no_inline)]
pub use crate::schema::WithLock;

#[cfg(feature = "postgres")]
#[doc(no_inline)]
pub use crate::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
#[doc(no_inline)]
pub use crate::sqlite::SqliteStore;
#[doc(no_inline)]
pub use crate::store::MemoryStore;

/// Serde's derives, which states and events need. They name the crate `serde`, so the program depends on it too.
#[doc(no_inline)]
pub use serde::{Deserialize, Serialize};
