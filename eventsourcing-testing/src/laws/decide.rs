//! [`Decide`]: the decisions of an aggregate, which the laws call with generated arguments.

use std::fmt;
use std::marker::PhantomData;

use eventsourcing_core::{Aggregate, IntoEvents};
use serde::de::DeserializeOwned;

use super::generator::learned_shapes::LearnedShapes;
use super::generator::{Numbers, Place};

/// A decision of an aggregate: `Account::credit`, or a closure such as `|account: &Account, amount: Money| …`, with at most
/// three more parameters. Their types are any that serde can read; the laws generate the values. A decision returns the same
/// types that [`Root::execute`](eventsourcing_core::Root::execute) and [`Root::record`](eventsourcing_core::Root::record) take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision of `{A}`",
    label = "takes `&{A}` and up to three values that serde can read, and returns events or a `Result` of them"
)]
pub trait Decide<A: Aggregate, Kind>: 'static {
    #[doc(hidden)]
    fn into_decision(self, number: usize) -> Decision<A>;
}

/// A decision with its type erased: see [`Decide`].
pub struct Decision<A: Aggregate> {
    pub(super) learn: Box<Learning>,
    pub(super) ask: Box<Asking<A>>,
}

type Learning = dyn Fn(&mut LearnedShapes, &mut fastrand::Rng) -> Result<(), String>;
/// Returns `None` if the decision rejects.
type Asking<A> = dyn Fn(&LearnedShapes, &A, &[u64]) -> Option<Vec<<A as Aggregate>::Event>>;

impl<A: Aggregate> fmt::Debug for Decision<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision").finish_non_exhaustive()
    }
}

fn decision<A: Aggregate, T: DeserializeOwned + 'static>(
    number: usize,
    decide: impl Fn(&A, T) -> Option<Vec<A::Event>> + 'static,
) -> Decision<A> {
    let place = Place::of(1_000_000 + number);
    Decision {
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

/// A decision that may reject.
#[doc(hidden)]
#[derive(Debug)]
pub struct MayRefuse<T>(PhantomData<T>);

/// A decision that never rejects.
#[doc(hidden)]
#[derive(Debug)]
pub struct NeverRefuses<T>(PhantomData<T>);

macro_rules! decide {
    ($($parameter:ident $argument:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<A, F, D, E, $($parameter,)*> Decide<A, MayRefuse<($($parameter,)* D, E)>> for F
        where
            A: Aggregate,
            F: Fn(&A, $($parameter),*) -> Result<D, E> + 'static,
            D: IntoEvents<A::Event>,
            $($parameter: DeserializeOwned + 'static,)*
        {
            fn into_decision(self, number: usize) -> Decision<A> {
                decision(number, move |state: &A, ($($argument,)*): ($($parameter,)*)| {
                    self(state, $($argument),*).ok().map(IntoEvents::into_events)
                })
            }
        }

        #[diagnostic::do_not_recommend]
        impl<A, F, D, $($parameter,)*> Decide<A, NeverRefuses<($($parameter,)* D,)>> for F
        where
            A: Aggregate,
            F: Fn(&A, $($parameter),*) -> D + 'static,
            D: IntoEvents<A::Event>,
            $($parameter: DeserializeOwned + 'static,)*
        {
            fn into_decision(self, number: usize) -> Decision<A> {
                decision(number, move |state: &A, ($($argument,)*): ($($parameter,)*)| {
                    Some(self(state, $($argument),*).into_events())
                })
            }
        }
    };
}

decide! {}
decide! { X x }
decide! { X x, Y y }
decide! { X x, Y y, Z z }
