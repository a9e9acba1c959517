//! [`Follower`]: a policy or projection of a system, tied to the events it takes. Wiring without behaviour.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::FollowerKind;
use super::followed_events::AggregateEvents;
use super::needs::Needs;
use crate::aggregate::names_of;
use crate::store::{Name, Position, StoredEvent};
use crate::timers::{Timer, TimerType};
use crate::{Aggregate, Policy, Projection, SqlProjection, SqlReadModel, Table, Timers, Tx, Work};

/// A policy or projection of the system `S`, and the events it takes.
pub struct Follower<S> {
    pub(crate) name: &'static str,
    pub(crate) kind: FollowerKind,
    pub(crate) target: Target,
    /// By the stored name of the aggregate.
    pub(crate) routes: BTreeMap<Name, Route<S>>,
    /// What deals with its timers, if it is declared to have any.
    pub(crate) timers: Option<Arc<dyn DueHandler<S>>>,
}

pub(crate) struct Route<S> {
    pub(crate) application: &'static str,
    pub(crate) handler: Arc<dyn Handler<S>>,
    /// The events that it takes of the aggregate.
    pub(crate) events: AggregateEvents,
}

/// Where what a follower does with events ends up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// The follower's own application.
    Events,
    /// This process; it is gone with it.
    Memory,
    /// Tables, in this version.
    Sql { version: u32, tables: &'static [Table] },
    /// Something that knows nothing of steps. It is of this type, and has to be given.
    Foreign(TypeId),
}

/// What a follower does with one event.
#[async_trait]
pub(crate) trait Handler<S>: Send + Sync {
    async fn handle(&self, system: &S, event: &StoredEvent, means: Means<'_, '_>) -> Result<(), Cause>;
}

/// What a policy does with one timer that is due.
#[async_trait]
pub(crate) trait DueHandler<S>: Send + Sync {
    fn timer_type(&self) -> TimerType;

    async fn due(&self, system: &S, timer: &Timer, work: &mut Work) -> Result<(), Cause>;
}

