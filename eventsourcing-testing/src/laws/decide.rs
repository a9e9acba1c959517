//! [`Decide`]: the decisions of an aggregate, which the laws call with generated arguments.

use std::fmt;
use std::marker::PhantomData;

use eventsourcing_core::{Aggregate, Decision};
use serde::de::DeserializeOwned;

use super::generator::learned_shapes::LearnedShapes;
use super::generator::{Numbers, Place};

/// A decision of an aggregate: `Account::credit`, or a closure such as `|account: &Account, amount: Money| …`, with at most
/// three more parameters. Their types are any that serde can read; the laws generate the values. It returns a [`Decision`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision of `{A}`",
    label = "takes `&{A}` and up to three values that serde can read, and returns events or a `Result` of them"
)]
pub trait Decide<A: Aggregate, Kind>: 'static {
    #[doc(hidden)]
    fn into_decision(self, number: usize) -> ErasedDecision<A>;
}

/// A decision with its type erased: see [`Decide`].
pub struct ErasedDecision<A: Aggregate> {
    pub(super) learn: Box<Learning>,
    pub(super) ask: Box<Asking<A>>,
}

type Learning = dyn Fn(&mut LearnedShapes, &mut fastrand::Rng) -> Result<(), String>;
/// Returns `None` if the decision rejects.
type Asking<A> = dyn Fn(&LearnedShapes, &A, &[u64]) -> Option<Vec<<A as Aggregate>::Event>>;

impl<A: Aggregate> fmt::Debug for ErasedDecision<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedDecision").finish_non_exhaustive()
    }
}

fn decision<A: Aggregate, T: DeserializeOwned + 'static>(
    number: usize,
    decide: impl Fn(&A, T) -> Option<Vec<A::Event>> + 'static,
) -> ErasedDecision<A> {
    let place = Place::of(1_000_000 + number);
    ErasedDecision {
        learn: Box::new(move |learned, rng| {
            learned.learn(place, rng, |generator, place| {
                T::deserialize(generator.at(place))
            })
        }),
        ask: Box::new(move |learned, state, choices| {
            let arguments = learned.draw(place, choices, Numbers::Any, |generator, place| {
                T::deserialize(generator.at(place))
            })?;
            decide(state, arguments)
        }),
    }
}

/// Tells apart the parameters of decisions.
#[doc(hidden)]
#[derive(Debug)]
pub struct Taking<T>(PhantomData<T>);

macro_rules! decide {
    ($($parameter:ident $argument:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<A, F, D, $($parameter,)*> Decide<A, Taking<($($parameter,)* D,)>> for F
        where
            A: Aggregate,
            F: Fn(&A, $($parameter),*) -> D + 'static,
            D: Decision<Event = A::Event>,
            $($parameter: DeserializeOwned + 'static,)*
        {
            fn into_decision(self, number: usize) -> ErasedDecision<A> {
                decision(number, move |state: &A, ($($argument,)*): ($($parameter,)*)| {
                    let events = self(state, $($argument),*).into_events().ok()?;
                    Some(events.into_iter().collect())
                })
            }
        }
    };
}

decide! {}
decide! { X x }
decide! { X x, Y y }
decide! { X x, Y y, Z z }
