//! The arguments of one save (a root, several roots, guards, or tuples of these) and of one update of several aggregates.

use std::sync::Arc;

use smallvec::SmallVec;

use super::group_commit::{CommandBatch, EntryLocks, HeldRoots};
use crate::aggregate::root::AnyRoot;
use crate::store::{EventStore, StoreError, StreamId};
use crate::{Aggregate, Application, ApplicationError, Id, Root, StreamGuard};

/// An argument of [`Application::save`](crate::Application::save): `&mut root`, `root.guard()`, a slice of roots, a
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

/// The argument of [`Application::update_all`](crate::Application::update_all): a tuple of one to four ids, or a `Vec` or a slice of
/// ids of one kind of aggregate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which aggregates are to be updated",
    label = "write `(one, other)` for a tuple of two to four ids, or give a `Vec<Id<_>>` or a `&[Id<_>]`"
)]
pub trait RootIds: Send + Sync {
    /// The aggregates: a tuple of roots for a tuple of ids, and otherwise a boxed slice, in the order of the ids.
    type Roots: Send;

    #[doc(hidden)]
    fn count(&self) -> usize;

    /// The stored names of the aggregates.
    #[doc(hidden)]
    fn aggregates() -> impl Iterator<Item = &'static str> + Send;

    #[doc(hidden)]
    fn streams(&self) -> impl IntoIterator<Item = StreamId> + Send;

    #[doc(hidden)]
    fn load(
        &self,
        app: &Application,
    ) -> impl Future<Output = Result<Self::Roots, ApplicationError>> + Send;

    /// Loads the roots that are neither in their entries nor in a batch.
    #[doc(hidden)]
    fn load_missing(
        &self,
        app: &Application,
        locks: &mut EntryLocks<'_>,
    ) -> impl Future<Output = Result<(), ApplicationError>> + Send;

    /// Returns `true` if all roots are there.
    #[doc(hidden)]
    fn fit(&self, held: &HeldRoots<'_, '_>) -> bool;

    /// Takes the roots, which are there.
    #[doc(hidden)]
    fn take(&self, held: &mut HeldRoots<'_, '_>) -> Self::Roots;

    /// Puts the roots back: those with events that are not written go into the batch, or nowhere.
    #[doc(hidden)]
    fn put(roots: Self::Roots, held: &mut HeldRoots<'_, '_>, batch: Option<&Arc<CommandBatch>>);

    /// Records in `fresh` again as many events of `roots` as `before` says for each.
    #[doc(hidden)]
    fn replay(
        fresh: &mut Self::Roots,
        roots: Self::Roots,
        before: &[usize],
    ) -> Result<(), StoreError>;

    #[doc(hidden)]
    fn roots(roots: &mut Self::Roots) -> SmallVec<[&mut dyn AnyRoot; 4]>;
}

macro_rules! ids {
    ($($count:literal: $($part:ident $number:tt)+;)*) => {
        $(impl<$($part: Aggregate),+> RootIds for ($(Id<$part>,)+) {
            type Roots = ($(Root<$part>,)+);

            fn count(&self) -> usize {
                $count
            }

            fn aggregates() -> impl Iterator<Item = &'static str> + Send {
                [$($part::NAME),+].into_iter()
            }

            fn streams(&self) -> impl IntoIterator<Item = StreamId> + Send {
                [$(self.$number.stream()),+]
            }

            async fn load(&self, app: &Application) -> Result<Self::Roots, ApplicationError> {
                Ok(($(app.load(self.$number).await?,)+))
            }

            async fn load_missing(
                &self,
                app: &Application,
                locks: &mut EntryLocks<'_>,
            ) -> Result<(), ApplicationError> {
                $(if locks.lacks(self.$number, app.store.epoch()) {
                    locks.put_loaded(app.load(self.$number).await?);
                })+
                Ok(())
            }

            fn fit(&self, held: &HeldRoots<'_, '_>) -> bool {
                $(held.has(self.$number))&&+
            }

            fn take(&self, held: &mut HeldRoots<'_, '_>) -> Self::Roots {
                ($(held.take(self.$number),)+)
            }

            fn put(roots: Self::Roots, held: &mut HeldRoots<'_, '_>, batch: Option<&Arc<CommandBatch>>) {
                $(held.put(roots.$number, batch);)+
            }

            fn replay(fresh: &mut Self::Roots, roots: Self::Roots, before: &[usize]) -> Result<(), StoreError> {
                $(fresh.$number.replay(roots.$number, before[$number])?;)+
                Ok(())
            }

            fn roots(roots: &mut Self::Roots) -> SmallVec<[&mut dyn AnyRoot; 4]> {
                let mut all: SmallVec<[&mut dyn AnyRoot; 4]> = SmallVec::new();
                $(all.push(&mut roots.$number);)+
                all
            }
        })*
    };
}

ids! {
    1: A 0;
    2: A 0 B 1;
    3: A 0 B 1 C 2;
    4: A 0 B 1 C 2 D 3;
}

/// Lists of ids, of any length.
macro_rules! lists {
    ($($ids:ty),*) => {
        $(impl<A: Aggregate> RootIds for $ids {
            type Roots = Box<[Root<A>]>;

            fn count(&self) -> usize {
                self.len()
            }

            fn aggregates() -> impl Iterator<Item = &'static str> + Send {
                std::iter::once(A::NAME)
            }

            fn streams(&self) -> impl IntoIterator<Item = StreamId> + Send {
                self.iter().map(|id| id.stream())
            }

            async fn load(&self, app: &Application) -> Result<Self::Roots, ApplicationError> {
                let mut roots = Vec::with_capacity(self.len());
                for id in self.iter() {
                    roots.push(app.load(*id).await?);
                }
                Ok(roots.into_boxed_slice())
            }

            async fn load_missing(
                &self,
                app: &Application,
                locks: &mut EntryLocks<'_>,
            ) -> Result<(), ApplicationError> {
                for id in self.iter() {
                    if locks.lacks(*id, app.store.epoch()) {
                        locks.put_loaded(app.load(*id).await?);
                    }
                }
                Ok(())
            }

            fn fit(&self, held: &HeldRoots<'_, '_>) -> bool {
                self.iter().all(|id| held.has(*id))
            }

            fn take(&self, held: &mut HeldRoots<'_, '_>) -> Self::Roots {
                self.iter().map(|id| held.take(*id)).collect()
            }

            fn put(roots: Self::Roots, held: &mut HeldRoots<'_, '_>, batch: Option<&Arc<CommandBatch>>) {
                for root in roots.into_vec() {
                    held.put(root, batch);
                }
            }

            fn replay(fresh: &mut Self::Roots, roots: Self::Roots, before: &[usize]) -> Result<(), StoreError> {
                let recorded = roots.into_vec().into_iter().zip(before);
                fresh
                    .iter_mut()
                    .zip(recorded)
                    .try_for_each(|(fresh, (root, before))| fresh.replay(root, *before))
            }

            fn roots(roots: &mut Self::Roots) -> SmallVec<[&mut dyn AnyRoot; 4]> {
                roots.iter_mut().map(|root| root as &mut dyn AnyRoot).collect()
            }
        })*
    };
}

lists!(Vec<Id<A>>, &[Id<A>]);
