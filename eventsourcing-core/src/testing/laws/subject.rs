//! [`Subject`]: the laws of an aggregate, with what its `Debug` prints if it has one. For [`laws!`](crate::testing::laws!).

use std::fmt;
use std::marker::PhantomData;

use super::Laws;
use crate::Aggregate;

/// The method of a type with `Debug` goes before that of [`AnySubject`].
#[derive(Debug)]
pub struct Subject<A>(PhantomData<fn() -> A>);

impl<A> Subject<A> {
    /// Of this type.
    #[expect(clippy::new_without_default, reason = "only expansions name it")]
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Aggregate + fmt::Debug> Subject<A> {
    /// Its laws.
    #[must_use]
    pub fn laws(self) -> Laws<A> {
        Laws::new().with_debug()
    }
}

/// The same of types without `Debug`.
pub trait AnySubject<A: Aggregate>: Sized {
    /// Its laws.
    #[must_use]
    fn laws(self) -> Laws<A> {
        Laws::new()
    }
}

impl<A: Aggregate> AnySubject<A> for Subject<A> {}
