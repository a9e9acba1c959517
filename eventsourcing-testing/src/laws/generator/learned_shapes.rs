//! [`LearnedShapes`]: the kinds of values that a type accepts, learned by trial. Serde reveals no more about a type than its
//! requests: a field that asks for a text and needs an id in it shows that only by refusing other texts.

use std::collections::HashMap;

use super::{Generator, Mismatch, Numbers, Place};

/// The number of refusals after which a kind of value is not tried at a place any more. One is not enough, because another part
/// of the value may be the reason.
const REFUSALS_MAX: u8 = 4;
/// The most attempts to learn one type.
const ATTEMPTS_MAX: u32 = 4_000;
/// The number of accepted values after which a type is learned.
const SUCCESSES: u32 = 100;
/// The most attempts to replace one refused value.
const REDRAWS_MAX: u64 = 50;

/// The learned kinds of each place.
#[derive(Debug, Default)]
pub(in crate::laws) struct LearnedShapes(HashMap<Place, LearnedShape>);

#[derive(Debug, Default)]
struct LearnedShape {
    /// The accepted kinds, one bit for each.
    accepted: u64,
    refusals: HashMap<u32, u8>,
}

impl LearnedShapes {
    /// Learns the values that are accepted at `place`.
    ///
    /// # Errors
    /// No value was accepted: the last refusal.
    pub(in crate::laws) fn learn<T>(
        &mut self,
        place: Place,
        rng: &mut fastrand::Rng,
        make: impl Fn(&Generator<'_>, Place) -> Result<T, Mismatch>,
    ) -> Result<(), String> {
        let mut successes = 0;
        let mut refusal = String::new();

        for _ in 0..ATTEMPTS_MAX {
            let choices: Vec<u64> = (0..24).map(|_| rng.u64(..)).collect();
            let generator = Generator::exploring(self, &choices);
            let made = make(&generator, place);
            let trace = generator.into_trace();
            match made {
                Ok(_) => self.accept(&trace.kinds),
                Err(unfit) => {
                    self.refuse(trace.blame.unwrap_or(trace.kinds.last().copied()));
                    refusal = unfit.to_string();
                    continue;
                }
            }
            successes += 1;
            if successes == SUCCESSES {
                return Ok(());
            }
        }
        if successes == 0 { Err(refusal) } else { Ok(()) }
    }

    /// Returns a value made of `choices`. If its type refuses the value, others are tried that follow from the same choices.
    pub(in crate::laws) fn draw<T>(
        &self,
        place: Place,
        choices: &[u64],
        numbers: Numbers,
        make: impl Fn(&Generator<'_>, Place) -> Result<T, Mismatch>,
    ) -> Option<T> {
        if let Ok(value) = make(&Generator::new(self, choices, numbers), place) {
            return Some(value);
        }
        let seed = choices
            .iter()
            .fold(0, |seed: u64, choice| seed.rotate_left(7) ^ choice);
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..REDRAWS_MAX).find_map(|_| {
            let choices: Vec<u64> = (0..24).map(|_| rng.u64(..)).collect();
            make(&Generator::new(self, &choices, numbers), place).ok()
        })
    }

    /// Returns the kinds to choose from at `place`, among the first `count`: the accepted ones, and if none was accepted or if
    /// `explores` is set, also those that were not refused too often.
    pub(in crate::laws) fn kinds(&self, place: Place, count: u32, explores: bool) -> Vec<u32> {
        let Some(shape) = self.0.get(&place) else {
            return (0..count).collect();
        };
        let is_open = |kind: u32| {
            shape
                .refusals
                .get(&kind)
                .is_none_or(|refusals| *refusals < REFUSALS_MAX)
        };
        let is_accepted = |kind: u32| shape.accepted >> kind & 1 == 1;
        let explores = explores || shape.accepted == 0;
        (0..count)
            .filter(|kind| is_accepted(*kind) || explores && is_open(*kind))
            .collect()
    }

    fn accept(&mut self, trace: &[(Place, u32)]) {
        for (place, kind) in trace {
            self.0.entry(*place).or_default().accepted |= 1 << kind;
        }
    }

    fn refuse(&mut self, culprit: Option<(Place, u32)>) {
        if let Some((place, kind)) = culprit {
            let refusals = self
                .0
                .entry(place)
                .or_default()
                .refusals
                .entry(kind)
                .or_default();
            *refusals = refusals.saturating_add(1);
        }
    }
}
