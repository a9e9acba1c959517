//! [`PolicyLaws`]: the law of policies. A follower may deliver an event again after a crash, so a second delivery must lead to
//! the same result.

pub(super) mod timers;

use std::any::type_name;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use eventsourcing_core::private::testing::{DetachedWork, TimerType};
use eventsourcing_core::store::{MemoryStore, Position, Version};
use eventsourcing_core::{
    Aggregate, Application, Event, Id, Metadata, Policy, RecordedEvent, Root, Timers,
};
use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::checks::with_causes;
use super::events::Events;
use super::history::{World, lines};
use super::panics::catching;
use super::search::{Step, any_steps, search};
use super::texts::{KNOWN_IDS, known_id};
use super::{Broken, Laws, broken, text};
use crate::Seed;
use timers::{Pending, Place, TimersOf};

const LAW: &str = "an event processed twice leads to the same";

/// The offset of the cases that given aggregates are made from, so that they differ from the events of the same case.
const GIVEN: u64 = 1_000_000;

/// The most timers that become due at once in a history.
const TIMERS_MAX: usize = 16;

/// The law of a policy that follows the aggregate `A`; [`laws!`](crate::laws!) makes a test of it.
pub struct PolicyLaws<P, A: Aggregate> {
    examples: Vec<A::Event>,
    seed: Option<Seed>,
    given: Vec<Given>,
    timers: Option<TimersOf<P>>,
    of: PhantomData<fn() -> P>,
}

type Given = fn(Seed) -> Result<Box<dyn Drawn>, String>;

impl<A: Aggregate, P: From<Application> + Policy<A>> PolicyLaws<P, A> {
    /// The law for events that are generated from their types.
    #[must_use]
    pub fn new() -> Self {
        Self {
            examples: Vec::new(),
            given: Vec::new(),
            seed: None,
            timers: None,
            of: PhantomData,
        }
    }

    /// Uses these examples instead of generated events of the same types.
    #[must_use]
    pub fn with_events(mut self, examples: impl IntoIterator<Item = A::Event>) -> Self {
        self.examples.extend(examples);
        self
    }

    /// Creates some aggregates of this type in the policy's application before the first event. Ids in generated events are those of
    /// these aggregates.
    #[must_use]
    pub fn with_given<G: Aggregate>(mut self) -> Self {
        self.given
            .push(|seed| Ok(Box::new(Laws::<G>::new().world(seed)?)));
        self
    }

    /// Uses this seed instead of [`Seed::from_env`].
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Processing the same event again, from the same start, records the same events, schedules the same timers, or fails again.
    /// The same holds for timers, if the test runs [with timers](Self::with_timers).
    ///
    /// # Panics
    /// The law is broken, or no event leads to anything.
    pub fn an_event_processed_twice_leads_to_the_same(self) {
        let seed = self.seed.unwrap_or_else(Seed::from_env);
        let untested = |reason: &dyn fmt::Display| -> ! {
            panic!("the law that {LAW} is not tested: {reason}\n{seed}")
        };
        let who = type_name::<P>().rsplit("::").next().unwrap_or_default();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let given: Result<Vec<_>, _> = self.given.iter().map(|given| given(seed)).collect();
        let events = Events::<A>::new(&self.examples, seed);
        let (given, events) = match (given, events) {
            (Ok(given), Ok(events)) => (given, events),
            (Err(reason), _) | (_, Err(reason)) => untested(&reason),
        };
        let world = World {
            events,
            decisions: Vec::new(),
            printer: None,
        };
        let consequences = Cell::new(0);
        let outcome = search(seed, |steps, case| {
            let mut history = world.play(steps);
            history.forget_fault();
            let steps_before = any_steps(seed, GIVEN + case);
            let steps = &*steps_before;
            let events = &*history.events;

            let delivery = Delivery::<P, _> {
                runtime: &runtime,
                given: &given,
                steps,
                events,
                timers: self.timers,
            };
            let led_to = catching(|| delivery.check::<A>())
                .unwrap_or_else(|panic| Err(broken(panic, "fix the panic")));
            let led_to = led_to
                .map_err(|broken| text(who, LAW, &lines(&history.events), &broken, Some(seed)))?;
            consequences.set(consequences.get() + led_to);
            Ok(())
        });
        if let Err(text) = outcome {
            panic!("{text}");
        }
        if consequences.get() == 0 {
            untested(&format_args!(
                "no event of {} led to anything; name the aggregates that must exist before, `given = […]`, or give \
                 events that lead to something, `events = […]`",
                A::NAME
            ));
        }
    }
}

