//! [`Generator`]: draws values of any type that serde can read. A type is asked to read itself; whatever it asks for is made up.
//!
//! How each request is answered stands in `answers.rs`.

pub(super) mod learned_shapes;

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Error as _};

use super::texts;
use learned_shapes::LearnedShapes;

/// Where in a type a value stands: the same for all elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl Place {
    /// Of the type with this number.
    pub(super) fn of(number: usize) -> Self {
        Self(0xcbf2_9ce4_8422_2325).part(number)
    }

    fn part(self, number: usize) -> Self {
        Self((self.0.rotate_left(5) ^ (number as u64 + 1)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// How large numbers may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// So small that no sum of them overflows.
    Small,
    /// Any that the type has.
    Any,
}

/// Why a value does not fit its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mismatch(String);

impl serde::de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Draws one value. The same choices make the same value; a choice that is not there is 0, which makes the plainest.
pub(super) struct Generator<'a> {
    learned: &'a LearnedShapes,
    choices: &'a [u64],
    used: Cell<usize>,
    numbers: Numbers,
    explores: bool,
    trace: RefCell<Trace>,
}

/// The kinds of values that were chosen, and where.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) kinds: Vec<(Place, u32)>,
    /// Which of them the type has refused, if it could be told.
    pub(super) blame: Option<Option<(Place, u32)>>,
}

impl Trace {
    /// The first who is blamed is to blame: refusals are passed on outwards.
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

    /// A generator that tries kinds of values of which nothing is known.
    pub(super) fn exploring(learned: &'a LearnedShapes, choices: &'a [u64]) -> Self {
        Self {
            explores: true,
            ..Self::new(learned, choices, Numbers::Small)
        }
    }

    pub(super) fn into_trace(self) -> Trace {
        self.trace.into_inner()
    }

    /// Something to deserialize a value from.
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

/// A value that is not drawn yet.
#[derive(Clone, Copy)]
pub(super) struct ValueSource<'a> {
    pub(super) generator: &'a Generator<'a>,
    place: Place,
    pub(super) depth: u8,
}

/// From here on lists are empty and options are none, so that recursive types end.
pub(super) const DEPTH_OF_LEAVES: u8 = 8;
const DEPTH_MAX: u8 = 60;

/// What a type may be given that does not say what it wants: a text of any kind, or one of these.
pub(super) const OTHER_KINDS: u32 = 6;
pub(super) const TEXT_KINDS: u32 = texts::KINDS.len() as u32;
const _: () = assert!(TEXT_KINDS + OTHER_KINDS <= u64::BITS);

impl<'a> ValueSource<'a> {
    pub(super) fn part(self, number: usize) -> Result<Self, Mismatch> {
        match self.depth {
            DEPTH_MAX => Err(Mismatch::custom("it is nested too deeply")),
            depth => Ok(Self {
                place: self.place.part(number),
                depth: depth + 1,
                ..self
            }),
        }
    }

    /// One of so many kinds.
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

    /// Blames this kind at this place if what was made of it is refused.
    pub(super) fn blaming<T>(self, kind: u32, outcome: Result<T, Mismatch>) -> Result<T, Mismatch> {
        outcome.inspect_err(|_| {
            self.generator
                .trace
                .borrow_mut()
                .blame(Some((self.place, kind)))
        })
    }

    /// A part of a value. If it is refused after it was read, what was drawn for it last is to blame.
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

    /// A number whose amount is at most `max`, negative only if it may be `signed`. Most are small.
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

    /// Whole and quarter numbers, which add up without rounding.
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
