//! The traits required of the user's own types: a state, an event written by hand, and the fields
//! of a system.
//!
//! A trait is required where the type is named. The traits have no supertraits: the compiler would
//! report each of those, and again wherever the type is used, without saying what to write.

use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize, Serializer};

use crate::{Application, ReadModel, codec};

/// The requirements of a state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the state of an aggregate, which snapshots keep, but serde cannot write and read it",
    label = "derive `serde::Serialize` and `serde::Deserialize` for `{Self}`"
)]
pub trait State: Sized {
    /// See [`Aggregate::serialize_state`](crate::Aggregate::serialize_state).
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// See [`Aggregate::deserialize_state`](crate::Aggregate::deserialize_state).
    fn deserialize_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> State for T {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn deserialize_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The requirements of an event written by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is an event, which is copied and stored, but `Clone` or one of serde's traits is missing",
    label = "derive `Clone`, `serde::Serialize` and `serde::Deserialize` for `{Self}`"
)]
pub trait Payload: Sized {
    /// See [`Event::duplicate`](crate::Event::duplicate).
    fn duplicate(&self) -> Self;

    /// See [`Event::serialize_payload`](crate::Event::serialize_payload), of an enum.
    fn serialize_variant<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// See [`Event::deserialize_payload`](crate::Event::deserialize_payload), of an enum.
    fn deserialize_variant<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error>;

    /// See [`Event::serialize_payload`](crate::Event::serialize_payload), of a struct.
    fn serialize_struct<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// See [`Event::deserialize_payload`](crate::Event::deserialize_payload), of a struct.
    fn deserialize_struct<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Clone + Serialize + DeserializeOwned> Payload for T {
    fn duplicate(&self) -> Self {
        self.clone()
    }

    fn serialize_variant<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::serialize_variant(self, serializer)
    }

    fn deserialize_variant<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        codec::deserialize_variant(index, deserializer)
    }

    fn serialize_struct<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn deserialize_struct<'de, D: Deserializer<'de>>(
        _: usize,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The type of a field with an application.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the service of an application, but is not made from an `Application`",
    label = "write `impl From<Application> for {Self}`; if it builds a read model, write `#[projection(…)]`"
)]
pub trait Service: Sized {
    /// Makes the service of the application.
    fn of(application: Application) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: From<Application>> Service for T {
    fn of(application: Application) -> Self {
        Self::from(application)
    }
}

/// The type of a field with a projection in memory.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a projection in memory, which begins empty, but has no `Default`",
    label = "derive `Default` for `{Self}`; if it is kept elsewhere, write `#[projection(sql, …)]` or `#[projection(foreign, …)]`",
    note = "a policy, which records events, is an application: write `#[application(aggregates(…), follows(…))]`"
)]
pub trait ProjectionInMemory: Sized {
    /// Makes the projection before the first event.
    fn empty() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> ProjectionInMemory for T {
    fn empty() -> Self {
        Self::default()
    }
}

/// The type of a field with a SQL projection.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a projection in a SQL database, but is not made from a `ReadModel`",
    label = "write `impl From<ReadModel> for {Self}`; if it is kept in memory, take `sql` away"
)]
pub trait ProjectionInSql: Sized {
    /// Makes the projection that reads through `model`.
    fn of(model: ReadModel) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: From<ReadModel>> ProjectionInSql for T {
    fn of(model: ReadModel) -> Self {
        Self::from(model)
    }
}
