//! [`Event`]: the facts about one kind of aggregate, their stored names and payloads.

pub(crate) mod legacy;
pub(crate) mod metadata;
pub(crate) mod recorded;

use serde::{Deserializer, Serializer};

use legacy::LegacyEvent;

/// The facts about one kind of aggregate, usually an enum with a variant for each.
///
/// Written by [`#[event]`](macro@crate::event). A stored event has a name, the version of its
/// schema, and its bare fields: the payload has no tag, so the name alone selects the variant.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "an event is an enum or a struct with `#[event]`, or what `#[event]` makes of an `impl` block"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// All events, in the order of the variants.
    const TYPES: &'static [EventType];

    /// The names of the variants or methods in the program, in the same order.
    const VARIANTS: &'static [&'static str] = &[];

    /// The events that earlier releases stored under other names or in other versions, and how each
    /// is read.
    const FORMER: &'static [LegacyEvent<Self>] = &[];

    /// Tells apart the ways in which legacy events have been read. A snapshot of events read in
    /// another way is ignored.
    const FORMER_FINGERPRINT: u64 = 0;

    /// Returns the index of this event in [`TYPES`](Self::TYPES).
    fn index(&self) -> usize;

    /// Returns a copy of this event: one is folded, the other stored.
    ///
    /// The copy is the one of `Clone`, which is not a supertrait because the compiler would report
    /// a missing one again wherever the event is named.
    #[must_use]
    fn duplicate(&self) -> Self;

    /// Writes the fields of this event.
    ///
    /// # Errors
    /// The error of the serializer.
    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the fields of the event at `index` of [`TYPES`](Self::TYPES).
    ///
    /// # Errors
    /// The error of the deserializer.
    fn deserialize_payload<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error>;

    /// Returns the stored name and version of this event.
    fn event_type(&self) -> EventType {
        Self::TYPES[self.index()]
    }
}

/// The stored name and schema version of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The stored name. Renaming the variant or method must not change it.
    pub name: &'static str,
    /// The version of the payload's schema, from 1.
    pub version: u16,
}
