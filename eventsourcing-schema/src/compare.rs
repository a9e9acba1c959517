//! Compares a locked schema with the one of this release. Each place where a locked value could not
//! be read is a difference.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::shape::{Definitions, is_required, label, words};

/// Keywords that are compared one by one; all others must be equal.
const COMPARED: &[&str] = &[
    "type",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "default",
];

/// A stored value that is not read, or not with its old meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// The path of the value that differs.
    pub(crate) path: Path,
    pub(crate) change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    FieldRemoved {
        field: String,
    },
    FieldAdded {
        field: String,
    },
    MadeRequired {
        field: String,
    },
    /// A variant is missing. `added` are variants that the lock does not contain.
    VariantRemoved {
        variant: String,
        added: Vec<String>,
    },
    /// The value could be null.
    NullRefused,
    Retyped {
        was: String,
        now: String,
    },
}

/// The path from a payload to a value in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Field(String),
    /// Each item of a list.
    Items,
    Item(usize),
    /// Each value of a map.
    Values,
}

/// Returns the differences between the locked schema and the present one.
pub(crate) fn differences(locked: &Value, now: &Value) -> Vec<Difference> {
    let mut comparison = Comparison {
        locked: Definitions::of(locked),
        now: Definitions::of(now),
        within: Vec::new(),
        found: Vec::new(),
    };
    comparison.compare(locked, now, &Path::default());
    comparison.found
}

