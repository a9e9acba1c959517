//! JSON Schema in a form that can be compared: the alternatives that are allowed in a place.

use serde_json::{Map, Value, json};

/// Keywords that describe a value and do not restrict it.
const REMARKS: &[&str] = &[
    "title",
    "description",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
    "$id",
];

/// Keywords whose value is not a schema.
const DATA: &[&str] = &[
    "const", "enum", "default", "required", "type", "format", "pattern",
];

/// Keywords whose value is a map from names to schemas.
const NAMED: &[&str] = &[
    "properties",
    "patternProperties",
    "$defs",
    "dependentSchemas",
];

/// Keywords that restrict texts, and numbers.
const OF_TEXT: &[&str] = &[
    "pattern",
    "minLength",
    "maxLength",
    "contentEncoding",
    "contentMediaType",
];
const OF_NUMBER: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];

/// Returns the schema without titles, descriptions and examples.
pub(crate) fn without_remarks(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let kept = keywords
                .iter()
                .filter(|(keyword, _)| !REMARKS.contains(&keyword.as_str()));
            let kept = kept
                .map(|(keyword, value)| (keyword.clone(), keyword_without_remarks(keyword, value)));
            Value::Object(kept.collect())
        }
        Value::Array(schemas) => schemas.iter().map(without_remarks).collect(),
        value => value.clone(),
    }
}

fn keyword_without_remarks(keyword: &str, value: &Value) -> Value {
    match value {
        Value::Array(names) if keyword == "required" => in_order(names),
        value if DATA.contains(&keyword) => value.clone(),
        Value::Object(named) if NAMED.contains(&keyword) => named
            .iter()
            .map(|(name, schema)| (name.clone(), without_remarks(schema)))
            .collect(),
        value => without_remarks(value),
    }
}

/// Sorts names: the order of fields does not count.
fn in_order(names: &[Value]) -> Value {
    let mut names = names.to_vec();
    names.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    Value::Array(names)
}

/// A schema with the definitions it refers to.
#[derive(Clone, Copy)]
pub(crate) struct Definitions<'a>(&'a Value);

impl<'a> Definitions<'a> {
    /// Returns the definitions of the schema of a payload.
    pub(crate) fn of(root: &'a Value) -> Self {
        Self(root)
    }

    /// Returns the name and the target of a reference, if the schema is one.
    pub(crate) fn referred(self, schema: &Map<String, Value>) -> Option<(&'a str, &'a Value)> {
        let reference = schema.get("$ref")?.as_str()?;
        let (name, _) = self
            .0
            .get("$defs")?
            .as_object()?
            .get_key_value(reference.strip_prefix("#/$defs/")?)?;
        Some((name, &self.0["$defs"][name]))
    }

    /// Returns the kinds of values that the schema allows, and if they are written as alternatives.
    pub(crate) fn alternatives(self, schema: &Value) -> Alternatives {
        let mut found = Alternatives {
            schemas: Vec::new(),
            is_choice: false,
        };
        self.collect(schema, &Map::new(), &mut Vec::new(), &mut found);
        found
    }

    /// Adds the alternatives of `schema`, each combined with `base`. `within` has the references
    /// that are being followed.
    fn collect(
        self,
        schema: &Value,
        base: &Map<String, Value>,
        within: &mut Vec<String>,
        found: &mut Alternatives,
    ) {
        let mut schema = match schema {
            Value::Object(schema) => schema.clone(),
            Value::Bool(false) => return,
            _ => return found.schemas.push(base.clone()),
        };
        schema.remove("$defs");
        if let Some((name, referred)) = self.referred(&schema) {
            if within.iter().any(|earlier| earlier == name) {
                return;
            }
            within.push(name.into());
            self.collect(
                referred,
                &merged(base, &without(&schema, "$ref")),
                within,
                found,
            );
            within.pop();
            return;
        }
        if let Some(Value::Array(parts)) = schema.remove("allOf") {
            let resolved = parts.iter().map(|part| self.resolved(part));
            schema = resolved.fold(schema, |whole, part| merged(&whole, &part));
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(Value::Array(choices)) = schema.remove(keyword) {
                found.is_choice = true;
                let base = merged(base, &schema);
                choices
                    .iter()
                    .for_each(|choice| self.collect(choice, &base, within, found));
                return;
            }
        }
        found.add(merged(base, &schema));
    }

    fn resolved(self, schema: &Value) -> Map<String, Value> {
        match schema.as_object() {
            Some(schema) => match self.referred(schema) {
                Some((_, Value::Object(referred))) => referred.clone(),
                _ => schema.clone(),
            },
            None => Map::new(),
        }
    }
}

