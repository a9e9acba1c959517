//! The laws of event sourcing as property tests, which are made from the types: see [`laws!`](crate::testing::laws!).
//!
//! Events are drawn by asking their types to be read: whatever serde asks for is made up. Numbers are small, so that no sum
//! of them overflows; ids are among a few; texts are of many kinds, and which of them a field wants is learned by trying.
//! What cannot be drawn is given as examples. Failures are shrunk to the shortest history that shows them.

mod checks;
mod decide;
mod deserializer;
mod events;
mod generator;
mod history;
mod panics;
mod parts;
mod policy;
mod sample;
mod samples;
mod search;
mod subject;
mod texts;
mod view;

pub use decide::{Decide, Decision, MayRefuse, NeverRefuses};
pub use policy::PolicyLaws;
#[doc(hidden)]
pub use policy::timers::TimersOrNone;
pub use sample::Sample;
#[doc(hidden)]
pub use subject::{AnySubject, Subject};

use std::cell::{Cell, RefCell};
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Seed;
use crate::Aggregate;
use checks::Recording;
use events::Events;
use history::{History, World, lines};
use panics::catching;
use search::search;
use view::Printer;

/// How many histories are replayed again after [`A_MOMENT`].
const LATER_REPLAYS_MAX: usize = 50;
/// Clocks are often read to the second.
const A_MOMENT: Duration = Duration::from_millis(1_010);

/// The laws that every aggregate keeps. Each method is one, and panics if it is broken; [`laws!`](crate::testing::laws!)
/// makes a test of each.
///
/// ```
/// use eventsourcing_core::testing::laws::Laws;
/// # use eventsourcing_core::{Aggregate, event};
/// # #[derive(Aggregate, serde::Serialize, serde::Deserialize)] struct Jar { beans: u32 }
/// # #[event] impl Jar {
/// #     fn filled(beans: u32) -> Self { Self { beans } }
/// #     fn emptied(&mut self) { self.beans = 0; }
/// # }
///
/// Laws::<Jar>::new().folding_never_panics();
/// ```
pub struct Laws<A: Aggregate> {
    examples: Vec<A::Event>,
    decisions: Vec<Decision<A>>,
    samples: Vec<Sample>,
    printer: Option<Printer<A>>,
    seed: Option<Seed>,
}

impl<A: Aggregate> Laws<A> {
    /// The laws, put to events that are drawn from their types.
    #[must_use]
    pub fn new() -> Self {
        Self {
            examples: Vec::new(),
            decisions: Vec::new(),
            samples: Vec::new(),
            printer: None,
            seed: None,
        }
    }

    /// Takes these instead of events that are drawn, for each type of event that is among them.
    #[must_use]
    pub fn with_events(mut self, examples: impl IntoIterator<Item = A::Event>) -> Self {
        self.examples.extend(examples);
        self
    }

    /// Once the aggregate is created only that happens to it which this decides on, or another decision given so.
    #[must_use]
    pub fn with_decision<Kind>(mut self, decide: impl Decide<A, Kind>) -> Self {
        self.decisions
            .push(decide.into_decision(self.decisions.len()));
        self
    }

    /// What earlier releases have stored.
    #[must_use]
    pub fn with_samples<S: Into<Sample>>(mut self, samples: impl IntoIterator<Item = S>) -> Self {
        self.samples.extend(samples.into_iter().map(Into::into));
        self
    }

    /// Compares all fields of the state, also those that serde skips.
    #[must_use]
    pub fn with_debug(mut self) -> Self
    where
        A: fmt::Debug,
    {
        self.printer = Some(|state| format!("{state:?}"));
        self
    }

    /// Draws from this seed and not from that of the environment, or a new one: [`Seed::from_env`].
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whatever happens in whatever order, folding it does not panic. An event that is misplaced is reported as
    /// [`UnexpectedEvent`](crate::UnexpectedEvent) and changes nothing. With [decisions](Self::with_decision): whatever they decide on.
    ///
    /// # Panics
    /// The law is broken, or nothing could be tested.
    pub fn folding_never_panics(self) {
        self.run(
            "folding never panics",
            Faults::Count,
            |history| match history.fault {
                None => Ok(()),
                Some(fault) => Err(Broken {
                    reason: fault.reason,
                    advice: fault.advice,
                }),
            },
        );
    }

    /// The state that recorded events is the one that is replayed from them, each time, also a second later.
    ///
    /// # Panics
    /// The law is broken, or nothing could be tested.
    pub fn replay_gives_what_was_recorded(self) {
        const LAW: &str = "replay gives what was recorded";
        let advice = "let the fold depend on nothing but the state and the event: no clock, no randomness; what it needs to \
                      know is a field of the event, and no field of an event is skipped";
        let began = Instant::now();
        let printer = self.printer;
        let recordings = RefCell::new(Vec::new());

        let seed = self.seed.unwrap_or_else(Seed::from_env);
        self.with_seed(seed).run(LAW, Faults::Forget, |history| {
            let recording = Recording::of::<A>(&history.events, printer)
                .map_err(|reason| broken(reason, advice))?;
            recording
                .check_replay::<A>(printer)
                .map_err(|reason| broken(reason, advice))?;
            let mut recordings = recordings.borrow_mut();
            if recordings.len() < LATER_REPLAYS_MAX {
                recordings.push((history.events, recording));
            }
            Ok(())
        });
        sleep(A_MOMENT.saturating_sub(began.elapsed()));
        let mut recordings = recordings.into_inner();
        recordings.sort_by_key(|(events, _)| events.len());
        for (events, recording) in recordings {
            if let Err(reason) = recording.check_replay::<A>(printer) {
                fail::<A>(
                    LAW,
                    &events,
                    &broken(format!("a second later, {reason}"), advice),
                    Some(seed),
                );
            }
        }
    }

