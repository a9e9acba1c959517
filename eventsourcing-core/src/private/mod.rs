//! What macro expansions name. No promises: use what the crate root exports.

mod follow;
mod parameter;
mod required;

pub use serde;

pub use follow::{Follow, InSql, Unfollowed};
pub use parameter::{Copied, Missing, Of, Parameter, Unasked, Within};
pub use required::{Payload, ProjectionInMemory, ProjectionInSql, Service, State};

/// Combines the fingerprint of a state's shape with that of its fold.
#[must_use]
pub const fn fingerprint(shape: u64, fold: u64) -> crate::store::Fingerprint {
    crate::store::Fingerprint(shape.rotate_left(32) ^ fold)
}
