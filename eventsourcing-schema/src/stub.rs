//! The text of an upcaster to write, typed with the locked shape of the old payload.

use serde_json::{Map, Value};

use crate::compare::{Change, Difference, Step};
use crate::shape::{Definitions, is_required};

/// Returns an upcaster from `old` to the next version of `event`. Unknown parts are comments, so
/// the text does not compile until they are filled in.
pub(crate) fn upcaster(
    event: &str,
    from: u16,
    old: &Value,
    new: &Value,
    found: &[Difference],
) -> String {
    let to = u32::from(from) + 1;
    let function = format!("{}_{from}_to_{to}", snake_case(event));
    let others = if from > 1 {
        "/* those that are there */, "
    } else {
        ""
    };
    let attribute =
        format!("#[event(version = {to}, {others}upcast(from = {from}, with = {function}))]\n\n");
    let written = match (fields(old), fields(new)) {
        (Some(was), Some(now)) => typed(
            &camel_case(event),
            &function,
            from,
            &was,
            &now,
            &Changed::of(found),
        ),
        _ => format!(
            "/// {from} → {to}.\nfn {function}(old: serde_json::Value) -> serde_json::Value {{\n    /* version {to} of old */\n}}\n"
        ),
    };
    attribute + &written
}

/// The differences for which the fields of the payload cannot simply be copied.
struct Changed<'a> {
    /// Fields whose content differs.
    within: Vec<&'a str>,
    /// `true` if a field is gone: another one may have taken its place.
    has_lost_fields: bool,
}

impl<'a> Changed<'a> {
    fn of(found: &'a [Difference]) -> Self {
        let within = found
            .iter()
            .filter_map(|difference| match difference.path.0.first() {
                Some(Step::Field(field)) => Some(field.as_str()),
                _ => None,
            });
        let is_lost = |difference: &Difference| {
            difference.path.0.is_empty() && matches!(difference.change, Change::FieldRemoved { .. })
        };
        Self {
            within: within.collect(),
            has_lost_fields: found.iter().any(is_lost),
        }
    }
}

/// A field with its Rust type.
struct Field {
    /// The stored name.
    name: String,
    /// The identifier in Rust.
    ident: String,
    ty: String,
    is_optional: bool,
}

fn typed(
    event: &str,
    function: &str,
    from: u16,
    old: &[Field],
    new: &[Field],
    changed: &Changed<'_>,
) -> String {
    let to = u32::from(from) + 1;
    let was = format!("{event}{from}");
    let now = format!("{event}{to}");

    let values: String = new
        .iter()
        .map(|field| {
            format!(
                "        {}: {},\n",
                field.ident,
                value(field, old, from, changed)
            )
        })
        .collect();
    format!(
        "#[derive(serde::Deserialize)]\nstruct {was} {{\n{}}}\n\n#[derive(serde::Serialize)]\nstruct {now} {{\n{}}}\n\n/// {from} → {to}.\nfn {function}(old: {was}) -> {now} {{\n    {now} {{\n{values}    }}\n}}\n",
        declared(old, false),
        declared(new, true),
    )
}

fn declared(fields: &[Field], is_written: bool) -> String {
    let lines = fields.iter().map(|field| {
        let skipped = match field.is_optional && is_written {
            true => "    #[serde(skip_serializing_if = \"Option::is_none\")]\n",
            false => "",
        };
        let renamed = match field.ident.trim_start_matches("r#") == field.name {
            true => String::new(),
            false => format!("    #[serde(rename = {:?})]\n", field.name),
        };
        format!("{skipped}{renamed}    {}: {},\n", field.ident, field.ty)
    });
    lines.collect()
}

fn value(field: &Field, old: &[Field], from: u16, changed: &Changed<'_>) -> String {
    match old.iter().find(|old| old.name == field.name) {
        Some(old) if changed.within.contains(&&*field.name) && old.ty == field.ty => {
            format!("/* of old.{}, which has changed within */", old.ident)
        }
        Some(old) if old.ty == field.ty => format!("old.{}", old.ident),
        Some(old) => format!("/* of old.{}, which is {} */", old.ident, old.ty),
        None if field.is_optional && !changed.has_lost_fields => "None".into(),
        None => format!("/* what it is in events of version {from} */"),
    }
}