    /// At every version, a snapshot and the events after it are what all events are.
    ///
    /// # Panics
    /// The law is broken, or nothing could be tested.
    pub fn a_snapshot_and_the_events_after_it_are_all_events(self) {
        let advice = "let serde write and read every field of the state that the fold or a decision looks at: no `skip`, no \
                      lossy `with`";
        let printer = self.printer;
        self.run(
            "a snapshot and the events after it are all events",
            Faults::Forget,
            |history| {
                let recording = Recording::of::<A>(&history.events, printer)
                    .map_err(|reason| broken(reason, advice))?;
                recording
                    .check_snapshots::<A>(printer)
                    .map_err(|reason| broken(reason, advice))
            },
        );
    }

    /// An event that is written is read as the same event. What earlier releases have stored is read too: there is a sample
    /// of each former version that an upcaster or a split reads, and all of them can be read.
    ///
    /// # Panics
    /// The law is broken, a sample is missing, or nothing could be tested.
    pub fn what_is_stored_can_be_read(self) {
        if let Err(broken) = samples::check::<A>(&self.samples) {
            fail::<A>("what is stored can be read", &[], &broken, None);
        }
        let advice = "let serde read every field of the event as it writes it: attributes such as `with`, `skip` and \
                      `serialize_with` must fit together";
        self.run("what is stored can be read", Faults::Forget, |history| {
            checks::check_codec::<A>(&history.events).map_err(|reason| broken(reason, advice))
        });
    }

    fn run(self, law: &str, faults: Faults, check: impl Fn(History<A>) -> Result<(), Broken>) {
        let seed = self.seed.unwrap_or_else(Seed::from_env);
        let world = self
            .world(seed)
            .unwrap_or_else(|reason| panic!("the law that {law} is not tested: {reason}\n{seed}"));
        let tested = Cell::new(0);
        let decided = Cell::new(0);

        let outcome = search(seed, |steps, _| {
            let mut history = world.play(steps);
            if faults == Faults::Forget {
                history.forget_fault();
            }
            tested.set(tested.get() + history.events.len());
            decided.set(decided.get() + history.decided);
            if history.events.is_empty() {
                return Ok(());
            }
            let shown = lines(&history.events);
            let outcome = catching(|| check(history))
                .unwrap_or_else(|panic| Err(broken(panic, "mend the panic")));
            outcome.map_err(|broken| text(A::NAME, law, &shown, &broken, Some(seed)))
        });
        if let Err(text) = outcome {
            panic!("{text}");
        }
        assert!(
            tested.get() > 0,
            "the law that {law} is not tested: no history of {} was found\n{seed}",
            A::NAME
        );
        assert!(
            world.decisions.is_empty() || decided.get() > 0,
            "the law that {law} is not tested: every decision of {} refused whatever was drawn; give `events = […]` from \
             which they do not, or closures that take what they accept\n{seed}",
            A::NAME
        );
    }

    fn world(self, seed: Seed) -> Result<World<A>, String> {
        let mut events = Events::new(&self.examples, seed)?;
        for (decision, number) in self.decisions.iter().zip(1..) {
            let learned = (decision.learn)(&mut events.learned, &mut seed.rng(number + 1));
            learned.map_err(|refusal| {
                format!(
                    "no arguments of decision {number} of {} could be drawn from their types, which refuse what they are \
                     given ({refusal}); write a closure that takes simpler ones",
                    A::NAME
                )
            })?;
        }
        Ok(World {
            events,
            decisions: self.decisions,
            printer: self.printer,
        })
    }
}

impl<A: Aggregate> Default for Laws<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Aggregate> fmt::Debug for Laws<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Laws")
            .field("aggregate", &A::NAME)
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

/// What is done about panics and the like while a history happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    /// They are what the law is about.
    Count,
    /// Another law is about them: the history ends before.
    Forget,
}

/// A law does not hold: why, and what to do.
struct Broken {
    reason: String,
    advice: String,
}

fn broken(reason: impl Into<String>, advice: impl Into<String>) -> Broken {
    Broken {
        reason: reason.into(),
        advice: advice.into(),
    }
}

fn text(who: &str, law: &str, shown: &str, broken: &Broken, seed: Option<Seed>) -> String {
    let Broken { reason, advice } = broken;
    let shown = match shown {
        "" => String::new(),
        shown => format!("\nthe shortest history found:{shown}"),
    };
    let seed = seed.map(|seed| format!("\n{seed}")).unwrap_or_default();
    format!("{who} breaks the law that {law}: {reason}{shown}\nwhat to do: {advice}{seed}")
}

fn fail<A: Aggregate>(law: &str, events: &[A::Event], broken: &Broken, seed: Option<Seed>) -> ! {
    panic!("{}", text(A::NAME, law, &lines(events), broken, seed))
}
