//! Event-sourced applications.
#![warn(missing_docs)]

// What the macros write names this crate; so do this crate's own tests.
#[cfg(test)]
extern crate self as eventsourcing_core;

mod aggregate;
mod application;
mod clock;
mod codec;
mod error;
mod event;
mod id;
mod metadata;
mod policy;
#[doc(hidden)]
pub mod private;
mod projection;
mod recorded;
mod retry;
mod root;
mod save;
pub mod snapshot;
pub mod store;
pub mod system;

pub use aggregate::{Aggregate, Fold, Misplaced};
pub use application::{Application, IdPage};
pub use clock::{Clock, IdSource, RandomIds, SystemClock};
pub use codec::{Codec, CodecError};
pub use error::{AppError, Rejected};
pub use event::{Event, EventType, IntoEvents};
pub use id::{Id, ParseIdError};
pub use metadata::{EventRef, Metadata};
pub use policy::{Policy, Work};
pub use projection::Projection;
pub use recorded::Recorded;
pub use retry::RetryPolicy;
pub use root::{Guard, Root};
pub use save::{Ids, Save};
pub use store::{MemoryStore, Receipt};
pub use system::{Applications, Definition, Follower, Runner, Running, Stores, System, SystemBuilder, SystemError};

#[cfg(feature = "derive")]
pub use eventsourcing_derive::{Aggregate, System, event};
