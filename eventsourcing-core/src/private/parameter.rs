//! The traits required of the parameters of an `#[event]` block.
//!
//! The enum implements `Clone`, `Debug`, `PartialEq` and serde's traits even if a parameter does
//! not, so that a missing trait is reported in one place: where the expansion requires it.

use std::fmt::Debug;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize, Serializer};

use crate::codec;

/// A parameter that is stored.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a parameter of an event, which is copied, shown, compared and stored, but lacks a trait for that",
    label = "derive `Clone`, `Debug`, `PartialEq`, `serde::Serialize` and `serde::Deserialize` for `{Self}`",
    note = "a type from elsewhere has them if its parts do; its crate may need the feature `serde`"
)]
pub trait Parameter {
    /// Requires the trait.
    fn is_parameter() {}
}

#[diagnostic::do_not_recommend]
impl<T: Clone + Debug + PartialEq + Serialize + DeserializeOwned> Parameter for T {}

/// A parameter whose serde attributes say how to store it, or not to store it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a parameter of an event, which is copied, shown and compared, but lacks a trait for that",
    label = "derive `Clone`, `Debug` and `PartialEq` for `{Self}`",
    note = "a type from elsewhere has them if its parts do"
)]
pub trait Copied {
    /// Requires the trait.
    fn is_copied() {}
}

#[diagnostic::do_not_recommend]
impl<T: Clone + Debug + PartialEq> Copied for T {}

/// The type `T` with the parameters `Parts`. If one of those lacks a trait, the error is about it
/// and not about `T`.
#[derive(Debug)]
pub struct Within<T, Parts>(PhantomData<(T, Parts)>);

impl<T, Parts: Parameter> Within<T, Parts> {
    /// Requires [`Parameter`].
    pub fn is_parameter()
    where
        T: Parameter,
    {
    }

    /// Requires [`Copied`].
    pub fn is_copied()
    where
        T: Copied,
    {
    }
}

/// The same functions for a part that lacks a trait.
pub trait Unasked {
    fn is_parameter() {}

    fn is_copied() {}
}

impl<T, Parts> Unasked for Within<T, Parts> {}

/// A field, or a whole event. Its inherent methods exist if the type has the trait that they need.
#[derive(Debug)]
pub struct Of<'a, T>(pub &'a T);

impl<T: Clone> Of<'_, T> {
    /// See [`Clone::clone`].
    pub fn duplicate(self) -> T {
        self.0.clone()
    }
}

impl<'a, T: Debug> Of<'a, T> {
    /// Returns the value for [`Debug`].
    pub fn shown(self) -> &'a dyn Debug {
        self.0
    }
}

impl<T: PartialEq> Of<'_, T> {
    /// See [`PartialEq::eq`].
    pub fn equals(self, other: &T) -> bool {
        self.0 == other
    }
}

impl<T: Serialize> Of<'_, T> {
    /// See [`Event::serialize_payload`](crate::Event::serialize_payload).
    pub fn serialize_variant<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::serialize_variant(self.0, serializer)
    }
}

impl<T: DeserializeOwned> Of<'_, T> {
    /// See [`Event::deserialize_payload`](crate::Event::deserialize_payload).
    pub fn deserialize_variant<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<T, D::Error> {
        codec::deserialize_variant(index, deserializer)
    }
}

/// The same methods for types without the traits. They are never called: the expansion that names
/// them does not compile.
pub trait Missing<T>: Sized {
    fn duplicate(self) -> T {
        unreachable!("{NEVER_CALLED}")
    }

    fn shown(self) -> &'static dyn Debug {
        unreachable!("{NEVER_CALLED}")
    }

    fn equals(self, _: &T) -> bool {
        unreachable!("{NEVER_CALLED}")
    }

    fn serialize_variant<S: Serializer>(self, _: S) -> Result<S::Ok, S::Error> {
        unreachable!("{NEVER_CALLED}")
    }

    fn deserialize_variant<'de, D: Deserializer<'de>>(_: usize, _: D) -> Result<T, D::Error> {
        unreachable!("{NEVER_CALLED}")
    }
}

const NEVER_CALLED: &str = "a parameter lacks a trait, so this program does not compile";

impl<T> Missing<T> for Of<'_, T> {}
