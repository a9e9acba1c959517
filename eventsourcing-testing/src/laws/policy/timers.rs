//! Runs one event or timer of a policy twice, compares the results, and keeps the timers that are pending.

use std::collections::BTreeMap;

use eventsourcing_core::private::testing::{Consequences, DetachedWork, Timer, TimerType};
use eventsourcing_core::store::EventStore;
use eventsourcing_core::{Aggregate, Application, Timers, UnitOfWork};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::PolicyLaws;
use crate::laws::checks::with_causes;
use crate::laws::{Broken, broken};

/// The timers of a policy, with their type erased.
pub(in crate::laws) struct TimersOf<P> {
    pub(in crate::laws) timer_type: TimerType,
    pub(in crate::laws) due:
        for<'a> fn(&'a P, &'a Timer, &'a mut UnitOfWork) -> BoxFuture<'a, Result<(), String>>,
}

impl<P> Clone for TimersOf<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for TimersOf<P> {}

impl<P: Timers> TimersOf<P> {
    pub(in crate::laws) fn new() -> Self {
        Self {
            timer_type: TimerType::of::<P>(),
            due: |policy, timer, work| Box::pin(be_due(policy, timer, work)),
        }
    }
}

async fn be_due<P: Timers>(policy: &P, timer: &Timer, work: &mut UnitOfWork) -> Result<(), String> {
    let due = timer.decode().map_err(|error| with_causes(&error))?;
    policy
        .due(&due, work)
        .await
        .map_err(|error| with_causes(&error))
}

/// The laws of a policy without timers. The inherent method of [`PolicyLaws`], which needs [`Timers`](eventsourcing_core::Timers), takes
/// precedence over the method of this trait.
pub trait TimersOrNone: Sized {
    /// Returns the laws unchanged: no timer becomes due.
    #[must_use]
    fn with_timers(self) -> Self {
        self
    }
}

impl<P, A: Aggregate> TimersOrNone for PolicyLaws<P, A> {}

/// The pending timers, by their keys.
#[derive(Default)]
pub(in crate::laws) struct Pending(BTreeMap<String, Timer>);

impl Pending {
    /// Removes and returns the next timer that is due at `by`, or the next of all. A removed timer is never due again, even if it
    /// fails.
    pub(in crate::laws) fn take(&mut self, by: Option<Timestamp>) -> Option<Timer> {
        let next = self
            .0
            .values()
            .min_by_key(|timer| (timer.due, &timer.key))?;
        let key = by
            .is_none_or(|by| next.due <= by)
            .then(|| next.key.clone())?;
        self.0.remove(&key)
    }

    /// Applies changes of the schedule. Returns `true` if a timer was scheduled.
    fn change(&mut self, changes: BTreeMap<String, Option<Timer>>) -> bool {
        let has_scheduled = changes.values().any(Option::is_some);
        for (key, timer) in changes {
            match timer {
                Some(timer) => drop(self.0.insert(key, timer)),
                None => drop(self.0.remove(&key)),
            }
        }
        has_scheduled
    }
}

/// The application and the timers of a policy under test.
pub(in crate::laws) struct Place<'a> {
    pub(in crate::laws) runtime: &'a Runtime,
    pub(in crate::laws) app: Application,
    pub(in crate::laws) timer_type: TimerType,
    pub(in crate::laws) pending: Pending,
    /// The number of events and timers that led to something.
    pub(in crate::laws) led_to: usize,
}

/// The result of processing one event or timer.
struct Outcome {
    shown: String,
    /// `None` if the policy failed.
    consequences: Option<Consequences>,
}

impl Place<'_> {
    /// Processes the same event or timer twice, from the same start, and keeps the result.
    pub(in crate::laws) fn twice(
        &mut self,
        what: &str,
        process: impl Fn(&Self) -> Result<DetachedWork, String>,
    ) -> Result<(), Broken> {
        let first = Outcome::of(process(self));
        let second = Outcome::of(process(self));

        if first.shown != second.shown {
            return Err(broken(
                format!(
                    "{what} led to{}\nand processed again to{}",
                    first.shown, second.shown
                ),
                "let the policy depend on nothing but the event and what `work` loads: ids from `work.new_id()`, times \
                 from `event.recorded_at`, nothing random, no map or set that is read in no order",
            ));
        }
        if let Some(consequences) = first.consequences {
            self.keep(consequences);
        }
        Ok(())
    }

    /// Keeps the result of an event or timer. A generated history need not be possible, for example it may create an aggregate
    /// twice; a refused append then changes nothing.
    fn keep(&mut self, Consequences { append, timers }: Consequences) {
        let has_events = append.event_count() > 0;
        if has_events
            && self
                .runtime
                .block_on(self.app.store().append(append))
                .is_err()
        {
            return;
        }
        self.led_to += usize::from(self.pending.change(timers) || has_events);
    }
}

impl Outcome {
    fn of(processed: Result<DetachedWork, String>) -> Self {
        let ended = processed.and_then(|work| work.end().map_err(|error| with_causes(&*error)));
        match ended {
            Ok(consequences) => Self {
                shown: shown(&consequences),
                consequences: Some(consequences),
            },
            Err(failure) => Self {
                shown: format!("\n  a failure: {failure}"),
                consequences: None,
            },
        }
    }
}

fn shown(Consequences { append, timers }: &Consequences) -> String {
    let events = append.streams.iter().flat_map(|part| {
        part.events.iter().map(|event| {
            let payload = String::from_utf8_lossy(&event.payload);
            let metadata = String::from_utf8_lossy(&event.metadata);
            format!("\n  {} {} {payload} {metadata}", part.stream, event.name)
        })
    });
    let timers = timers
        .iter()
        .map(|(key, timer)| format!("\n  timer {key}: {timer:?}"));
    events.chain(timers).collect()
}
