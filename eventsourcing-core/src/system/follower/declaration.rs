//! [`Follower`]: a policy or projection of a system, tied to the events it takes. It declares the
//! wiring and runs nothing.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::event_filter::EventFilter;
use super::followed_events::AggregateEvents;
use super::handlers::{
    PolicyHandler, ProjectionHandler, SqlProjectionHandler, TimerHandler, TypedEventHandler,
    TypedTimerHandler,
};
use crate::aggregate::names_of;
use crate::store::Name;
use crate::{Aggregate, Policy, Projection, SqlProjection, SqlReadModel, Table, Timers};

/// A policy or projection of the system `S`, and the events it takes.
pub struct Follower<S> {
    pub(crate) name: &'static str,
    pub(crate) target: FollowerTarget<S>,
}

/// The target of a follower's effects, with the handlers that have them.
pub(crate) enum FollowerTarget<S> {
    /// A policy, in its own application.
    Policy {
        routes: Routes<dyn PolicyHandler<S>>,
        timers: Option<Arc<dyn TimerHandler<S>>>,
    },
    /// A projection in the memory of this process. It is lost when the process ends.
    Memory {
        routes: Routes<dyn ProjectionHandler<S>>,
    },
    /// A read model in tables, in this version.
    Sql {
        version: u32,
        tables: &'static [Table],
        routes: Routes<dyn SqlProjectionHandler<S>>,
    },
    /// A projection into a foreign target, which knows nothing of steps. The value of this type is
    /// passed to the builder.
    Foreign {
        of_type: TypeId,
        routes: Routes<dyn ProjectionHandler<S>>,
    },
}

/// The routes by the stored name of the aggregate.
pub(crate) type Routes<H> = BTreeMap<Name, Route<H>>;

/// The route from the events of one aggregate to their handler.
pub(crate) struct Route<H: ?Sized> {
    pub(crate) application: &'static str,
    pub(crate) handler: Arc<H>,
    /// The events that the follower takes of the aggregate.
    pub(crate) events: AggregateEvents,
}

/// A policy that is being tied to events.
pub struct PolicyFollower<S, P> {
    name: &'static str,
    part: fn(&S) -> &P,
    routes: Routes<dyn PolicyHandler<S>>,
    timers: Option<Arc<dyn TimerHandler<S>>>,
}

/// A projection that is being tied to events.
pub struct ProjectionFollower<S, P> {
    name: &'static str,
    part: fn(&S) -> &P,
    routes: Routes<dyn ProjectionHandler<S>>,
    /// The type of a projection into a foreign target; `None` if it is in memory.
    foreign: Option<TypeId>,
}

/// A projection in a SQL database that is being tied to events.
pub struct SqlProjectionFollower<S, P> {
    name: &'static str,
    part: fn(&S) -> &P,
    routes: Routes<dyn SqlProjectionHandler<S>>,
    version: u32,
    tables: &'static [Table],
}

impl<S: Send + Sync + 'static> Follower<S> {
    /// Returns a follower for the policy that `part` finds in the system.
    pub fn policy<P>(name: &'static str, part: fn(&S) -> &P) -> PolicyFollower<S, P> {
        PolicyFollower {
            name,
            part,
            routes: BTreeMap::new(),
            timers: None,
        }
    }

    /// Returns a follower for the projection in memory that `part` finds in the system.
    pub fn projection<P>(name: &'static str, part: fn(&S) -> &P) -> ProjectionFollower<S, P> {
        ProjectionFollower {
            name,
            part,
            routes: BTreeMap::new(),
            foreign: None,
        }
    }

    /// Returns a follower for the projection into a foreign target that `part` finds in the system.
    pub fn foreign_projection<P: 'static>(
        name: &'static str,
        part: fn(&S) -> &P,
    ) -> ProjectionFollower<S, P> {
        ProjectionFollower {
            name,
            part,
            routes: BTreeMap::new(),
            foreign: Some(TypeId::of::<P>()),
        }
    }

    /// Returns a follower for the projection in a SQL database that `part` finds in the system.
    pub fn sql_projection<P: SqlReadModel>(
        name: &'static str,
        part: fn(&S) -> &P,
    ) -> SqlProjectionFollower<S, P> {
        SqlProjectionFollower {
            name,
            part,
            routes: BTreeMap::new(),
            version: P::VERSION,
            tables: P::TABLES,
        }
    }
}

