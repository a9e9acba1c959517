//! Generates samples from a schema: always the same ones, with every field, and with every variant
//! of every enum in it.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use crate::lock::ANYTHING;
use crate::shape::{Definitions, is_required};

/// Returns payloads that match the schema of one. Each variant of each enum occurs in one of them,
/// and one more lacks all optional fields.
pub(crate) fn samples(schema: &Value) -> Vec<Value> {
    let definitions = Definitions::of(schema);
    let full = Sampler {
        definitions,
        only_required: false,
        within: Vec::new(),
    }
    .samples(schema);
    let bare = Sampler {
        definitions,
        only_required: true,
        within: Vec::new(),
    }
    .samples(schema);
    let mut samples: Vec<Value> = Vec::new();
    for sample in full.into_iter().chain(bare.into_iter().take(1)) {
        if !samples.contains(&sample) {
            samples.push(sample);
        }
    }
    samples
}

struct Sampler<'a> {
    definitions: Definitions<'a>,
    only_required: bool,
    /// The references that are being followed. Types may contain themselves, so a reference that is
    /// met again is not followed.
    within: Vec<String>,
}

impl Sampler<'_> {
    /// Returns samples of the schema; none for a reference that is being followed already, because
    /// there would be no end.
    fn samples(&mut self, schema: &Value) -> Vec<Value> {
        let Value::Object(schema) = schema else {
            return vec![json!(ANYTHING)];
        };
        if let Some((name, referred)) = self.definitions.referred(schema) {
            return self.referred(name, referred);
        }
        if let Some(examples) = schema
            .get("examples")
            .and_then(Value::as_array)
            .filter(|some| !some.is_empty())
        {
            return examples.clone();
        }
        if schema.contains_key("oneOf")
            || schema.contains_key("anyOf")
            || schema.contains_key("allOf")
        {
            return self.choices(schema);
        }
        if let Some(value) = schema.get("const") {
            return vec![value.clone()];
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return values.clone();
        }
        self.of_type(schema)
    }

    fn referred(&mut self, name: &str, referred: &Value) -> Vec<Value> {
        if self.within.iter().any(|earlier| earlier == name) {
            return Vec::new();
        }
        self.within.push(name.into());
        let samples = self.samples(referred);
        self.within.pop();
        samples
    }

    /// Returns a sample for each kind of value; `null` only if no other value is allowed.
    fn choices(&mut self, schema: &Map<String, Value>) -> Vec<Value> {
        let own = schema
            .get("oneOf")
            .or_else(|| schema.get("anyOf"))
            .and_then(Value::as_array);
        let samples = match own {
            // Fields beside a choice are a flattened enum.
            Some(_) if schema.contains_key("properties") => self.alternatives(schema),
            Some(choices) => choices
                .iter()
                .flat_map(|choice| self.samples(choice))
                .collect(),
            None => self.alternatives(schema),
        };
        match samples.iter().any(|sample| !sample.is_null()) {
            true => samples
                .into_iter()
                .filter(|sample| !sample.is_null())
                .collect(),
            false => samples,
        }
    }

    fn alternatives(&mut self, schema: &Map<String, Value>) -> Vec<Value> {
        let alternatives = self
            .definitions
            .alternatives(&Value::Object(schema.clone()))
            .schemas;
        alternatives
            .iter()
            .flat_map(|schema| self.samples(&Value::Object(schema.clone())))
            .collect()
    }

    fn of_type(&mut self, schema: &Map<String, Value>) -> Vec<Value> {
        let types = schema.get("type");
        let first = types
            .and_then(Value::as_array)
            .and_then(|types| types.iter().find(|ty| **ty != json!("null")));
        match first.or(types).and_then(Value::as_str) {
            Some("null") => vec![Value::Null],
            Some("boolean") => vec![json!(true)],
            Some("integer") => vec![whole_number(schema)],
            Some("number") => vec![json!(1.5)],
            Some("string") => vec![text(schema)],
            Some("array") => self.lists(schema),
            Some("object") => self.objects(schema),
            _ if schema.contains_key("properties") => self.objects(schema),
            _ => vec![json!(ANYTHING)],
        }
    }

    fn lists(&mut self, schema: &Map<String, Value>) -> Vec<Value> {
        let first = schema.get("prefixItems").and_then(Value::as_array);
        if let Some(items) = first {
            let items: Vec<_> = items.iter().map(|item| self.samples(item)).collect();
            return together(&items).into_iter().map(Value::Array).collect();
        }
        let fewest = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
        let items = schema
            .get("items")
            .map_or_else(Vec::new, |items| self.samples(items));
        match (items.is_empty() || self.only_required, fewest) {
            (true, 0) => vec![json!([])],
            (_, fewest) => items
                .into_iter()
                .map(|item| Value::Array(vec![item; fewest.max(1)]))
                .collect(),
        }
    }

    fn objects(&mut self, schema: &Map<String, Value>) -> Vec<Value> {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, field) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let is_required = is_required(schema, name);
            if self.only_required && !is_required {
                continue;
            }
            let samples = self.samples(field);
            match samples.is_empty() {
                true if is_required => return Vec::new(),
                true => {}
                false => {
                    names.push(name.clone());
                    values.push(samples);
                }
            }
        }
        self.add_entry(schema, &mut names, &mut values);
        let objects = together(&values)
            .into_iter()
            .map(|values| names.iter().cloned().zip(values).collect());
        objects.map(Value::Object).collect()
    }

    /// Adds one entry of a map.
    fn add_entry(
        &mut self,
        schema: &Map<String, Value>,
        names: &mut Vec<String>,
        values: &mut Vec<Vec<Value>>,
    ) {
        let by_pattern = schema
            .get("patternProperties")
            .and_then(Value::as_object)
            .and_then(|by| by.iter().next());
        let by_name = schema
            .get("additionalProperties")
            .filter(|values| values.is_object());
        let entry = match (by_pattern, by_name) {
            (Some((pattern, values)), _) => (matching(pattern), values),
            (None, Some(values)) => (Some("key".into()), values),
            (None, None) => return,
        };
        if let (Some(name), values_schema) = entry
            && !self.only_required
        {
            let samples = self.samples(values_schema);
            if !samples.is_empty() {
                names.push(name);
                values.push(samples);
            }
        }
    }
}

