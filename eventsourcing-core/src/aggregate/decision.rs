//! [`Decision`]: the events of a command, or the reason why the domain rejects it.
//!
//! The types alone say whether a command can be rejected, so a command that cannot be has neither
//! an error type to name nor a rejection to handle.

use std::convert::Infallible;
use std::iter::Once;

use crate::{ApplicationError, CommandError, Event};

/// The result of a command: an event, several events or none, or a `Result` of these if the domain
/// may reject the command.
///
/// Every [`Event`] is a decision, and so are `Option`, `Vec` and arrays of events, and `Result<D, F>`
/// where `D` is one of these and `F` the reason of a rejection.
///
/// ```
/// # use eventsourcing_core::{Decision, event};
/// # #[event] #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # enum DoorEvent { Opened, Closed }
/// assert!(DoorEvent::Opened.into_events()?.eq([DoorEvent::Opened]));
/// assert_eq!([DoorEvent::Opened, DoorEvent::Closed].into_events()?.len(), 2);
/// assert_eq!(None::<DoorEvent>.into_events()?, None);
/// assert_eq!(Err::<DoorEvent, _>("it is locked").into_events().err(), Some("it is locked"));
/// # Ok::<_, std::convert::Infallible>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not one or several events",
    label = "neither an event, nor an `Option`, a `Vec` or an array of events, nor a `Result` of one of these",
    note = "a decision without events is `None`, `[]` or an empty `Vec`"
)]
pub trait Decision {
    /// The type of the events.
    type Event: Event;

    /// The reason of a rejection; [`Infallible`] if the command cannot be rejected.
    type Failure;

    /// The result of [`Root::execute`](crate::Root::execute): `()`, or `Result<(), Failure>` if the
    /// command may be rejected.
    type Verdict: Verdict<Failure = Self::Failure>;

    /// The events, in order.
    type Events: IntoIterator<Item = Self::Event>;

    /// Returns the decided events.
    ///
    /// # Errors
    /// The reason of the rejection.
    fn into_events(self) -> Result<Self::Events, Self::Failure>;
}

/// The error of a command with the decision `D`: [`CommandError`] if the domain may reject the
/// command, and otherwise [`ApplicationError`].
pub type DecisionError<D> = <<D as Decision>::Verdict as Verdict>::Error;

#[diagnostic::do_not_recommend]
impl<E: Event> Decision for E {
    type Event = E;
    type Failure = Infallible;
    type Verdict = ();
    type Events = Once<E>;

    fn into_events(self) -> Result<Once<E>, Infallible> {
        Ok(std::iter::once(self))
    }
}

#[diagnostic::do_not_recommend]
impl<E: Event> Decision for Option<E> {
    type Event = E;
    type Failure = Infallible;
    type Verdict = ();
    type Events = Self;

    fn into_events(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Event> Decision for Vec<E> {
    type Event = E;
    type Failure = Infallible;
    type Verdict = ();
    type Events = Self;

    fn into_events(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Event, const N: usize> Decision for [E; N] {
    type Event = E;
    type Failure = Infallible;
    type Verdict = ();
    type Events = Self;

    fn into_events(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<D: Decision<Failure = Infallible>, F> Decision for Result<D, F> {
    type Event = D::Event;
    type Failure = F;
    type Verdict = Result<(), F>;
    type Events = D::Events;

    fn into_events(self) -> Result<D::Events, F> {
        self.map(certain_events)
    }
}

/// Returns the events of a decision that cannot be a rejection.
pub(crate) fn certain_events<D: Decision<Failure = Infallible>>(decision: D) -> D::Events {
    let Ok(events) = decision.into_events();
    events
}

/// The judgement of the domain on a command: `()` if the command cannot be rejected, and otherwise
/// `Result<(), F>` with the reason `F` of a rejection.
///
/// The closure of [`Application::update_all`](crate::Application::update_all) returns one, and so
/// does [`Root::execute`](crate::Root::execute).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether the domain rejects the command",
    label = "neither `()` nor a `Result<(), _>` with the reason of a rejection",
    note = "the events are those that the roots record: `root.execute(|aggregate| …)` or `root.record(…)`"
)]
pub trait Verdict {
    /// The reason of a rejection; [`Infallible`] if the command cannot be rejected.
    type Failure;

    /// The error of the command.
    type Error: From<ApplicationError>;

    /// Returns the verdict with this meaning.
    #[doc(hidden)]
    fn from_result(result: Result<(), Self::Failure>) -> Self;

    /// Returns the meaning of the verdict.
    ///
    /// # Errors
    /// The reason of the rejection.
    #[doc(hidden)]
    fn into_result(self) -> Result<(), Self::Failure>;

    /// Returns the error of the command without the cases that cannot occur.
    #[doc(hidden)]
    fn error(error: CommandError<Self::Failure>) -> Self::Error;
}

impl Verdict for () {
    type Failure = Infallible;
    type Error = ApplicationError;

    fn from_result(_: Result<(), Infallible>) {}

    fn into_result(self) -> Result<(), Infallible> {
        Ok(())
    }

    fn error(error: CommandError<Infallible>) -> ApplicationError {
        match error {
            CommandError::Rejected(never) => match never {},
            CommandError::Application(error) => error,
        }
    }
}

impl<F> Verdict for Result<(), F> {
    type Failure = F;
    type Error = CommandError<F>;

    fn from_result(result: Self) -> Self {
        result
    }

    fn into_result(self) -> Self {
        self
    }

    fn error(error: CommandError<F>) -> CommandError<F> {
        error
    }
}
