//! What the functions are given and may return that bring former events up to date.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::legacy::StoredPayload;
use crate::store::BoxError;
use crate::{Event, IntoEvents};

/// What such a function takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is an earlier version of an event's payload, but serde cannot read it",
    label = "takes this payload",
    note = "derive `serde::Deserialize` for `{Self}`, or take a `serde_json::Value`"
)]
pub trait OldPayload: Sized {
    /// The payload.
    ///
    /// # Errors
    /// It is another one.
    fn of(payload: &StoredPayload<'_>) -> Result<Self, BoxError>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> OldPayload for T {
    fn of(payload: &StoredPayload<'_>) -> Result<Self, BoxError> {
        payload.read()
    }
}

/// What an upcaster makes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the next version of an event's payload, but serde cannot write it",
    label = "makes this payload",
    note = "derive `serde::Serialize` for `{Self}`, or make a `serde_json::Value`"
)]
pub trait NewPayload {
    /// The payload in JSON.
    ///
    /// # Errors
    /// It cannot be written as JSON.
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
/// It is another one.
pub fn read<T: OldPayload>(payload: &StoredPayload<'_>) -> Result<T, BoxError> {
    T::of(payload)
}

/// What such a function has returned. These are the methods of one that may fail; they go before those of [`Certain`].
#[derive(Debug)]
pub struct Outcome<T>(pub T);

impl<T, E> Outcome<Result<T, E>> {
    /// The next version of the payload.
    ///
    /// # Errors
    /// What the function said.
    pub fn payload(self) -> Result<Vec<u8>, BoxError>
    where
        T: NewPayload,
        E: Into<BoxError>,
    {
        self.0.map_err(Into::into)?.to_json()
    }

    /// The events.
    ///
    /// # Errors
    /// What the function said.
    pub fn events<Events: Event>(self) -> Result<Vec<Events>, BoxError>
    where
        T: IntoEvents<Events>,
        E: Into<BoxError>,
    {
        Ok(self.0.map_err(Into::into)?.into_events())
    }
}

/// The same methods of a function that cannot fail.
pub trait Certain: Sized {
    /// What it returns.
    type Made;

    /// The next version of the payload.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    fn payload(self) -> Result<Vec<u8>, BoxError>
    where
        Self::Made: NewPayload;

    /// The events.
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
