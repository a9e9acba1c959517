//! [`Aggregate`] and [`Fold`]: state folded from events. No async, no clock, no I/O.

pub(crate) mod id;
pub(crate) mod root;
pub mod snapshot;

use serde::{Deserializer, Serializer};

use crate::Event;
use crate::aggregate::snapshot::SnapshotPolicy;
use crate::store::{Fingerprint, Name};

/// State folded from the events of one stream. Written by [`#[derive(Aggregate)]`](macro@crate::Aggregate).
///
/// The derive takes its methods from the state's [`Fold`], `Serialize` and `Deserialize`. They are not supertraits: one
/// that is missing would be missing again wherever the aggregate is named.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "an aggregate is a struct or an enum with `#[derive(Aggregate, Serialize, Deserialize)]`"
)]
pub trait Aggregate: Sized + Send + Sync + 'static {
    /// What can happen to it.
    type Event: Event;

    /// Its stored name: the category of its streams. Renaming the type must not change it.
    const NAME: &'static str;

    /// Its other stored names: those it had before, and the one that the next release will give it. A stream goes on under
    /// the name it was begun with, so all of them are read.
    const OTHER_NAMES: &'static [&'static str] = &[];

    /// The name that [named ids](crate::Id::named) follow from: the first it ever had.
    const FIRST_NAME: &'static str = Self::NAME;

    /// Tells apart the shapes its state has had; a snapshot of another shape is ignored.
    const FINGERPRINT: Fingerprint;

    /// When to keep a snapshot, unless the application says otherwise.
    fn snapshot_policy() -> impl SnapshotPolicy;

    /// The state that the first event of a stream creates: [`Fold::create`].
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event cannot be the first.
    fn fold_first(event: Self::Event) -> Result<Self, UnexpectedEvent>;

    /// Changes the state as a later event says: [`Fold::apply`].
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event can only be the first. The state is as before.
    fn fold_next(&mut self, event: Self::Event) -> Result<(), UnexpectedEvent>;

    /// Writes the state for a snapshot.
    ///
    /// # Errors
    /// What the serializer reports.
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the state from a snapshot.
    ///
    /// # Errors
    /// What the deserializer reports.
    fn deserialize_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Every name under which streams of the aggregate may stand, its current one first.
pub(crate) fn names_of<A: Aggregate>() -> impl Iterator<Item = &'static str> + Clone {
    std::iter::once(A::NAME).chain(A::OTHER_NAMES.iter().copied())
}

/// The name of the aggregate that a store calls so.
pub(crate) fn name_of<A: Aggregate>(category: &Name) -> Option<&'static str> {
    names_of::<A>().find(|name| *category == **name)
}

/// What events do to a state. Written by [`#[event]`](macro@crate::event) on an `impl` block, or by hand.
///
/// Recording an event and replaying it run this same code. It must be total (rules are checked before an event
/// exists) and depend on nothing but the state and the event.
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
    /// Tells apart the folds there have been; `#[event]` makes it from the source of the fold. A snapshot that
    /// another fold has made is ignored.
    const FINGERPRINT: u64 = 0;

    /// The state that the first event of a stream creates.
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event cannot be the first.
    fn create(event: E) -> Result<Self, UnexpectedEvent>;

    /// Changes the state as the event says.
    ///
    /// # Errors
    /// [`UnexpectedEvent`]: the event can only be the first. The state is as before.
    fn apply(&mut self, event: E) -> Result<(), UnexpectedEvent>;
}

/// An event stands where it cannot: a creating event in the middle of a stream, or another one at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event that creates must be the first of its stream, and no other can be")]
pub struct UnexpectedEvent;
