//! [`Events`]: the events of an aggregate, generated from their types or taken from examples.

use std::collections::BTreeSet;

use eventsourcing_core::{Aggregate, Event};

use super::generator::learned_shapes::LearnedShapes;
use super::generator::{Generator, Mismatch, Numbers, Place};
use super::panics::catching;
use crate::Seed;

/// A source of events of every type of an aggregate.
pub(super) struct Events<A: Aggregate> {
    pub(super) learned: LearnedShapes,
    /// The examples for each of [`Event::TYPES`]. Events of a type without examples are generated.
    examples: Vec<Vec<A::Event>>,
    /// The indices in [`Event::TYPES`] of the events that may be the first of a stream.
    pub(super) creating: Vec<usize>,
}

impl<A: Aggregate> Events<A> {
    /// Learns the shapes of all events.
    ///
    /// # Errors
    /// No value of one of the events can be generated, or none creates the aggregate. The text says what to do.
    pub(super) fn new(examples: &[A::Event], seed: Seed) -> Result<Self, String> {
        let mut events = Self {
            learned: LearnedShapes::default(),
            examples: Vec::new(),
            creating: Vec::new(),
        };
        let mut rng = seed.rng(1);
        for (index, event_type) in A::Event::TYPES.iter().enumerate() {
            let examples = examples
                .iter()
                .filter(|example| example.index() == index)
                .map(Event::duplicate);
            events.examples.push(examples.collect());
            if events.examples[index].is_empty() {
                let learned = events
                    .learned
                    .learn(Place::of(index), &mut rng, make::<A>(index));
                learned
                    .map_err(|refusal| cannot_be_drawn::<A>(index, event_type.name, &refusal))?;
            }
        }
        events.creating = events.find_creating(&mut rng);
        match events.creating.is_empty() {
            false => Ok(events),
            true => Err(format!(
                "no generated event creates a {0}, so that nothing is tested; give one that does: \
                 `laws!({0}, events = […])`",
                A::NAME
            )),
        }
    }

    /// Returns an event of this type. The same choices give the same event.
    pub(super) fn draw(&self, index: usize, choices: &[u64]) -> Option<A::Event> {
        match &*self.examples[index] {
            [] => self
                .learned
                .draw(Place::of(index), choices, Numbers::Small, make::<A>(index)),
            examples => {
                let choice = choices.first().copied().unwrap_or(0);
                Some(examples[(choice % examples.len() as u64) as usize].duplicate())
            }
        }
    }

    /// Returns the types of events that may create the aggregate. Several values of each type are tried, because some may create it
    /// while others do not.
    fn find_creating(&self, rng: &mut fastrand::Rng) -> Vec<usize> {
        let mut creating = BTreeSet::new();
        for index in (0..A::Event::TYPES.len()).flat_map(|index| [index; 16]) {
            let choices: Vec<u64> = (0..24).map(|_| rng.u64(..)).collect();
            let event = self.draw(index, &choices);
            // A fold that panics counts as creating: the law then plays the event again and reports the panic.
            if event.is_some_and(|event| catching(|| A::fold_first(event).is_ok()).unwrap_or(true))
            {
                creating.insert(index);
            }
        }
        creating.into_iter().collect()
    }
}

fn make<A: Aggregate>(
    index: usize,
) -> impl Fn(&Generator<'_>, Place) -> Result<A::Event, Mismatch> {
    move |generator, place| A::Event::deserialize_payload(index, generator.at(place))
}

fn cannot_be_drawn<A: Aggregate>(index: usize, name: &str, refusal: &str) -> String {
    let variant = A::Event::VARIANTS.get(index).copied().unwrap_or(name);
    format!(
        "no {name} could be generated from its type, which refuses every value ({refusal}); give examples: \
         `laws!({}, events = […])` with some `{variant}`",
        A::NAME
    )
}
