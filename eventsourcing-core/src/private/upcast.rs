//! The parameters and results of the functions that upcast or split legacy events.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::legacy::StoredPayload;
use crate::store::BoxError;
use crate::{Decision, Event};

/// The parameter of such a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is an earlier version of an event's payload, but serde cannot read it",
    label = "takes this payload",
    note = "derive `serde::Deserialize` for `{Self}`, or take a `serde_json::Value`"
)]
pub trait OldPayload: Sized {
    /// Reads the payload.
    ///
    /// # Errors
    /// The payload is of another type.
    fn of(payload: &StoredPayload<'_>) -> Result<Self, BoxError>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> OldPayload for T {
    fn of(payload: &StoredPayload<'_>) -> Result<Self, BoxError> {
        payload.read()
    }
}

/// The result of an upcaster.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the next version of an event's payload, but serde cannot write it",
    label = "makes this payload",
    note = "derive `serde::Serialize` for `{Self}`, or make a `serde_json::Value`"
)]
pub trait NewPayload {
    /// Writes the payload as JSON.
    ///
    /// # Errors
    /// The payload cannot be written as JSON.
    fn to_json(&self) -> Result<Vec<u8>, BoxError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> NewPayload for T {
    fn to_json(&self) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// The result of a function that splits an event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not one or several `{E}`",
    label = "neither a `{E}`, nor an array, a `Vec` or an `Option` of them, nor a `Result` of one of these"
)]
pub trait SplitInto<E> {
    /// Returns the events.
    ///
    /// # Errors
    /// The error of the function.
    fn split(self) -> Result<Vec<E>, BoxError>;
}

#[diagnostic::do_not_recommend]
impl<E: Event, D: Decision<Event = E, Failure: Into<BoxError>>> SplitInto<E> for D {
    fn split(self) -> Result<Vec<E>, BoxError> {
        let events = self.into_events().map_err(Into::into)?;
        Ok(events.into_iter().collect())
    }
}

/// Reads the payload that a function takes.
///
/// # Errors
/// The payload is of another type.
pub fn read<T: OldPayload>(payload: &StoredPayload<'_>) -> Result<T, BoxError> {
    T::of(payload)
}

/// The value that such a function returned. The inherent methods are those of a function that may
/// fail; they take precedence over those of [`Certain`].
#[derive(Debug)]
pub struct Outcome<T>(pub T);

impl<T, E> Outcome<Result<T, E>> {
    /// Returns the next version of the payload.
    ///
    /// # Errors
    /// The error of the function.
    pub fn payload(self) -> Result<Vec<u8>, BoxError>
    where
        T: NewPayload,
        E: Into<BoxError>,
    {
        self.0.map_err(Into::into)?.to_json()
    }
}

impl<T> Outcome<T> {
    /// Returns the events.
    ///
    /// # Errors
    /// The error of the function.
    pub fn events<E: Event>(self) -> Result<Vec<E>, BoxError>
    where
        T: SplitInto<E>,
    {
        self.0.split()
    }
}

/// The same method for a function that cannot fail.
pub trait Certain: Sized {
    /// The type that the function returns.
    type Made;

    /// Returns the next version of the payload.
    ///
    /// # Errors
    /// The payload cannot be written as JSON.
    fn payload(self) -> Result<Vec<u8>, BoxError>
    where
        Self::Made: NewPayload;
}

impl<T> Certain for Outcome<T> {
    type Made = T;

    fn payload(self) -> Result<Vec<u8>, BoxError>
    where
        T: NewPayload,
    {
        self.0.to_json()
    }
}