/// The kinds of values that are allowed in a place. None of them has `$ref`, `oneOf`, `anyOf` or
/// several types.
pub(crate) struct Alternatives {
    pub(crate) schemas: Vec<Map<String, Value>>,
    pub(crate) is_choice: bool,
}

impl Alternatives {
    fn add(&mut self, mut schema: Map<String, Value>) {
        if let Some(Value::Array(values)) = schema.get("enum") {
            self.is_choice = true;
            self.schemas.extend(values.iter().map(constant));
        } else if let Some(value) = schema.get("const") {
            self.is_choice = true;
            self.schemas.push(constant(value));
        } else if let Some(Value::Array(types)) = schema.get("type").cloned() {
            self.is_choice = true;
            for ty in types {
                schema.insert("type".into(), ty.clone());
                self.schemas
                    .push(of_type(&schema, ty.as_str().unwrap_or_default()));
            }
        } else {
            self.schemas.push(schema);
        }
    }
}

fn constant(value: &Value) -> Map<String, Value> {
    match value {
        Value::Null => [("type".to_owned(), json!("null"))].into_iter().collect(),
        value => [("const".to_owned(), value.clone())].into_iter().collect(),
    }
}

fn of_type(schema: &Map<String, Value>, ty: &str) -> Map<String, Value> {
    let matters = |keyword: &str| match ty {
        "string" => !OF_NUMBER.contains(&keyword),
        "integer" | "number" => !OF_TEXT.contains(&keyword),
        "null" | "boolean" => keyword == "type",
        _ => !OF_NUMBER.contains(&keyword) && !OF_TEXT.contains(&keyword) && keyword != "format",
    };
    schema
        .iter()
        .filter(|(keyword, _)| matters(keyword))
        .map(|(keyword, value)| (keyword.clone(), value.clone()))
        .collect()
}

fn without(schema: &Map<String, Value>, keyword: &str) -> Map<String, Value> {
    let mut schema = schema.clone();
    schema.remove(keyword);
    schema
}

/// Combines two schemas: an object has the fields of both.
fn merged(one: &Map<String, Value>, other: &Map<String, Value>) -> Map<String, Value> {
    let mut both = one.clone();
    for (keyword, value) in other {
        match (both.get_mut(keyword), value) {
            (Some(Value::Object(fields)), Value::Object(more)) if keyword == "properties" => {
                fields.extend(more.clone());
            }
            (Some(Value::Array(names)), Value::Array(more)) if keyword == "required" => {
                names.extend(more.iter().cloned());
            }
            _ => drop(both.insert(keyword.clone(), value.clone())),
        }
    }
    both
}

/// Returns the label that tells an alternative apart from the others, if it has one: the tag or
/// name by which serde writes a variant.
pub(crate) fn label(schema: &Map<String, Value>) -> Option<String> {
    if let Some(value) = schema.get("const") {
        return Some(text(value));
    }
    if schema.get("type") == Some(&json!("null")) {
        return Some("null".into());
    }
    let fields = schema.get("properties")?.as_object()?;
    let tag = fields
        .iter()
        .find_map(|(name, schema)| Some((name, schema.get("const")?)));
    if let Some((_, value)) = tag {
        return Some(text(value));
    }
    let closed = schema.get("additionalProperties") == Some(&json!(false));
    match (fields.len(), is_required(schema, fields.keys().next()?)) {
        (1, true) if closed => fields.keys().next().cloned(),
        _ => None,
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

pub(crate) fn is_required(schema: &Map<String, Value>, field: &str) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| names.iter().any(|name| name == field))
}

/// Describes a type in a few words.
pub(crate) fn words(schema: &Map<String, Value>) -> String {
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    let Some(ty) = schema.get("type").and_then(Value::as_str) else {
        return if schema.contains_key("properties") {
            "an object".into()
        } else {
            "anything".into()
        };
    };
    let detail = ["format", "pattern"]
        .into_iter()
        .find_map(|keyword| schema.get(keyword)?.as_str());
    match (ty, detail) {
        ("string", Some(detail)) => format!("a text ({detail})"),
        ("string", None) if schema.get("maxLength") == Some(&json!(1)) => "a character".into(),
        ("string", None) => "a text".into(),
        ("integer" | "number", Some(detail)) => format!("a number ({detail})"),
        ("integer" | "number", None) => "a number".into(),
        ("boolean", _) => "true or false".into(),
        ("array", _) if schema.get("uniqueItems") == Some(&json!(true)) => {
            "a list without duplicates".into()
        }
        ("array", _) => "a list".into(),
        ("object", _) => "an object".into(),
        ("null", _) => "nothing".into(),
        (other, _) => other.into(),
    }
}