/// What a follower has an effect with.
pub(crate) enum Means<'a, 'b> {
    /// A policy.
    Work(&'a mut Work),
    /// A projection in a SQL database.
    Tx(&'a mut Tx<'b>),
    /// Any other projection, which has its own. What it has taken before is not taken again.
    Own(&'a Taken),
}

/// The events that a projection has taken since the last step, by position and part: a piece that failed is not begun again
/// at its first event.
#[derive(Debug, Default)]
pub(crate) struct Taken(Mutex<BTreeSet<(Position, u32)>>);

impl Taken {
    fn contains(&self, position: Position, part: u32) -> bool {
        self.events().contains(&(position, part))
    }

    fn insert(&self, position: Position, part: u32) {
        self.events().insert((position, part));
    }

    /// The step up to `position` has been made. What was taken beyond it belongs to a later one, which is smaller than the
    /// piece that failed.
    pub(crate) fn forget_up_to(&self, position: Position) {
        self.events().retain(|(taken, _)| *taken > position);
    }

    fn events(&self) -> MutexGuard<'_, BTreeSet<(Position, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

impl<S: Send + Sync + 'static> Follower<S> {
    /// The policy that `part` finds in the system.
    pub fn policy<P>(name: &'static str, part: fn(&S) -> &P) -> PolicyFollower<S, P> {
        PolicyFollower { follower: Self::new(name, FollowerKind::Policy, Target::Events), part }
    }

    /// The projection in memory that `part` finds in the system.
    pub fn projection<P>(name: &'static str, part: fn(&S) -> &P) -> ProjectionFollower<S, P> {
        ProjectionFollower { follower: Self::new(name, FollowerKind::Projection, Target::Memory), part }
    }

    /// The projection into something foreign that `part` finds in the system.
    pub fn foreign_projection<P: 'static>(name: &'static str, part: fn(&S) -> &P) -> ProjectionFollower<S, P> {
        let target = Target::Foreign(TypeId::of::<P>());
        ProjectionFollower { follower: Self::new(name, FollowerKind::Projection, target), part }
    }

    /// The projection in a SQL database that `part` finds in the system.
    pub fn sql_projection<P: SqlReadModel>(name: &'static str, part: fn(&S) -> &P) -> SqlProjectionFollower<S, P> {
        let target = Target::Sql { version: P::VERSION, tables: P::TABLES };
        SqlProjectionFollower { follower: Self::new(name, FollowerKind::Projection, target), part }
    }

    fn new(name: &'static str, kind: FollowerKind, target: Target) -> Self {
        Self { name, kind, target, routes: BTreeMap::new(), timers: None }
    }

    /// Takes the events of an aggregate, under whichever of its names it stands.
    fn route<A: Aggregate>(
        &mut self,
        application: &'static str,
        events: &AggregateEvents,
        handler: impl Handler<S> + 'static,
    ) {
        let handler: Arc<dyn Handler<S>> = Arc::new(handler);
        for name in names_of::<A>() {
            let route = Route { application, handler: Arc::clone(&handler), events: events.clone() };
            self.routes.insert(Name::from_static(name), route);
        }
    }
}

/// A policy that is being tied to events.
pub struct PolicyFollower<S, P> {
    follower: Follower<S>,
    part: fn(&S) -> &P,
}

impl<S: Send + Sync + 'static, P: 'static> PolicyFollower<S, P> {
    /// Takes the events of the aggregate `A` of `application`.
    #[must_use]
    pub fn follows<A: Aggregate>(self, application: &'static str) -> Self
    where
        P: Policy<A>,
    {
        self.route(application, Needs::<A>::all())
    }

    /// Takes only some events of the aggregate `A` of `application`: those of these [variants](crate::Event::VARIANTS). All
    /// others are passed over without being decoded, known or not.
    ///
    /// # Panics
    /// If there is no such variant.
    #[must_use]
    pub fn follows_only<A: Aggregate>(self, application: &'static str, variants: &[&str]) -> Self
    where
        P: Policy<A>,
    {
        self.route(application, Needs::only(variants))
    }

    fn route<A: Aggregate>(mut self, application: &'static str, needs: Needs<A>) -> Self
    where
        P: Policy<A>,
    {
        self.follower.route::<A>(application, &needs.names(), React { part: self.part, needs });
        self
    }

    /// Has timers.
    #[must_use]
    pub fn timers(mut self) -> Self
    where
        P: Timers,
    {
        self.follower.timers = Some(Arc::new(BeDue { part: self.part }));
        self
    }
}

/// A projection that is being tied to events.
pub struct ProjectionFollower<S, P> {
    follower: Follower<S>,
    part: fn(&S) -> &P,
}

impl<S: Send + Sync + 'static, P: 'static> ProjectionFollower<S, P> {
    /// Takes the events of the aggregate `A` of `application`.
    #[must_use]
    pub fn follows<A: Aggregate>(self, application: &'static str) -> Self
    where
        P: Projection<A>,
    {
        self.route(application, Needs::<A>::all())
    }

    /// Takes only some events of the aggregate `A` of `application`: those of these [variants](crate::Event::VARIANTS). All
    /// others are passed over without being decoded, known or not.
    ///
    /// # Panics
    /// If there is no such variant.
    #[must_use]
    pub fn follows_only<A: Aggregate>(self, application: &'static str, variants: &[&str]) -> Self
    where
        P: Projection<A>,
    {
        self.route(application, Needs::only(variants))
    }

    fn route<A: Aggregate>(mut self, application: &'static str, needs: Needs<A>) -> Self
    where
        P: Projection<A>,
    {
        self.follower.route::<A>(application, &needs.names(), Project { part: self.part, needs });
        self
    }
}

/// A projection in a SQL database that is being tied to events.
pub struct SqlProjectionFollower<S, P> {
    follower: Follower<S>,
    part: fn(&S) -> &P,
}

impl<S: Send + Sync + 'static, P: 'static> SqlProjectionFollower<S, P> {
    /// Takes the events of the aggregate `A` of `application`.
    #[must_use]
    pub fn follows<A: Aggregate>(self, application: &'static str) -> Self
    where
        P: SqlProjection<A>,
    {
        self.route(application, Needs::<A>::all())
    }

    /// Takes only some events of the aggregate `A` of `application`: those of these [variants](crate::Event::VARIANTS). All
    /// others are passed over without being decoded, known or not.
    ///
    /// # Panics
    /// If there is no such variant.
    #[must_use]
    pub fn follows_only<A: Aggregate>(self, application: &'static str, variants: &[&str]) -> Self
    where
        P: SqlProjection<A>,
    {
        self.route(application, Needs::only(variants))
    }

    fn route<A: Aggregate>(mut self, application: &'static str, needs: Needs<A>) -> Self
    where
        P: SqlProjection<A>,
    {
        self.follower.route::<A>(application, &needs.names(), ProjectInSql { part: self.part, needs });
        self
    }
}

impl<S, P> From<PolicyFollower<S, P>> for Follower<S> {
    fn from(policy: PolicyFollower<S, P>) -> Self {
        policy.follower
    }
}

impl<S, P> From<ProjectionFollower<S, P>> for Follower<S> {
    fn from(projection: ProjectionFollower<S, P>) -> Self {
        projection.follower
    }
}

impl<S, P> From<SqlProjectionFollower<S, P>> for Follower<S> {
    fn from(projection: SqlProjectionFollower<S, P>) -> Self {
        projection.follower
    }
}

struct React<S, P, A> {
    part: fn(&S) -> &P,
    needs: Needs<A>,
}

#[async_trait]
impl<S: Send + Sync, P: Policy<A>, A: Aggregate> Handler<S> for React<S, P, A> {
    async fn handle(&self, system: &S, event: &StoredEvent, means: Means<'_, '_>) -> Result<(), Cause> {
        let Means::Work(work) = means else { unreachable!("a policy is given work") };
        // What is recorded because of the parts of one event has ids of its own: they go on counting.
        let mut has_begun = false;
        for event in self.needs.decode(event)? {
            if !std::mem::replace(&mut has_begun, true) {
                work.begin(event.event_ref(), &event.metadata);
            }
            (self.part)(system).react(&event, work).await?;
        }
        Ok(())
    }
}

struct BeDue<S, P> {
    part: fn(&S) -> &P,
}

#[async_trait]
impl<S: Send + Sync, P: Timers> DueHandler<S> for BeDue<S, P> {
    fn timer_type(&self) -> TimerType {
        TimerType::of::<P>()
    }

    async fn due(&self, system: &S, timer: &Timer, work: &mut Work) -> Result<(), Cause> {
        let due = timer.decode()?;
        work.begin_due(timer);
        Ok((self.part)(system).due(&due, work).await?)
    }
}

struct Project<S, P, A> {
    part: fn(&S) -> &P,
    needs: Needs<A>,
}

#[async_trait]
impl<S: Send + Sync, P: Projection<A>, A: Aggregate> Handler<S> for Project<S, P, A> {
    async fn handle(&self, system: &S, event: &StoredEvent, means: Means<'_, '_>) -> Result<(), Cause> {
        let Means::Own(taken) = means else { unreachable!("a projection that has its own is told what it has taken") };
        for event in self.needs.decode(event)? {
            if !taken.contains(event.position, event.part) {
                (self.part)(system).project(&event).await?;
                taken.insert(event.position, event.part);
            }
        }
        Ok(())
    }
}

struct ProjectInSql<S, P, A> {
    part: fn(&S) -> &P,
    needs: Needs<A>,
}

#[async_trait]
impl<S: Send + Sync, P: SqlProjection<A>, A: Aggregate> Handler<S> for ProjectInSql<S, P, A> {
    async fn handle(&self, system: &S, event: &StoredEvent, means: Means<'_, '_>) -> Result<(), Cause> {
        let Means::Tx(tx) = means else { unreachable!("a projection in a SQL database is given its transaction") };
        for event in self.needs.decode(event)? {
            (self.part)(system).project(&event, tx).await?;
        }
        Ok(())
    }
}

impl<S> fmt::Debug for Follower<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let follows = self.routes.keys();
        f.debug_struct("Follower")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("follows", &follows.collect::<Vec<_>>())
            .finish()
    }
}

impl<S, P> fmt::Debug for PolicyFollower<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.follower.fmt(f)
    }
}

impl<S, P> fmt::Debug for SqlProjectionFollower<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.follower.fmt(f)
    }
}

impl<S, P> fmt::Debug for ProjectionFollower<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.follower.fmt(f)
    }
}
