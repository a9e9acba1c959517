//! Handlers: the code of the user for one event or timer, behind object-safe traits.
//!
//! Each kind of follower has an interface of its own, because each has its effects by other means:
//! a policy in its unit of work, a read model in its transaction, any other projection by itself.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::event_filter::EventFilter;
use crate::policy::timers::{Timer, TimerType};
use crate::store::{BoxError, Position, StoredEvent};
use crate::{Aggregate, Policy, Projection, SqlProjection, Timers, Tx, UnitOfWork};

/// Handles one event for a policy.
#[async_trait]
pub(crate) trait PolicyHandler<S>: Send + Sync {
    async fn react(
        &self,
        system: &S,
        event: &StoredEvent,
        work: &mut UnitOfWork,
    ) -> Result<(), BoxError>;
}

/// Handles one event for a projection that writes to its target by itself.
#[async_trait]
pub(crate) trait ProjectionHandler<S>: Send + Sync {
    /// Skips the parts of the event that are among `projected`, and adds those that it projects.
    async fn project(
        &self,
        system: &S,
        event: &StoredEvent,
        projected: &ProjectedEvents,
    ) -> Result<(), BoxError>;
}

/// Handles one event for a projection in a SQL database.
#[async_trait]
pub(crate) trait SqlProjectionHandler<S>: Send + Sync {
    async fn project(
        &self,
        system: &S,
        event: &StoredEvent,
        tx: &mut Tx<'_>,
    ) -> Result<(), BoxError>;
}

/// Handles one due timer for a policy.
#[async_trait]
pub(crate) trait TimerHandler<S>: Send + Sync {
    fn timer_type(&self) -> TimerType;

    async fn due(&self, system: &S, timer: &Timer, work: &mut UnitOfWork) -> Result<(), BoxError>;
}

/// Handles the events of the aggregate `A` by the part `P` of a system. This is where stored events
/// become the types of the user.
pub(crate) struct TypedEventHandler<S, P, A> {
    pub(crate) part: fn(&S) -> &P,
    pub(crate) filter: EventFilter<A>,
}

/// Handles timers by the part `P` of a system.
pub(crate) struct TypedTimerHandler<S, P> {
    pub(crate) part: fn(&S) -> &P,
}

#[async_trait]
impl<S: Send + Sync, P: Policy<A>, A: Aggregate> PolicyHandler<S> for TypedEventHandler<S, P, A> {
    async fn react(
        &self,
        system: &S,
        event: &StoredEvent,
        work: &mut UnitOfWork,
    ) -> Result<(), BoxError> {
        // `begin` resets the counters from which the ids of new aggregates and timers are made. One
        // stored event can decode to several events, so it is called once for all of them: a second
        // call would give two new aggregates the same id.
        let mut has_begun = false;
        for event in self.filter.decode(event)? {
            if !std::mem::replace(&mut has_begun, true) {
                work.begin(event.event_ref(), &event.metadata);
            }
            (self.part)(system).react(&event, work).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<S: Send + Sync, P: Projection<A>, A: Aggregate> ProjectionHandler<S>
    for TypedEventHandler<S, P, A>
{
    async fn project(
        &self,
        system: &S,
        event: &StoredEvent,
        projected: &ProjectedEvents,
    ) -> Result<(), BoxError> {
        for event in self.filter.decode(event)? {
            if !projected.contains(event.position, event.part) {
                (self.part)(system).project(&event).await?;
                projected.insert(event.position, event.part);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<S: Send + Sync, P: SqlProjection<A>, A: Aggregate> SqlProjectionHandler<S>
    for TypedEventHandler<S, P, A>
{
    async fn project(
        &self,
        system: &S,
        event: &StoredEvent,
        tx: &mut Tx<'_>,
    ) -> Result<(), BoxError> {
        for event in self.filter.decode(event)? {
            (self.part)(system).project(&event, tx).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<S: Send + Sync, P: Timers> TimerHandler<S> for TypedTimerHandler<S, P> {
    fn timer_type(&self) -> TimerType {
        TimerType::of::<P>()
    }

    async fn due(&self, system: &S, timer: &Timer, work: &mut UnitOfWork) -> Result<(), BoxError> {
        let due = timer.decode()?;
        work.begin_due(timer);
        Ok((self.part)(system).due(&due, work).await?)
    }
}

/// The events that a projection has projected since the last step, by position and part.
///
/// A piece of a page that fails is retried in smaller pieces. The effects of such a projection
/// cannot be undone, so the events before the failed one are skipped in the retry.
#[derive(Debug, Default)]
pub(crate) struct ProjectedEvents(Mutex<BTreeSet<(Position, u32)>>);

impl ProjectedEvents {
    fn contains(&self, position: Position, part: u32) -> bool {
        self.events().contains(&(position, part))
    }

    fn insert(&self, position: Position, part: u32) {
        self.events().insert((position, part));
    }

    /// Forgets the events up to `position`, whose step was made. Events beyond it stay: they were
    /// projected in a larger piece that failed, and belong to a later step.
    pub(crate) fn forget_up_to(&self, position: Position) {
        self.events().retain(|(projected, _)| *projected > position);
    }

    fn events(&self) -> MutexGuard<'_, BTreeSet<(Position, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
