//! Ties a field of a system to the events it follows.
//!
//! A field of the wrong kind lacks several traits at once. Only the first missing trait is
//! reported: the further ones are required only of a type that has the first, and functions without
//! requirements take their place otherwise.

use super::required::{ProjectionInMemory, ProjectionInSql, Service};
use crate::system::{EventFilter, PolicyFollower, ProjectionFollower, SqlProjectionFollower};
use crate::{Aggregate, Follower, Policy, Projection, SqlProjection, SqlReadModel};

/// The names of the variants that are needed. `None`: all are needed.
type Named<'a> = Option<&'a [&'a str]>;

/// The follower in a field of type `P`, and the aggregate `A` that it follows.
#[derive(Debug)]
pub struct Follow<P, A>(std::marker::PhantomData<(P, A)>);

impl<P: Service + 'static, A: Aggregate> Follow<P, A> {
    /// Requires [`Policy`].
    pub fn policy<S>(
        follower: PolicyFollower<S, P>,
        application: &'static str,
        named: Named<'_>,
    ) -> PolicyFollower<S, P>
    where
        S: Send + Sync + 'static,
        P: Policy<A>,
    {
        follower.route::<A>(application, filter(named))
    }
}

impl<P: ProjectionInMemory + 'static, A: Aggregate> Follow<P, A> {
    /// Requires [`Projection`].
    pub fn projection<S>(
        follower: ProjectionFollower<S, P>,
        application: &'static str,
        named: Named<'_>,
    ) -> ProjectionFollower<S, P>
    where
        S: Send + Sync + 'static,
        P: Projection<A>,
    {
        follower.route::<A>(application, filter(named))
    }
}

impl<P: 'static, A: Aggregate> Follow<P, A> {
    /// Requires [`Projection`].
    pub fn foreign_projection<S>(
        follower: ProjectionFollower<S, P>,
        application: &'static str,
        named: Named<'_>,
    ) -> ProjectionFollower<S, P>
    where
        S: Send + Sync + 'static,
        P: Projection<A>,
    {
        follower.route::<A>(application, filter(named))
    }
}

impl<P: ProjectionInSql + SqlReadModel, A: Aggregate> Follow<P, A> {
    /// Requires [`SqlProjection`].
    pub fn sql_projection<S>(
        follower: SqlProjectionFollower<S, P>,
        application: &'static str,
        named: Named<'_>,
    ) -> SqlProjectionFollower<S, P>
    where
        S: Send + Sync + 'static,
        P: SqlProjection<A>,
    {
        follower.route::<A>(application, filter(named))
    }
}

fn filter<A: Aggregate>(named: Named<'_>) -> EventFilter<A> {
    named.map_or_else(EventFilter::all, EventFilter::only)
}

/// The SQL projection in a field of type `P`.
#[derive(Debug)]
pub struct InSql<P>(std::marker::PhantomData<P>);

impl<P: ProjectionInSql> InSql<P> {
    /// Requires [`SqlReadModel`].
    pub fn follower<S>(name: &'static str, part: fn(&S) -> &P) -> SqlProjectionFollower<S, P>
    where
        S: Send + Sync + 'static,
        P: SqlReadModel,
    {
        Follower::sql_projection(name, part)
    }
}

/// The same functions for a field that lacks a trait required elsewhere.
pub trait Unfollowed: Sized {
    fn policy<F>(follower: F, _: &'static str, _: Named<'_>) -> F {
        follower
    }

    fn projection<F>(follower: F, _: &'static str, _: Named<'_>) -> F {
        follower
    }

    fn foreign_projection<F>(follower: F, _: &'static str, _: Named<'_>) -> F {
        follower
    }

    fn sql_projection<F>(follower: F, _: &'static str, _: Named<'_>) -> F {
        follower
    }

    fn follower<S, P>(_: &'static str, _: fn(&S) -> &P) -> SqlProjectionFollower<S, P> {
        unreachable!("a field lacks a trait, so this program does not compile")
    }
}

impl<P, A> Unfollowed for Follow<P, A> {}

impl<P> Unfollowed for InSql<P> {}
