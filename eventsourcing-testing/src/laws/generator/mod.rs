//! [`Generator`]: makes values of any type that serde can read. The type deserializes itself, and the generator makes up every
//! value it asks for.
//!
//! The `Deserializer` is in `deserializer.rs`.

pub(super) mod learned_shapes;

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Error as _};

use super::texts;
use learned_shapes::LearnedShapes;

/// The place of a value in a type. All elements of a list have the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl Place {
    /// The place of the type with this number.
    pub(super) fn of(number: usize) -> Self {
        Self(0xcbf2_9ce4_8422_2325).part(number)
    }

    fn part(self, number: usize) -> Self {
        Self((self.0.rotate_left(5) ^ (number as u64 + 1)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// The size of generated numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Numbers so small that no sum of them overflows.
    Small,
    /// Any number of the type.
    Any,
}

/// The reason that a type refuses a value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mismatch(String);

impl serde::de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Generates one value. The same choices give the same value; a missing choice is 0, which gives the plainest value.
pub(super) struct Generator<'a> {
    learned: &'a LearnedShapes,
    choices: &'a [u64],
    used: Cell<usize>,
    numbers: Numbers,
    explores: bool,
    trace: RefCell<Trace>,
}

/// The kinds of values that were chosen, with their places.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) kinds: Vec<(Place, u32)>,
    /// The choice that the type has refused, if it is known.
    pub(super) blame: Option<Option<(Place, u32)>>,
}

impl Trace {
    /// Blames a choice, unless another one has been blamed: a refusal passes from the inside to the outside, so the first is right.
    fn blame(&mut self, culprit: Option<(Place, u32)>) {
        self.blame.get_or_insert(culprit);
    }
}

impl<'a> Generator<'a> {
    pub(super) fn new(learned: &'a LearnedShapes, choices: &'a [u64], numbers: Numbers) -> Self {
        let used = Cell::new(0);
        let trace = RefCell::default();

        Self {
            learned,
            choices,
            used,
            numbers,
            explores: false,
            trace,
        }
    }

    /// A generator that also tries kinds of values that are not known to be accepted.
    pub(super) fn exploring(learned: &'a LearnedShapes, choices: &'a [u64]) -> Self {
        Self {
            explores: true,
            ..Self::new(learned, choices, Numbers::Small)
        }
    }

    pub(super) fn into_trace(self) -> Trace {
        self.trace.into_inner()
    }

    /// Returns the source of a value at `place`.
    pub(super) fn at(&'a self, place: Place) -> ValueSource<'a> {
        ValueSource {
            generator: self,
            place,
            depth: 0,
        }
    }

    pub(super) fn choice(&self) -> u64 {
        let at = self.used.replace(self.used.get() + 1);
        self.choices.get(at).copied().unwrap_or(0)
    }
}

/// The source of one value: a `Deserializer` that makes the value up.
#[derive(Clone, Copy)]
pub(super) struct ValueSource<'a> {
    pub(super) generator: &'a Generator<'a>,
    place: Place,
    pub(super) depth: u8,
}

/// The depth from which lists are empty and options are none, so that recursive types end.
pub(super) const DEPTH_OF_LEAVES: u8 = 8;
const DEPTH_MAX: u8 = 60;

/// The number of kinds, besides texts, that a type may get that does not say what it wants.
pub(super) const OTHER_KINDS: u32 = 6;
pub(super) const TEXT_KINDS: u32 = texts::KINDS.len() as u32;
const _: () = assert!(TEXT_KINDS + OTHER_KINDS <= u64::BITS);

impl<'a> ValueSource<'a> {
    pub(super) fn part(self, number: usize) -> Result<Self, Mismatch> {
        match self.depth {
            DEPTH_MAX => Err(Mismatch::custom("the value is nested too deeply")),
            depth => Ok(Self {
                place: self.place.part(number),
                depth: depth + 1,
                ..self
            }),
        }
    }

    /// Chooses one of `count` kinds, among those that may be accepted here.
    pub(super) fn kind(self, count: u32) -> u32 {
        let count = count.min(u64::BITS);
        let kinds = self
            .generator
            .learned
            .kinds(self.place, count, self.generator.explores);
        let kind = match *kinds {
            [] => 0,
            [only] => only,
            _ => kinds[(self.generator.choice() % kinds.len() as u64) as usize],
        };
        self.generator
            .trace
            .borrow_mut()
            .kinds
            .push((self.place, kind));
        kind
    }

    /// Blames this kind at this place if the value made of it is refused.
    pub(super) fn blaming<T>(self, kind: u32, outcome: Result<T, Mismatch>) -> Result<T, Mismatch> {
        outcome.inspect_err(|_| {
            self.generator
                .trace
                .borrow_mut()
                .blame(Some((self.place, kind)));
        })
    }

    /// Reads a part of a value. If the part is refused as a whole, its last choice is blamed.
    pub(super) fn read_part<'de, T: DeserializeSeed<'de>>(
        self,
        number: usize,
        seed: T,
    ) -> Result<T::Value, Mismatch> {
        let before = self.generator.trace.borrow().kinds.len();
        seed.deserialize(self.part(number)?).inspect_err(|_| {
            let mut trace = self.generator.trace.borrow_mut();
            let last = trace.kinds[before..].last().copied();
            trace.blame(last);
        })
    }

    pub(super) fn text(self, kind: u32) -> String {
        let number = self.generator.choice();
        match self.generator.numbers {
            Numbers::Any if kind == 1 && number % 4 == 3 => texts::large_amount(number / 4),
            _ => texts::KINDS[kind as usize](number),
        }
    }

    /// Returns a number with an amount of at most `max`, negative only if it is `signed`. Most are small.
    pub(super) fn whole(self, max: u128, signed: bool) -> i128 {
        let choice = self.generator.choice();
        let is_negative = choice & 1 == 1;
        let class = choice >> 1 & 7;
        let number = u128::from(choice >> 4);

        let small = (max / 32).min(999) + 1;
        let amount = match (class, self.generator.numbers) {
            (0..=3, _) => number % small.min(10),
            (6, Numbers::Any) => number * 0x0123_4567_89ab_cdef % max,
            (7, Numbers::Any) => max,
            _ => number % small,
        };
        let amount = i128::try_from(amount).unwrap_or(i128::MAX);
        if signed && is_negative {
            -amount
        } else {
            amount
        }
    }

    /// Returns a multiple of a quarter, because sums of such numbers are not rounded.
    pub(super) fn fraction(self) -> f64 {
        let quarters = self.whole(3_999, true);
        quarters as f64 / 4.0
    }

    pub(super) fn list_length(self) -> usize {
        match self.depth >= DEPTH_OF_LEAVES {
            true => 0,
            false => (self.generator.choice() % 4) as usize,
        }
    }
}
