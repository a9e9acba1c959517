//! [`Aggregate`] and [`Fold`]: state folded from events.
//!
//! Everything in this folder is pure: no async, no clock, no I/O. Loading and saving are the
//! business of `application/`.

pub(crate) mod decision;
pub(crate) mod id;
pub(crate) mod root;
pub mod snapshot;

use serde::{Deserializer, Serializer};

use crate::Event;
use crate::aggregate::snapshot::SnapshotPolicy;
use crate::store::{Fingerprint, Name};

/// State folded from the events of one stream. Written by
/// [`#[derive(Aggregate)]`](macro@crate::Aggregate).
///
/// The derive takes the methods from the state's [`Fold`], `Serialize` and `Deserialize`. These are
/// not supertraits: the compiler would report a missing one again wherever the aggregate is named.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "an aggregate is a struct or an enum with `#[derive(Aggregate, Serialize, Deserialize)]`"
)]
pub trait Aggregate: Sized + Send + Sync + 'static {
    /// The events that can happen to the aggregate.
    type Event: Event + EventOf<Self>;

    /// The stored name of the aggregate: the category of its streams. Renaming the type must not
    /// change it.
    const NAME: &'static str;

    /// The other stored names of the aggregate: those it had before, and the one that the next
    /// release will give it. A stream keeps the name it was begun with, so all of them are read.
    const OTHER_NAMES: &'static [&'static str] = &[];

    /// The first name that the aggregate ever had, from which [named ids](crate::Id::named) follow.
    const FIRST_NAME: &'static str = Self::NAME;

    /// Tells apart the shapes that the state has had; a snapshot of another shape is ignored.
    const FINGERPRINT: Fingerprint;

    /// Returns the policy that says when a snapshot is kept, unless the application has one of its
    /// own.
    fn snapshot_policy() -> impl SnapshotPolicy;

    /// Creates the state from the first event of a stream: [`Fold::create`].
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event cannot be the first.
    fn fold_first(event: Self::Event) -> Result<Self, UnexpectedEvent>;

    /// Changes the state by a later event: [`Fold::apply`].
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event can only be the first. The state is as before.
    fn fold_next(&mut self, event: Self::Event) -> Result<(), UnexpectedEvent>;

    /// Writes the state for a snapshot.
    ///
    /// # Errors
    /// The error of the serializer.
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the state from a snapshot.
    ///
    /// # Errors
    /// The error of the deserializer.
    fn deserialize_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Says that these are the events of the aggregate `A`, so that an event is enough to know
/// which aggregate it creates. Written by [`#[derive(Aggregate)]`](macro@crate::Aggregate); an
/// aggregate that is written by hand needs `impl EventOf<Door> for DoorEvent {}`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the event type of `{A}`",
    label = "not the event type of an aggregate",
    note = "`#[derive(Aggregate)]` says which events belong to an aggregate; by hand it is `impl EventOf<{A}> for {Self} {{}}`"
)]
pub trait EventOf<A> {}

/// Returns every name that streams of the aggregate can have, the current one first.
pub(crate) fn names_of<A: Aggregate>() -> impl Iterator<Item = &'static str> + Clone {
    std::iter::once(A::NAME).chain(A::OTHER_NAMES.iter().copied())
}

/// Returns the name of the aggregate that equals the stored `category`.
pub(crate) fn name_of<A: Aggregate>(category: &Name) -> Option<&'static str> {
    names_of::<A>().find(|name| *category == **name)
}

/// The change that each event makes to a state. Written by [`#[event]`](macro@crate::event) on an
/// `impl` block, or by hand.
///
/// Recording an event and replaying it run this same code. It must be total (rules are checked
/// before an event exists) and depend on nothing but the state and the event.
///
/// ```
/// use eventsourcing_core::{Aggregate, Fold, UnexpectedEvent, event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// struct Door { open: bool }
///
/// #[event]
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// enum DoorEvent { Built, Opened, Closed }
///
/// impl Fold<DoorEvent> for Door {
///     fn create(event: DoorEvent) -> Result<Self, UnexpectedEvent> {
///         match event {
///             DoorEvent::Built => Ok(Door { open: false }),
///             DoorEvent::Opened | DoorEvent::Closed => Err(UnexpectedEvent),
///         }
///     }
///     fn apply(&mut self, event: DoorEvent) -> Result<(), UnexpectedEvent> {
///         match event {
///             DoorEvent::Built => return Err(UnexpectedEvent),
///             DoorEvent::Opened => self.open = true,
///             DoorEvent::Closed => self.open = false,
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "nothing says what the events `{E}` do to `{Self}`",
    label = "write `#[event] impl {Self}` with a method for each event, or `impl Fold<{E}> for {Self}`"
)]
pub trait Fold<E>: Sized {
    /// Tells apart the versions of the fold; `#[event]` computes it from the source of the fold. A
    /// snapshot made by another version is ignored.
    const FINGERPRINT: u64 = 0;

    /// Creates the state from the first event of a stream.
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event cannot be the first.
    fn create(event: E) -> Result<Self, UnexpectedEvent>;

    /// Changes the state by a later event.
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event can only be the first. The state is as before.
    fn apply(&mut self, event: E) -> Result<(), UnexpectedEvent>;
}

/// An event in a place where it cannot be: a creating event in the middle of a stream, or another
/// one at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event that creates must be the first of its stream, and no other can be")]
pub struct UnexpectedEvent;