/// Returns the fields of a payload that is an object with fixed fields.
fn fields(payload: &Value) -> Option<Vec<Field>> {
    let definitions = Definitions::of(payload);
    let [object] = &*definitions.alternatives(payload).schemas else {
        return None;
    };
    if object.get("type")?.as_str()? != "object" {
        return None;
    }
    let fields = object.get("properties").and_then(Value::as_object);
    let fields = fields
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, (name, schema))| {
            let ty = rust_type(schema, definitions);
            let is_optional = !is_required(object, name);
            let ty = if is_optional && !ty.starts_with("Option<") {
                format!("Option<{ty}>")
            } else {
                ty
            };
            Field {
                name: name.clone(),
                ident: ident(name, index),
                ty,
                is_optional,
            }
        });
    Some(fields.collect())
}

fn rust_type(schema: &Value, definitions: Definitions<'_>) -> String {
    let alternatives = definitions.alternatives(schema).schemas;
    let is_null =
        |schema: &&Map<String, Value>| schema.get("type").and_then(Value::as_str) == Some("null");
    let others: Vec<_> = alternatives
        .iter()
        .filter(|schema| !is_null(schema))
        .collect();
    let first = others.first().map_or_else(
        || "serde_json::Value".into(),
        |schema| of_one(schema, definitions),
    );
    let ty = match others
        .iter()
        .all(|other| of_one(other, definitions) == first)
    {
        true => first,
        false => "serde_json::Value".into(),
    };
    if others.len() < alternatives.len() {
        format!("Option<{ty}>")
    } else {
        ty
    }
}

fn of_one(schema: &Map<String, Value>, definitions: Definitions<'_>) -> String {
    let text = |keyword: &str| {
        schema
            .get(keyword)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let is_text = schema.get("const").is_some_and(Value::is_string);
    match (text("type"), text("format")) {
        ("string", _) => "String".into(),
        _ if is_text => "String".into(),
        ("boolean", _) => "bool".into(),
        ("integer", format) => of_format(format).into(),
        ("number", "float") => "f32".into(),
        ("number", _) => "f64".into(),
        ("array", _) if !schema.contains_key("prefixItems") => match schema.get("items") {
            Some(items) => format!("Vec<{}>", rust_type(items, definitions)),
            None => "Vec<serde_json::Value>".into(),
        },
        _ => "serde_json::Value".into(),
    }
}

fn of_format(format: &str) -> &'static str {
    let known = [
        ("int8", "i8"),
        ("int16", "i16"),
        ("int32", "i32"),
        ("int", "isize"),
        ("int128", "i128"),
        ("uint8", "u8"),
        ("uint16", "u16"),
        ("uint32", "u32"),
        ("uint64", "u64"),
        ("uint", "usize"),
        ("uint128", "u128"),
    ];
    known
        .iter()
        .find(|(known, _)| *known == format)
        .map_or("i64", |(_, ty)| ty)
}

fn ident(name: &str, index: usize) -> String {
    let first = name
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    match first
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    {
        true if KEYWORDS.contains(&name) => format!("r#{name}"),
        true => name.into(),
        false => format!("field{index}"),
    }
}

const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "false",
    "fn", "for", "gen", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub",
    "ref", "return", "static", "struct", "trait", "true", "try", "type", "unsafe", "use", "where",
    "while", "yield",
];

fn snake_case(event: &str) -> String {
    let mut name = String::new();
    for letter in event
        .chars()
        .filter(|letter| letter.is_alphanumeric() || *letter == '_')
    {
        if letter.is_uppercase() && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn camel_case(event: &str) -> String {
    let words = event
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_uppercase().chain(letters).collect()
        })
    });
    words.collect()
}