impl<A: Aggregate, P: Timers> PolicyLaws<P, A> {
    /// Makes the timers of the policy due: those whose time has passed before the next event, all others after the last event.
    #[must_use]
    pub fn with_timers(mut self) -> Self {
        self.timers = Some(TimersOf::new());
        self
    }
}

impl<A: Aggregate, P: From<Application> + Policy<A>> Default for PolicyLaws<P, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P, A: Aggregate> fmt::Debug for PolicyLaws<P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyLaws")
            .field("aggregate", &A::NAME)
            .finish_non_exhaustive()
    }
}

/// Aggregates that exist before the first event.
trait Drawn {
    /// Saves one aggregate for each id, until the steps are used up.
    fn save(&self, steps: &[Step], runtime: &Runtime, app: &Application);
}

impl<G: Aggregate> Drawn for World<G> {
    fn save(&self, steps: &[Step], runtime: &Runtime, app: &Application) {
        for (id, steps) in
            (0..KNOWN_IDS).zip(steps.chunks(steps.len().div_ceil(KNOWN_IDS as usize)))
        {
            let mut history = self.play(steps);
            history.forget_fault();
            if !history.events.is_empty() {
                let mut root = Root::<G>::with_id(Id::from_uuid(known_id(id)), history.events);
                runtime
                    .block_on(app.save(&mut root))
                    .expect("a new aggregate in an empty store in memory");
            }
        }
    }
}

/// One run of a policy: the given aggregates and the events that it processes.
struct Delivery<'a, P, E> {
    runtime: &'a Runtime,
    given: &'a [Box<dyn Drawn>],
    steps: &'a [Step],
    events: &'a [E],
    timers: Option<TimersOf<P>>,
}

impl<P, E: Event> Delivery<'_, P, E> {
    /// Returns the number of events and timers that led to something.
    fn check<A>(&self) -> Result<usize, Broken>
    where
        P: From<Application> + Policy<A>,
        A: Aggregate<Event = E>,
    {
        let app = Application::new("policy", MemoryStore::new());
        self.given
            .iter()
            .for_each(|given| given.save(self.steps, self.runtime, &app));
        let policy = P::from(app.clone());
        let timer_type = self
            .timers
            .as_ref()
            .map_or(TimerType::Any, |timers| timers.timer_type);
        let mut place = Place {
            runtime: self.runtime,
            app,
            timer_type,
            pending: Pending::default(),
            led_to: 0,
        };
        for (event, number) in self.events.iter().zip(1..) {
            self.run_timers(&policy, &mut place, Some(Timestamp::UNIX_EPOCH))?;
            let event = recorded::<A>(event, number);
            place.twice(&format!("event {number}"), |place| {
                let mut work = DetachedWork::of_event(&place.app, place.timer_type, &event);
                let reacted = place.runtime.block_on(policy.react(&event, work.work()));
                reacted.map_err(|error| with_causes(&error))?;
                Ok(work)
            })?;
        }
        self.run_timers(&policy, &mut place, None)?;
        Ok(place.led_to)
    }

    /// Makes the timers due whose time is at most `by`, or all timers.
    fn run_timers(
        &self,
        policy: &P,
        place: &mut Place<'_>,
        by: Option<Timestamp>,
    ) -> Result<(), Broken> {
        let Some(timers) = &self.timers else {
            return Ok(());
        };
        // The limit is needed because a timer may schedule itself again forever.
        for _ in 0..TIMERS_MAX {
            let Some(timer) = place.pending.take(by) else {
                break;
            };
            place.twice(&format!("timer {:?}", timer.key), |place| {
                let mut work = DetachedWork::of_timer(&place.app, place.timer_type, &timer);
                let processed = (timers.due)(policy, &timer, work.work());
                place.runtime.block_on(processed)?;
                Ok(work)
            })?;
        }
        Ok(())
    }
}

/// Returns the event in the form that a log delivers.
fn recorded<A: Aggregate>(event: &A::Event, number: u64) -> RecordedEvent<A> {
    RecordedEvent {
        payload: event.duplicate(),
        aggregate_id: Id::from_uuid(known_id(0)),
        category: A::NAME,
        version: Version::new(number),
        position: Position::new(number),
        recorded_at: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new().with_correlation_id(Uuid::nil()),
        part: 0,
    }
}
