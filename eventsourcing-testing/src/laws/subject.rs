//! [`Subject`]: chooses the laws of an aggregate by its traits, for [`laws!`](crate::laws!). States with `Debug` are
//! also compared by their printed form.

use std::fmt;
use std::marker::PhantomData;

use eventsourcing_core::Aggregate;

use super::Laws;

/// The aggregate under test. The inherent method of a type with `Debug` takes precedence over that of [`AnySubject`].
#[derive(Debug)]
pub struct Subject<A>(PhantomData<fn() -> A>);

impl<A> Subject<A> {
    /// The subject of this type.
    #[expect(clippy::new_without_default, reason = "only expansions name it")]
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Aggregate + fmt::Debug> Subject<A> {
    /// Returns the laws of the aggregate.
    #[must_use]
    pub fn laws(self) -> Laws<A> {
        Laws::new().with_debug()
    }
}

/// The laws of an aggregate without `Debug`.
pub trait AnySubject<A: Aggregate>: Sized {
    /// Returns the laws of the aggregate.
    #[must_use]
    fn laws(self) -> Laws<A> {
        Laws::new()
    }
}

impl<A: Aggregate> AnySubject<A> for Subject<A> {}
