//! The names that macro expansions and the other crates of the framework use. No promises: use the
//! exports of the crate root.
//!
//! Several types here rely on inherent methods taking precedence over trait methods: a type has
//! inherent methods that require a trait of the user's type, and a fallback trait has methods of
//! the same names without the requirement. If the user's type lacks the trait, the fallback
//! compiles, so the compiler reports the missing trait once, where the expansion requires it.

pub mod archive;
#[cfg(feature = "schema")]
mod described;
mod follow;
mod parameter;
mod required;
pub mod testing;
mod upcast;

#[cfg(feature = "schema")]
pub use schemars;
pub use serde;

#[cfg(feature = "schema")]
pub use described::{DescribedField, PayloadOf, Undescribed};
pub use follow::{Follow, InSql, Unfollowed};
pub use parameter::{Copied, Missing, Of, Parameter, Unasked, Within};
pub use required::{Payload, ProjectionInMemory, ProjectionInSql, Service, State};
pub use upcast::{Certain, NewPayload, OldPayload, Outcome, SplitInto, read};

pub use crate::event::legacy::{Splitter, StoredPayload, Upcaster};

/// The code for `schema`, which needs the feature.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[macro_export]
macro_rules! __described {
    ($($implementation:tt)*) => { $($implementation)* };
}

/// The code for `schema`, which needs the feature.
#[cfg(not(feature = "schema"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __described {
    ($($implementation:tt)*) => {
        ::core::compile_error!(
            "`schema` needs the feature `schema` of `eventsourcing-kit`: add it to `features` in `Cargo.toml`"
        );
    };
}

pub use __described as described;

/// Combines the fingerprints of a state's shape, of its fold, and of the ways in which legacy
/// events are read.
#[must_use]
pub const fn fingerprint(shape: u64, fold: u64, former: u64) -> crate::store::Fingerprint {
    crate::store::Fingerprint(shape.rotate_left(32) ^ fold ^ former.rotate_left(16))
}

/// Returns `true` if the aggregate has an event of this name.
#[must_use]
pub const fn has_variant<A: crate::Aggregate>(variant: &str) -> bool {
    let variants = <A::Event as crate::Event>::VARIANTS;
    let mut index = 0;
    while index < variants.len() {
        if are_equal(variants[index].as_bytes(), variant.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn are_equal(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([first, rest @ ..], [other, others @ ..]) = (left, right) {
        if *first != *other {
            return false;
        }
        (left, right) = (rest, others);
    }
    left.is_empty() && right.is_empty()
}
