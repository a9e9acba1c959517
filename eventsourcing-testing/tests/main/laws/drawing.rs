//! Values that can be generated from types, and values that cannot.

use super::*;

/// A text that no generator can guess.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Password(String);

impl TryFrom<String> for Password {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "xyzzy" {
            Ok(Self(text))
        } else {
            Err("not the password")
        }
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0
    }
}

mod undrawable {
    use super::*;

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Cave {
        entries: u32,
    }

    #[event]
    impl Cave {
        fn found() -> Self {
            Self { entries: 0 }
        }
        fn entered(&mut self, _password: Password) {
            self.entries += 1;
        }
    }

    laws!(
        Cave,
        events = [CaveEvent::Entered {
            password: Password("xyzzy".into())
        }]
    );
}

#[test]
fn examples_are_asked_for_if_no_value_can_be_generated() {
    let message = broken(|| Laws::<undrawable::Cave>::new().folding_never_panics());
    assert_says(
        &message,
        &[
            "is not tested: no Entered could be generated from its type",
            "(not the password)",
            "`laws!(Cave, events = […])` with some `Entered`",
        ],
    );
}

/// All that may be in an event and in a state.
mod everything {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Shape {
        Point,
        Circle(f64),
        Line(i8, i128),
        Group { name: String, shapes: Vec<Shape> },
        Boxed(Box<Shape>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Detail {
        #[serde(rename = "theId", alias = "identity")]
        id: Id<Everything>,
        #[serde(default)]
        when: Option<Timestamp>,
        date: Option<jiff::civil::Date>,
        unit: (),
        letter: char,
        pair: (u8, bool),
        address: std::net::IpAddr,
        price: std::num::NonZeroU64,
        lasting: std::time::Duration,
        any: Value,
    }

    #[derive(Aggregate, Debug, Serialize, Deserialize)]
    pub(super) struct Everything {
        shapes: Vec<Shape>,
        words: HashSet<String>,
        counts: HashMap<String, u32>,
        details: BTreeMap<String, Detail>,
        sum: f64,
    }

    #[event]
    impl Everything {
        fn begun(words: HashSet<String>, counts: HashMap<String, u32>) -> Self {
            let shapes = Vec::new();
            let details = BTreeMap::new();

            Self {
                shapes,
                words,
                counts,
                details,
                sum: 0.0,
            }
        }
        fn drawn(&mut self, shape: Shape) {
            self.shapes.push(shape);
        }
        fn described(&mut self, detail: Detail) {
            self.sum += detail.price.get() as f64;
            self.details.insert(detail.letter.to_string(), detail);
        }
        fn said(&mut self, word: String) {
            *self.counts.entry(word.clone()).or_default() += 1;
            self.words.insert(word);
        }
        fn cleared(&mut self) {
            self.shapes.clear();
        }
    }

    laws!(Everything);
}