/// Combines columns into rows, so that each sample of each column occurs in one row.
fn together(columns: &[Vec<Value>]) -> Vec<Vec<Value>> {
    if columns.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let rows = columns.iter().map(Vec::len).max().unwrap_or(1);
    (0..rows)
        .map(|row| {
            columns
                .iter()
                .map(|column| column[row % column.len()].clone())
                .collect()
        })
        .collect()
}

fn whole_number(schema: &Map<String, Value>) -> Value {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_i64);
    let least = bound("minimum").map_or(1, |least| least.max(1));
    json!(bound("maximum").map_or(least, |most| least.min(most)))
}

fn text(schema: &Map<String, Value>) -> Value {
    let by_format = match schema.get("format").and_then(Value::as_str) {
        Some("uuid") => Some("01890a5d-ac96-774b-bcce-b302099a8057"),
        Some("date-time") => Some("2024-02-29T12:34:56Z"),
        Some("partial-date-time") => Some("2024-02-29T12:34:56"),
        Some("date") => Some("2024-02-29"),
        Some("time" | "partial-time") => Some("12:34:56"),
        Some("duration") => Some("PT1H30M"),
        Some("ipv4" | "ip") => Some("192.0.2.1"),
        Some("ipv6") => Some("2001:db8::1"),
        Some("uri" | "url") => Some("https://example.com/"),
        Some("email") => Some("alice@example.com"),
        _ => None,
    };
    let by_pattern = || {
        schema
            .get("pattern")
            .and_then(Value::as_str)
            .and_then(matching)
    };
    let sample = by_format
        .map(ToOwned::to_owned)
        .or_else(by_pattern)
        .unwrap_or_else(|| "text".into());
    let length = |keyword: &str| {
        schema
            .get(keyword)
            .and_then(Value::as_u64)
            .map(|length| length as usize)
    };
    let longest = length("maxLength").unwrap_or(usize::MAX);
    let filled = sample
        .chars()
        .chain(std::iter::repeat_n('x', length("minLength").unwrap_or(0)));
    json!(
        filled
            .take(longest.min(sample.chars().count().max(length("minLength").unwrap_or(0))))
            .collect::<String>()
    )
}

/// Returns a short text that matches the pattern, or `None` if the pattern cannot be parsed.
fn matching(pattern: &str) -> Option<String> {
    let mut text = String::new();
    push_match(&regex_syntax::parse(pattern).ok()?, &mut text);
    Some(text)
}

fn push_match(pattern: &Hir, text: &mut String) {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.extend(member(class)),
        HirKind::Repetition(repetition) => {
            let times = if repetition.max.is_none() {
                repetition.min.max(1)
            } else {
                repetition.min
            };
            (0..times).for_each(|_| push_match(&repetition.sub, text));
        }
        HirKind::Capture(group) => push_match(&group.sub, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| push_match(part, text)),
        HirKind::Alternation(choices) => choices
            .iter()
            .take(1)
            .for_each(|choice| push_match(choice, text)),
    }
}

/// Returns a character of the class, a readable one if there is one.
fn member(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .map(|range| (range.start(), range.end()))
            .collect(),
        Class::Bytes(class) => class
            .ranges()
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
    };
    let plain = ['1', 'a', 'A', '-', ' '].into_iter();
    let mut plain = plain.filter(|plain| {
        ranges
            .iter()
            .any(|(first, last)| first <= plain && plain <= last)
    });
    plain
        .next()
        .or_else(|| ranges.first().map(|(first, _)| *first))
}
