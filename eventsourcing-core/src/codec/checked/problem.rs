//! [`Refused`]: the problem with a value, and the field that has it.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;

use super::VALUE_DEPTH_MAX;

/// The reason why a value cannot be stored.
#[derive(Debug)]
pub(in crate::codec) enum Problem {
    NotFinite(f64),
    /// `Some` of something that is written as null.
    NullInOption,
    /// A key that is not text, and cannot be read back from text.
    Key,
    /// A key or a field of this name occurs twice.
    Repeated(String),
    Beyond64Bits,
    TooDeep,
    /// A number that `serde_json` keeps as text, for which MessagePack has no type.
    NumberAsText(String),
    /// An error of the type or the codec itself.
    Custom(String),
    /// The written value cannot be read.
    Unreadable(Box<dyn Error + Send + Sync>),
    /// The written value is read as another one.
    Different {
        written: String,
        read: String,
    },
}

/// The form of a number that `serde_json` keeps as text. It does so if any crate of the program
/// turns on its feature `arbitrary_precision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum NumbersAsText {
    /// Text: the codec is JSON, in which every number is text.
    AsTheyAre,
    /// The number itself, so that the feature does not change the stored bytes.
    #[cfg_attr(
        not(feature = "message-pack"),
        expect(dead_code, reason = "JSON is the only codec")
    )]
    AsNumbers,
}

/// A part of the path to a value.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Field(&'static str),
    Key(String),
    Index(usize),
}

/// A value was refused: its part, and the problem.
#[derive(Debug)]
pub(in crate::codec) struct Refused {
    /// The path of the field; empty for the value itself.
    field: String,
    problem: Problem,
}

/// The findings about a value, collected while it is written.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    problem: RefCell<Option<Problem>>,
    /// The segments of the path, the innermost first.
    path: RefCell<Vec<Segment>>,
    is_doubtful: Cell<bool>,
    /// `true` if the codec writes numbers that are kept as text as they are.
    writes_numbers_as_text: bool,
}

impl Inspection {
    pub(super) fn new(numbers: NumbersAsText) -> Self {
        Self {
            writes_numbers_as_text: numbers == NumbersAsText::AsTheyAre,
            ..Self::default()
        }
    }

    pub(super) fn writes_numbers_as_text(&self) -> bool {
        self.writes_numbers_as_text
    }

    pub(super) fn note(&self, problem: Problem) {
        self.problem.borrow_mut().get_or_insert(problem);
    }

    pub(super) fn doubt(&self) {
        self.is_doubtful.set(true);
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful.get()
    }

    /// Adds `segment` to the path of an error that leaves a part.
    #[cold]
    pub(super) fn within<E>(&self, segment: Segment, error: E) -> E {
        self.path.borrow_mut().push(segment);
        error
    }

    pub(super) fn into_refused(self, error: &impl fmt::Display) -> Refused {
        let problem = self
            .problem
            .into_inner()
            .unwrap_or_else(|| Problem::Custom(error.to_string()));
        Refused {
            field: shown(self.path.into_inner().iter().rev()),
            problem,
        }
    }
}

fn shown<'a>(path: impl Iterator<Item = &'a Segment>) -> String {
    let mut text = String::new();
    for segment in path {
        let dot = if text.is_empty() { "" } else { "." };
        match segment {
            Segment::Field(name) => text.extend([dot, name]),
            Segment::Key(key) => text.extend([dot, key]),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

impl Refused {
    pub(in crate::codec) fn new(problem: Problem) -> Self {
        Self {
            field: String::new(),
            problem,
        }
    }

    /// Returns the refusal of the value at this path within another one.
    pub(in crate::codec) fn at(field: String, problem: Problem) -> Self {
        Self { field, problem }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "field `{}`: ", self.field)?;
        }
        self.problem.fmt(f)
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(source) => source.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite(number) => {
                write!(f, "{number} is not a finite number and would be read as null; store an `Option` or a variant")
            }
            Self::NullInOption => f.write_str(
                "`Some` of a value that is written as null comes back as `None`; store an enum, or skip the field if it \
                 is `None`",
            ),
            Self::Key => f.write_str(
                "a key of a map is text, a number, a bool or a variant without fields; store a list of pairs instead",
            ),
            Self::Repeated(key) => {
                write!(f, "`{key}` is written twice in one map, as a field, a key or a tag; rename one of them")
            }
            Self::Beyond64Bits => f.write_str("the number does not fit into 64 bits; store it as text"),
            Self::TooDeep => {
                write!(f, "the value is nested deeper than {VALUE_DEPTH_MAX} levels; store it as a list of its parts")
            }
            Self::NumberAsText(number) => {
                write!(f, "the number {number} has no exact form in MessagePack; store it as text")
            }
            Self::Custom(text) => f.write_str(text),
            Self::Unreadable(source) => write!(
                f,
                "it can be written and not be read back ({source}); let the type's `Serialize` and `Deserialize` fit \
                 together, or store the value as another type"
            ),
            Self::Different { written, read } => write!(
                f,
                "{written} is written, and read back as {read}; let the type's `Serialize` and `Deserialize` fit \
                 together, or store the value as another type"
            ),
        }
    }
}
