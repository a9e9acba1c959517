//! What a policy does with an event or a timer, and the timers that it has scheduled by then.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::PolicyLaws;
use crate::policy::timers::{Timer, TimerType};
use crate::store::{Append, EventStore, LogId, Name, Position, Tracking};
use crate::testing::laws::checks::with_causes;
use crate::testing::laws::{Broken, broken};
use crate::{Aggregate, Application, Timers, UnitOfWork};

/// How a policy deals with its timers.
pub(in crate::testing::laws) struct TimersOf<P> {
    pub(in crate::testing::laws) timer_type: TimerType,
    pub(in crate::testing::laws) due:
        for<'a> fn(&'a P, &'a Timer, &'a mut UnitOfWork) -> BoxFuture<'a, Result<(), String>>,
}

impl<P> Clone for TimersOf<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for TimersOf<P> {}

impl<P: Timers> TimersOf<P> {
    pub(in crate::testing::laws) fn new() -> Self {
        Self {
            timer_type: TimerType::of::<P>(),
            due: |policy, timer, work| Box::pin(be_due(policy, timer, work)),
        }
    }
}

async fn be_due<P: Timers>(policy: &P, timer: &Timer, work: &mut UnitOfWork) -> Result<(), String> {
    let due = timer.decode().map_err(|error| with_causes(&error))?;
    work.begin_due(timer);
    policy
        .due(&due, work)
        .await
        .map_err(|error| with_causes(&error))
}

/// The laws of a policy without timers. Its method comes after that of [`PolicyLaws`], which asks for
/// [`Timers`](crate::Timers).
pub trait TimersOrNone: Sized {
    /// Nothing becomes due.
    #[must_use]
    fn with_timers(self) -> Self {
        self
    }
}

impl<P, A: Aggregate> TimersOrNone for PolicyLaws<P, A> {}

/// The timers that are not due yet, by their keys.
#[derive(Default)]
pub(in crate::testing::laws) struct Pending(BTreeMap<String, Timer>);

impl Pending {
    /// Takes out the next one that is due by then, or the next of all. Whatever comes of it, it is not due again.
    pub(in crate::testing::laws) fn take(&mut self, by: Option<Timestamp>) -> Option<Timer> {
        let next = self
            .0
            .values()
            .min_by_key(|timer| (timer.due, &timer.key))?;
        let key = by
            .is_none_or(|by| next.due <= by)
            .then(|| next.key.clone())?;
        self.0.remove(&key)
    }

    /// Returns `true` if something was scheduled.
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

/// Where a policy works, and what has come of it so far.
pub(in crate::testing::laws) struct Place<'a> {
    pub(in crate::testing::laws) runtime: &'a Runtime,
    pub(in crate::testing::laws) app: Application,
    pub(in crate::testing::laws) timer_type: TimerType,
    pub(in crate::testing::laws) pending: Pending,
    /// How many events and timers have led to something.
    pub(in crate::testing::laws) led_to: usize,
}

/// What one piece of work leads to.
struct Consequence {
    shown: String,
    /// `None`: it failed.
    outcome: Option<(Append, BTreeMap<String, Option<Timer>>)>,
}

impl Place<'_> {
    /// Does the same twice, from the same start, and keeps what came of it.
    pub(in crate::testing::laws) fn twice(
        &mut self,
        what: &str,
        deal: impl Fn(&Runtime, &mut UnitOfWork) -> Result<(), String>,
    ) -> Result<(), Broken> {
        let first = self.once(&deal);
        let second = self.once(&deal);

        if first.shown != second.shown {
            return Err(broken(
                format!(
                    "{what} led to{}\nand dealt with once more to{}",
                    first.shown, second.shown
                ),
                "let the policy depend on nothing but the event and what `work` loads: ids from `work.new_id()`, times \
                 from `event.recorded_at`, nothing random, no map or set that is read in no order",
            ));
        }
        if let Some((append, timers)) = first.outcome {
            self.keep(append, timers);
        }
        Ok(())
    }

    /// Nothing of it is written.
    fn once(&self, deal: impl Fn(&Runtime, &mut UnitOfWork) -> Result<(), String>) -> Consequence {
        let mut work = UnitOfWork::new(self.app.clone(), self.timer_type);
        let dealt_with = deal(self.runtime, &mut work);
        let mistake = work
            .schedule
            .take_mistake()
            .map(|mistake| with_causes(&mistake));
        let step = Tracking::new(
            Name::from_static("policy"),
            LogId::new(),
            Position::ZERO,
            Position::ZERO,
        );
        let append = dealt_with
            .and_then(|()| mistake.map_or(Ok(()), Err))
            .and_then(|()| work.to_append(step).map_err(|error| with_causes(&error)));
        match append {
            Err(failure) => Consequence {
                shown: format!("\n  a failure: {failure}"),
                outcome: None,
            },
            Ok(append) => {
                let append = Append {
                    tracking: None,
                    ..append
                };
                let timers = std::mem::take(&mut work.schedule.changes);

                Consequence {
                    shown: shown(&append, &timers),
                    outcome: Some((append, timers)),
                }
            }
        }
    }

    /// What was drawn cannot always happen: an aggregate may be created twice.
    fn keep(&mut self, append: Append, timers: BTreeMap<String, Option<Timer>>) {
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

fn shown(append: &Append, timers: &BTreeMap<String, Option<Timer>>) -> String {
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
