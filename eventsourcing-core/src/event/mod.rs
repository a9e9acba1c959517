//! [`Event`]: how the facts about one kind of aggregate are named and stored.

pub(crate) mod legacy;
pub(crate) mod metadata;
pub(crate) mod recorded;

use serde::{Deserializer, Serializer};

use legacy::LegacyEvent;

/// The facts about one kind of aggregate, usually an enum with a variant for each.
///
/// Written by [`#[event]`](macro@crate::event). What is stored is the event's name, the version of its schema, and its
/// bare fields: no tag inside the payload, so that the name alone picks the variant.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "an event is an enum or a struct with `#[event]`, or what `#[event]` makes of an `impl` block"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// Every event there is, in the order of the variants.
    const TYPES: &'static [EventType];

    /// What they are called in the program, in the same order.
    const VARIANTS: &'static [&'static str] = &[];

    /// What earlier releases have stored under other names or in other versions, and how it is read.
    const FORMER: &'static [LegacyEvent<Self>] = &[];

    /// Tells apart the ways in which former events have been read. A snapshot of what was read in another way is ignored.
    const FORMER_FINGERPRINT: u64 = 0;

    /// Which of [`TYPES`](Self::TYPES) this event is.
    fn index(&self) -> usize;

    /// The same event: one is folded, one is stored. What `Clone` makes, which is no supertrait because it would be
    /// missing again wherever an event without it is named.
    #[must_use]
    fn duplicate(&self) -> Self;

    /// Writes the fields of this event.
    ///
    /// # Errors
    /// What the serializer reports.
    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the fields of the event that stands at `index` of [`TYPES`](Self::TYPES).
    ///
    /// # Errors
    /// What the deserializer reports.
    fn deserialize_payload<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error>;

    /// The stored name and version of this event.
    fn event_type(&self) -> EventType {
        Self::TYPES[self.index()]
    }
}

/// How an event is known in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// Its stored name. Renaming the variant or method must not change it.
    pub name: &'static str,
    /// The version of its payload's schema, from 1.
    pub version: u16,
}

/// What a decision may return: one event, several, or none.
///
/// ```
/// # use eventsourcing_core::{event, IntoEvents};
/// # #[event] #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # enum DoorEvent { Opened, Closed }
/// assert_eq!(DoorEvent::Opened.into_events(), [DoorEvent::Opened]);
/// assert_eq!([DoorEvent::Opened, DoorEvent::Closed].into_events().len(), 2);
/// assert_eq!(None::<DoorEvent>.into_events(), []);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not one or several `{E}`",
    label = "neither a `{E}`, nor an array, a `Vec` or an `Option` of them"
)]
pub trait IntoEvents<E> {
    /// The events decided on, in order.
    fn into_events(self) -> Vec<E>;
}

impl<E: Event> IntoEvents<E> for E {
    fn into_events(self) -> Vec<E> {
        vec![self]
    }
}

impl<E: Event> IntoEvents<E> for Option<E> {
    fn into_events(self) -> Vec<E> {
        self.into_iter().collect()
    }
}

impl<E: Event> IntoEvents<E> for Vec<E> {
    fn into_events(self) -> Vec<E> {
        self
    }
}

impl<E: Event, const N: usize> IntoEvents<E> for [E; N] {
    fn into_events(self) -> Vec<E> {
        self.into()
    }
}
