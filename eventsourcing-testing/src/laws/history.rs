//! [`History`]: a random sequence of events of an aggregate that its fold accepts, made from the steps of a search.

use eventsourcing_core::private::testing::encode_unread;
use eventsourcing_core::{Aggregate, Event};

use super::decide::ErasedDecision;
use super::events::Events;
use super::panics::catching;
use super::search::Step;
use super::view::{Printer, View};

/// The events of an aggregate, and the fault that ended them.
pub(super) struct History<A: Aggregate> {
    pub(super) events: Vec<A::Event>,
    /// The fault at the last of the events.
    pub(super) fault: Option<Fault>,
    /// The number of events that decisions recorded.
    pub(super) decided: usize,
}

impl<A: Aggregate> History<A> {
    /// Ends the history before its fault.
    pub(super) fn forget_fault(&mut self) {
        if self.fault.take().is_some() {
            self.events.pop();
        }
    }
}

/// A forbidden act of a fold or a decision, such as a panic.
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) advice: String,
}

/// The sources of a history: events and decisions.
pub(super) struct World<A: Aggregate> {
    pub(super) events: Events<A>,
    /// The decisions. Without any, every event that does not create the aggregate may come next.
    pub(super) decisions: Vec<ErasedDecision<A>>,
    pub(super) printer: Option<Printer<A>>,
}

impl<A: Aggregate> World<A> {
    pub(super) fn play(&self, steps: &[Step]) -> History<A> {
        let mut history = History {
            events: Vec::new(),
            fault: None,
            decided: 0,
        };
        let mut state = None;

        for step in steps {
            let done = match &mut state {
                None => self
                    .create(step, &mut history)
                    .map(|created| state = created),
                Some(state) => self.go_on(state, step, &mut history),
            };
            if let Err(fault) = done {
                history.fault = Some(fault);
                break;
            }
        }
        history
    }

    fn create(&self, step: &Step, history: &mut History<A>) -> Result<Option<A>, Fault> {
        // Every creating event is tried as the first one.
        let index = match step.kind % 4 {
            0 => usize::from(step.kind / 4) % A::Event::TYPES.len(),
            _ => self.creating(step),
        };
        let Some(event) = self.events.draw(index, &step.choices) else {
            return Ok(None);
        };
        history.events.push(event.duplicate());
        match catching(|| A::fold_first(event)) {
            Ok(Ok(state)) => return Ok(Some(state)),
            Ok(Err(_)) => history.events.pop(),
            Err(panic) => return Err(self.panic(panic)),
        };
        Ok(None)
    }

    fn go_on(&self, state: &mut A, step: &Step, history: &mut History<A>) -> Result<(), Fault> {
        let kind = usize::from(step.kind);
        if self.decisions.is_empty() {
            return self.happen(state, kind % A::Event::TYPES.len(), step, history);
        }
        match self.decisions.get(kind % (self.decisions.len() + 1)) {
            Some(decision) => self.decide(decision, state, step, history),
            None => self.create_again(step, history),
        }
    }

    fn happen(
        &self,
        state: &mut A,
        index: usize,
        step: &Step,
        history: &mut History<A>,
    ) -> Result<(), Fault> {
        let Some(event) = self.events.draw(index, &step.choices) else {
            return Ok(());
        };
        let before = self
            .events
            .creating
            .contains(&index)
            .then(|| View::of(state, self.printer));
        history.events.push(event.duplicate());
        match catching(|| state.fold_next(event)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                self.is_as_before(before, state)?;
                history.events.pop();
                Ok(())
            }
            Err(panic) => Err(self.panic(panic)),
        }
    }

    fn decide(
        &self,
        decision: &ErasedDecision<A>,
        state: &mut A,
        step: &Step,
        history: &mut History<A>,
    ) -> Result<(), Fault> {
        let decided = catching(|| (decision.ask)(&self.events.learned, state, &step.choices));
        let events = decided.map_err(|panic| Fault {
            reason: format!("a decision was called, and {panic}"),
            advice: "let the decision reject with an error instead".into(),
        })?;
        for event in events.into_iter().flatten() {
            history.events.push(event.duplicate());
            history.decided += 1;
            let name = event.event_type().name;
            match catching(|| state.fold_next(event)) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    return Err(Fault {
                        reason: format!(
                            "a decision of a {} that exists decided on {name}, which creates one",
                            A::NAME
                        ),
                        advice: "let the decision return events that an existing aggregate accepts"
                            .into(),
                    });
                }
                Err(panic) => return Err(self.panic(panic)),
            }
        }
        Ok(())
    }

    /// Folds a creating event into an existing aggregate, which must not accept it. A copy is used, because no decision recorded
    /// the event.
    fn create_again(&self, step: &Step, history: &mut History<A>) -> Result<(), Fault> {
        let events = history.events.iter().map(Event::duplicate).collect();
        let mut copy = History {
            events,
            fault: None,
            decided: 0,
        };
        let Ok(Some(mut state)) = catching(|| fold::<A>(&copy.events)) else {
            return Ok(());
        };
        let outcome = self.happen(&mut state, self.creating(step), step, &mut copy);
        if outcome.is_err() {
            history.events = copy.events;
        }
        outcome
    }

    fn creating(&self, step: &Step) -> usize {
        let creating = &self.events.creating;
        creating[usize::from(step.kind / 4) % creating.len()]
    }

    fn is_as_before(&self, before: Option<Result<View, String>>, state: &A) -> Result<(), Fault> {
        let (Some(Ok(before)), Ok(after)) = (before, View::of(state, self.printer)) else {
            return Ok(());
        };
        match before.is_same(&after) {
            true => Ok(()),
            false => Err(Fault {
                reason: format!(
                    "the last of them is unexpected, but has changed the state from {} to {}",
                    before.shown(&after),
                    after.shown(&before)
                ),
                advice: "return `UnexpectedEvent` before anything is changed".into(),
            }),
        }
    }

    fn panic(&self, panic: String) -> Fault {
        let advice = match self.decisions.is_empty() {
            true => format!(
                "fold it without panicking, for example with `saturating_sub`; if no decision ever leads there, name the \
                decisions, and only their events happen: `laws!({0}, decide = [{0}::…])`",
                A::NAME
            ),
            false => {
                "let a decision reject what the fold cannot accept, or fold it without panicking"
                    .into()
            }
        };
        Fault {
            reason: format!("the last of them was folded, and {panic}"),
            advice,
        }
    }
}

/// Returns the state after the events.
fn fold<A: Aggregate>(events: &[A::Event]) -> Option<A> {
    let (first, rest) = events.split_first()?;
    let mut state = A::fold_first(first.duplicate()).ok()?;
    rest.iter()
        .try_for_each(|event| state.fold_next(event.duplicate()))
        .ok()?;
    Some(state)
}

/// Returns one line for each event.
pub(super) fn lines<E: Event>(events: &[E]) -> String {
    let line = |(index, event): (usize, &E)| {
        let payload = catching(|| encode_unread(event).map_err(|error| error.to_string()))
            .and_then(|encoded| encoded);
        let payload = payload.map_or_else(
            |why| why,
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        );
        format!("\n  {} {} {payload}", index + 1, event.event_type().name)
    };
    events.iter().enumerate().map(line).collect()
}
