//! The parameters and results of the functions that upcast or split legacy events.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::legacy::StoredPayload;
use crate::store::BoxError;
use crate::{Event, IntoEvents};

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

    /// Returns the events.
    ///
    /// # Errors
    /// The error of the function.
    pub fn events<Events: Event>(self) -> Result<Vec<Events>, BoxError>
    where
        T: IntoEvents<Events>,
        E: Into<BoxError>,
    {
        Ok(self.0.map_err(Into::into)?.into_events())
    }
}

/// The same methods for a function that cannot fail.
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

    /// Returns the events.
    ///
    /// # Errors
    /// None.
    fn events<Events: Event>(self) -> Result<Vec<Events>, BoxError>
    where
        Self::Made: IntoEvents<Events>;
}

impl<T> Certain for Outcome<T> {
    type Made = T;

    fn payload(self) -> Result<Vec<u8>, BoxError>
    where
        T: NewPayload,
    {
        self.0.to_json()
    }

    fn events<Events: Event>(self) -> Result<Vec<Events>, BoxError>
    where
        T: IntoEvents<Events>,
    {
        Ok(self.0.into_events())
    }
}