struct Comparison<'a> {
    locked: Definitions<'a>,
    now: Definitions<'a>,
    /// The pairs that are being compared further up. Types may contain themselves, so a pair that
    /// is met again must not be entered.
    within: Vec<(Value, Value)>,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn compare(&mut self, locked: &Value, now: &Value, path: &Path) {
        let pair = (locked.clone(), now.clone());
        if self.within.contains(&pair) {
            return;
        }
        self.within.push(pair);
        let locked = self.locked.alternatives(locked);
        let now = self.now.alternatives(now);

        let is_choice = locked.is_choice || now.is_choice;
        match (&*locked.schemas, &*now.schemas) {
            ([locked], [now])
                if !is_choice || label(locked).is_none() || label(locked) == label(now) =>
            {
                self.compare_one(locked, now, path);
            }
            (all, now) => all
                .iter()
                .for_each(|locked| self.find(locked, all, now, path)),
        }
        self.within.pop();
    }

    /// Looks for an alternative that reads the locked one, and adds the differences if there is
    /// none.
    fn find(
        &mut self,
        locked: &Map<String, Value>,
        all: &[Map<String, Value>],
        now: &[Map<String, Value>],
        path: &Path,
    ) {
        let name = label(locked);
        let same = now.iter().find(|now| name.is_some() && label(now) == name);
        let candidates: Vec<_> = match same {
            Some(same) => vec![same],
            None => now.iter().filter(|now| label(now).is_none()).collect(),
        };
        // A variant of the same name is the only candidate: another one that happens to fit would
        // be a different variant with the same fields. Its differences are more helpful than "was
        // removed".
        let tried = candidates
            .iter()
            .map(|now| self.tried(locked, now, path))
            .collect::<Vec<_>>();
        match (&*tried, name) {
            (tried, _) if tried.iter().any(Vec::is_empty) => {}
            ([only], None) => self.found.extend(only.iter().cloned()),
            ([only], Some(_)) if same.is_some() => self.found.extend(only.iter().cloned()),
            (_, Some(name)) if name == "null" => self.add(path, Change::NullRefused),
            (_, Some(variant)) => {
                let was: Vec<_> = all.iter().filter_map(label).collect();
                let added = now
                    .iter()
                    .filter_map(label)
                    .filter(|label| !was.contains(label))
                    .collect();
                self.add(path, Change::VariantRemoved { variant, added });
            }
            (_, None) => {
                let now: Vec<_> = now.iter().map(words).collect();
                self.add(
                    path,
                    Change::Retyped {
                        was: words(locked),
                        now: now.join(" or "),
                    },
                );
            }
        }
    }

    fn tried(
        &mut self,
        locked: &Map<String, Value>,
        now: &Map<String, Value>,
        path: &Path,
    ) -> Vec<Difference> {
        let before = self.found.len();
        self.compare_one(locked, now, path);
        self.found.split_off(before)
    }

    fn compare_one(&mut self, locked: &Map<String, Value>, now: &Map<String, Value>, path: &Path) {
        if !now.keys().any(|keyword| keyword != "default") {
            return; // Anything is read.
        }
        let fits = match (locked.get("const"), now.get("const")) {
            (Some(locked), Some(now)) => locked == now,
            (Some(locked), None) => type_of(locked) == now.get("type").and_then(Value::as_str),
            (None, Some(_)) => false,
            (None, None) => has_type(locked) == has_type(now) && detail_fits(locked, now),
        };
        if !fits {
            return self.add(
                path,
                Change::Retyped {
                    was: words(locked),
                    now: words(now),
                },
            );
        }
        match has_type(locked) {
            Some("object") => self.compare_objects(locked, now, path),
            Some("array") => self.compare_lists(locked, now, path),
            _ => {}
        }
    }

    fn compare_objects(
        &mut self,
        locked: &Map<String, Value>,
        now: &Map<String, Value>,
        path: &Path,
    ) {
        let was = fields(locked);
        let fields = fields(now);

        for (field, schema) in &was {
            match fields
                .iter()
                .find(|(name, _)| name == field)
                .map(|(_, now)| *now)
                .or_else(|| values(now))
            {
                Some(now_schema) => {
                    let made_required = !is_required(locked, field) && is_required(now, field);
                    self.compare_field(
                        schema,
                        now_schema,
                        &path.then(Step::Field((*field).clone())),
                        made_required,
                    );
                    if made_required {
                        self.add(
                            path,
                            Change::MadeRequired {
                                field: (*field).clone(),
                            },
                        );
                    }
                }
                None => self.add(
                    path,
                    Change::FieldRemoved {
                        field: (*field).clone(),
                    },
                ),
            }
        }
        for (field, _) in fields {
            if is_required(now, field) && !was.iter().any(|(name, _)| *name == field) {
                self.add(
                    path,
                    Change::FieldAdded {
                        field: field.clone(),
                    },
                );
            }
        }
        match (values(locked), values(now)) {
            (Some(locked), Some(now)) => self.compare(locked, now, &path.then(Step::Values)),
            (Some(_), None) => {
                self.add(
                    path,
                    Change::Retyped {
                        was: "a map".into(),
                        now: "an object with fixed fields".into(),
                    },
                );
            }
            (None, _) => {}
        }
    }

    /// Compares a field. If the field is made required, that null is refused is not reported as
    /// well.
    fn compare_field(&mut self, locked: &Value, now: &Value, path: &Path, made_required: bool) {
        let before = self.found.len();
        self.compare(locked, now, path);
        if made_required {
            let mut found = self.found.split_off(before);
            found.retain(|difference| {
                difference.change != Change::NullRefused || difference.path != *path
            });
            self.found.extend(found);
        }
    }

    fn compare_lists(
        &mut self,
        locked: &Map<String, Value>,
        now: &Map<String, Value>,
        path: &Path,
    ) {
        let was = list(locked, "prefixItems");
        let first = list(now, "prefixItems");

        let fewest = |schema: &Map<String, Value>| number(schema, "minItems").unwrap_or(0);
        let most = |schema: &Map<String, Value>| number(schema, "maxItems").unwrap_or(i128::MAX);

        if was.len() != first.len() || fewest(now) > fewest(locked) || most(now) < most(locked) {
            return self.add(
                path,
                Change::Retyped {
                    was: length(locked),
                    now: length(now),
                },
            );
        }
        for (index, (locked, now)) in was.iter().zip(first).enumerate() {
            self.compare(locked, now, &path.then(Step::Item(index)));
        }
        if let (Some(locked), Some(now)) = (locked.get("items"), now.get("items")) {
            self.compare(locked, now, &path.then(Step::Items));
        }
    }

    fn add(&mut self, path: &Path, change: Change) {
        let difference = Difference {
            path: path.clone(),
            change,
        };
        if !self.found.contains(&difference) {
            self.found.push(difference);
        }
    }
}

