//! Event-sourced applications.
#![warn(missing_docs)]
extern crate self as eventsourcing_core;

mod aggregate;
mod clock;
mod codec;
mod event;
mod id;
#[doc(hidden)]
pub mod private;
pub mod snapshot;
pub mod store;

pub use aggregate::{Aggregate, Fold, Misplaced};
pub use clock::{Clock, IdSource, RandomIds, SystemClock};
pub use codec::{Codec, CodecError};
pub use event::{Event, EventType, IntoEvents};
pub use id::{Id, ParseIdError};

#[cfg(feature = "derive")]
pub use eventsourcing_derive::{Aggregate, System, event};
