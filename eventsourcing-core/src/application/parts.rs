//! What can be saved in one append: a root, several, guards, or tuples of these. And what can be updated in one.

use crate::aggregate::root::AnyRoot;
use crate::cache::Turns;
use crate::store::{Epoch, StreamId};
use crate::{Aggregate, Application, ApplicationError, Id, Root, StreamGuard};

/// What [`Application::save`](crate::Application::save) takes: `&mut root`, `root.guard()`, a slice of roots, a
/// `Vec` of any of these, or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be saved",
    label = "write `&mut root` for a `Root`, or `(&mut one, &mut other)` for several"
)]
pub trait Saveable: Send {
    /// The parts of the append.
    #[doc(hidden)]
    fn parts(&mut self) -> Vec<Part<'_>>;
}

/// A part of a save.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "never leaves a save")]
pub enum Part<'a> {
    Root(&'a mut dyn AnyRoot),
    Guard(&'a StreamGuard),
}

impl<A: Aggregate> Saveable for &mut Root<A> {
    fn parts(&mut self) -> Vec<Part<'_>> {
        vec![Part::Root(&mut **self)]
    }
}

impl<A: Aggregate> Saveable for &mut [Root<A>] {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.iter_mut().map(|root| Part::Root(root)).collect()
    }
}

impl Saveable for StreamGuard {
    fn parts(&mut self) -> Vec<Part<'_>> {
        vec![Part::Guard(self)]
    }
}

impl<S: Saveable> Saveable for Vec<S> {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.iter_mut().flat_map(Saveable::parts).collect()
    }
}

macro_rules! tuples {
    ($($($part:ident)+;)*) => {
        $(impl<$($part: Saveable),+> Saveable for ($($part,)+) {
            fn parts(&mut self) -> Vec<Part<'_>> {
                #[expect(non_snake_case, reason = "named after their types")]
                let ($($part,)+) = self;
                let mut parts = Vec::new();
                $(parts.extend($part.parts());)+
                parts
            }
        })*
    };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// What [`Application::update_all`](crate::Application::update_all) takes: a tuple of two to four ids.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which aggregates are to be updated",
    label = "write `(one, other)`: a tuple of two to four ids"
)]
pub trait RootIds: Copy + Send + Sync {
    /// The aggregates: a tuple of roots.
    type Roots: Send;

    /// The stored names of the aggregates.
    #[doc(hidden)]
    fn aggregates() -> impl Iterator<Item = &'static str> + Send;

    #[doc(hidden)]
    fn streams(self) -> Vec<StreamId>;

    #[doc(hidden)]
    fn load(
        self,
        app: &Application,
    ) -> impl Future<Output = Result<Self::Roots, ApplicationError>> + Send;

    /// The roots that were kept, if all of them were.
    #[doc(hidden)]
    fn take(self, turns: &mut Turns, epoch: Epoch) -> Option<Self::Roots>;

    /// Keeps the roots for whoever has the next turn.
    #[doc(hidden)]
    fn put(roots: Self::Roots, turns: &mut Turns);

    #[doc(hidden)]
    fn parts(roots: &mut Self::Roots) -> Vec<Part<'_>>;
}

macro_rules! ids {
    ($($($part:ident)+;)*) => {
        $(impl<$($part: Aggregate),+> RootIds for ($(Id<$part>,)+) {
            type Roots = ($(Root<$part>,)+);

            fn aggregates() -> impl Iterator<Item = &'static str> + Send {
                [$($part::NAME),+].into_iter()
            }

            fn streams(self) -> Vec<StreamId> {
                #[expect(non_snake_case, reason = "named after their types")]
                let ($($part,)+) = self;
                vec![$($part.stream()),+]
            }

            fn take(self, turns: &mut Turns, epoch: Epoch) -> Option<Self::Roots> {
                #[expect(non_snake_case, reason = "named after their types")]
                let ($($part,)+) = self;
                Some(($(turns.take($part, epoch)?,)+))
            }

            fn put(roots: Self::Roots, turns: &mut Turns) {
                #[expect(non_snake_case, reason = "named after their types")]
                let ($($part,)+) = roots;
                $(turns.put($part);)+
            }

            async fn load(self, app: &Application) -> Result<Self::Roots, ApplicationError> {
                #[expect(non_snake_case, reason = "named after their types")]
                let ($($part,)+) = self;
                Ok(($(app.load($part).await?,)+))
            }

            fn parts(roots: &mut Self::Roots) -> Vec<Part<'_>> {
                #[expect(non_snake_case, reason = "named after their types")]
                let ($($part,)+) = roots;
                vec![$(Part::Root($part)),+]
            }
        })*
    };
}

ids! {
    A B;
    A B C;
    A B C D;
}