/// Returns `true` if everything but fields and items is equal, or a number whose range has only
/// grown.
fn detail_fits(locked: &Map<String, Value>, now: &Map<String, Value>) -> bool {
    let mut compared = COMPARED.to_vec();
    match has_type(locked) {
        Some("integer") => {
            compared.extend(["format", "minimum", "maximum"]);
            let (least, most) = range(locked);
            let (least_now, most_now) = range(now);

            if least_now > least || most_now < most {
                return false;
            }
        }
        Some("number")
            if locked.get("format") == Some(&json!("float"))
                && now.get("format") == Some(&json!("double")) =>
        {
            compared.push("format");
        }
        _ => {}
    }
    let keywords = locked
        .keys()
        .chain(now.keys())
        .filter(|keyword| !compared.contains(&keyword.as_str()));
    keywords
        .into_iter()
        .all(|keyword| locked.get(keyword) == now.get(keyword))
}

/// Returns the range of whole numbers that the schema allows.
fn range(schema: &Map<String, Value>) -> (i128, i128) {
    let of_format = match schema.get("format").and_then(Value::as_str) {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint") => (0, u64::MAX.into()),
        Some("uint128") => (0, i128::MAX),
        _ => (i128::MIN, i128::MAX),
    };
    let least = number(schema, "minimum").map_or(of_format.0, |least| least.max(of_format.0));
    let most = number(schema, "maximum").map_or(of_format.1, |most| most.min(of_format.1));
    (least, most)
}

fn number(schema: &Map<String, Value>, keyword: &str) -> Option<i128> {
    let number = schema.get(keyword)?;
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

fn length(schema: &Map<String, Value>) -> String {
    match (
        list(schema, "prefixItems").len(),
        number(schema, "minItems"),
        number(schema, "maxItems"),
    ) {
        (0, Some(least), Some(most)) if least == most => format!("a list of {most}"),
        (0, _, _) => "a list".into(),
        (items, ..) => format!("a list of {items}"),
    }
}

fn has_type(schema: &Map<String, Value>) -> Option<&str> {
    schema
        .get("type")
        .and_then(Value::as_str)
        .or_else(|| schema.contains_key("properties").then_some("object"))
}

fn type_of(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) if number.is_f64() => Some("number"),
        Value::Number(_) => Some("integer"),
        _ => None,
    }
}

fn fields(schema: &Map<String, Value>) -> Vec<(&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .collect()
}

/// Returns the schema of the values of a map.
fn values(schema: &Map<String, Value>) -> Option<&Value> {
    let by_pattern = schema
        .get("patternProperties")
        .and_then(Value::as_object)
        .and_then(|by| by.values().next());
    schema
        .get("additionalProperties")
        .filter(|values| **values != json!(false))
        .or(by_pattern)
}

fn list<'a>(schema: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    schema
        .get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

impl Path {
    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Returns the path of a field of the value at this path.
    pub(crate) fn field(&self, field: &str) -> Self {
        self.then(Step::Field(field.into()))
    }

    /// Returns the values in `payload` that the path leads to.
    pub(crate) fn values<'a>(&self, payload: &'a Value) -> Vec<&'a Value> {
        let mut values = vec![payload];
        for step in &self.0 {
            values = values
                .into_iter()
                .flat_map(|value| step.values(value))
                .collect();
        }
        values
    }

    /// Removes the field from all values at this path. Returns `true` if there was one.
    pub(crate) fn remove(&self, field: &str, payload: &mut Value) -> bool {
        let mut values = vec![payload];
        for step in &self.0 {
            values = values
                .into_iter()
                .flat_map(|value| step.values_mut(value))
                .collect();
        }
        let objects = values.into_iter().filter_map(Value::as_object_mut);
        objects.filter_map(|object| object.remove(field)).count() > 0
    }
}

impl Step {
    fn values<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(field), Value::Object(fields)) => fields.get(field).into_iter().collect(),
            (Self::Items, Value::Array(items)) => items.iter().collect(),
            (Self::Item(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
            (Self::Values, Value::Object(values)) => values.values().collect(),
            _ => Vec::new(),
        }
    }

    fn values_mut<'a>(&self, value: &'a mut Value) -> Vec<&'a mut Value> {
        match (self, value) {
            (Self::Field(field), Value::Object(fields)) => {
                fields.get_mut(field).into_iter().collect()
            }
            (Self::Items, Value::Array(items)) => items.iter_mut().collect(),
            (Self::Item(index), Value::Array(items)) => items.get_mut(*index).into_iter().collect(),
            (Self::Values, Value::Object(values)) => values.values_mut().collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Field(field) => write!(f, ".{field}")?,
                Step::Items => f.write_str("[]")?,
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Values => f.write_str(".*")?,
            }
        }
        Ok(())
    }
}