// The three kinds of followers are tied to events in the same way; only the trait that the type
// must have differs.
macro_rules! tie_to_events {
    ($($follower:ident: $kind:ident, $handler:ident;)+) => {$(
        impl<S: Send + Sync + 'static, P: 'static> $follower<S, P> {
            /// Takes the events of the aggregate `A` of `application`.
            #[must_use]
            pub fn follows<A: Aggregate>(self, application: &'static str) -> Self
            where
                P: $kind<A>,
            {
                self.route(application, EventFilter::<A>::all())
            }

            /// Takes only some events of the aggregate `A` of `application`: those of the given
            /// [variants](crate::Event::VARIANTS). All others are skipped without being decoded,
            /// known or not.
            ///
            /// # Panics
            /// If there is no such variant.
            #[must_use]
            pub fn follows_only<A: Aggregate>(self, application: &'static str, variants: &[&str]) -> Self
            where
                P: $kind<A>,
            {
                self.route(application, EventFilter::only(variants))
            }

            /// Takes the events of an aggregate, under its present name and its earlier ones.
            pub(crate) fn route<A: Aggregate>(mut self, application: &'static str, filter: EventFilter<A>) -> Self
            where
                P: $kind<A>,
            {
                let events = filter.names();
                let handler: Arc<dyn $handler<S>> = Arc::new(TypedEventHandler { part: self.part, filter });
                for name in names_of::<A>() {
                    let route = Route { application, handler: Arc::clone(&handler), events: events.clone() };
                    self.routes.insert(Name::from_static(name), route);
                }
                self
            }
        }

        impl<S, P> fmt::Debug for $follower<S, P> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($follower)).field("name", &self.name).finish_non_exhaustive()
            }
        }
    )+};
}

tie_to_events! {
    PolicyFollower: Policy, PolicyHandler;
    ProjectionFollower: Projection, ProjectionHandler;
    SqlProjectionFollower: SqlProjection, SqlProjectionHandler;
}

impl<S: Send + Sync + 'static, P: 'static> PolicyFollower<S, P> {
    /// Declares that the policy has timers.
    #[must_use]
    pub fn timers(mut self) -> Self
    where
        P: Timers,
    {
        self.timers = Some(Arc::new(TypedTimerHandler { part: self.part }));
        self
    }
}

impl<S, P> From<PolicyFollower<S, P>> for Follower<S> {
    fn from(
        PolicyFollower {
            name,
            routes,
            timers,
            ..
        }: PolicyFollower<S, P>,
    ) -> Self {
        Self {
            name,
            target: FollowerTarget::Policy { routes, timers },
        }
    }
}

impl<S, P> From<ProjectionFollower<S, P>> for Follower<S> {
    fn from(
        ProjectionFollower {
            name,
            routes,
            foreign,
            ..
        }: ProjectionFollower<S, P>,
    ) -> Self {
        let target = match foreign {
            None => FollowerTarget::Memory { routes },
            Some(of_type) => FollowerTarget::Foreign { of_type, routes },
        };
        Self { name, target }
    }
}

impl<S, P> From<SqlProjectionFollower<S, P>> for Follower<S> {
    fn from(
        SqlProjectionFollower {
            name,
            routes,
            version,
            tables,
            ..
        }: SqlProjectionFollower<S, P>,
    ) -> Self {
        Self {
            name,
            target: FollowerTarget::Sql {
                version,
                tables,
                routes,
            },
        }
    }
}

impl<S> FollowerTarget<S> {
    /// Returns the stored names of the followed aggregates, each with the application that owns it.
    pub(crate) fn sources(&self) -> Vec<(&Name, &'static str)> {
        match self {
            Self::Policy { routes, .. } => sources(routes),
            Self::Memory { routes } | Self::Foreign { routes, .. } => sources(routes),
            Self::Sql { routes, .. } => sources(routes),
        }
    }
}

fn sources<H: ?Sized>(routes: &Routes<H>) -> Vec<(&Name, &'static str)> {
    routes
        .iter()
        .map(|(aggregate, route)| (aggregate, route.application))
        .collect()
}

impl<S> fmt::Debug for Follower<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.target {
            FollowerTarget::Policy { .. } => "policy",
            FollowerTarget::Memory { .. } => "projection in memory",
            FollowerTarget::Sql { .. } => "projection in a SQL database",
            FollowerTarget::Foreign { .. } => "foreign projection",
        };
        let follows: Vec<_> = self
            .target
            .sources()
            .into_iter()
            .map(|(aggregate, _)| aggregate)
            .collect();
        f.debug_struct("Follower")
            .field("name", &self.name)
            .field("kind", &kind)
            .field("follows", &follows)
            .finish()
    }
}
