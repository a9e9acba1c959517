//! Documents for consumers of a system's events: JSON Schema and AsyncAPI.
//!
//! AsyncAPI 3.0, whose schemas are those of draft 7:
//! <https://www.asyncapi.com/docs/reference/specification/v3.0.0>.

use eventsourcing_core::schema::AggregateSchema;
use eventsourcing_core::system::FollowerKind;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::stored_form::StoredForm as _;
use crate::system::SystemSchema;

impl SystemSchema {
    /// Returns the JSON Schema of every event as this release stores it: an object with the names
    /// of the aggregate and the event, the version of the payload, and the payload.
    #[must_use]
    pub fn to_json_schema(&self) -> Value {
        let mut generator = generator(SchemaSettings::draft2020_12(), "/$defs");
        let stored = self.each(|aggregate, index| {
            let known = aggregate.types()[index];
            json!({
                "title": format!("{}.{}, version {}", aggregate.name(), known.name, known.version),
                "type": "object",
                "properties": {
                    "aggregate": { "const": aggregate.name() },
                    "name": { "const": known.name },
                    "schema_version": { "const": known.version },
                    "payload": aggregate.document(index, &mut generator),
                },
                "required": ["aggregate", "name", "payload"],
            })
        });
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": format!("The events of {}", self.name),
            "oneOf": stored,
            "$defs": Value::Object(generator.take_definitions(true)),
        })
    }

    /// Returns an AsyncAPI document: a channel for each aggregate, a message for each event, an
    /// operation for each application that sends and each follower that receives. `version` is the
    /// one of the program.
    #[must_use]
    pub fn to_asyncapi(&self, version: &str) -> Value {
        let mut generator = generator(SchemaSettings::draft07(), "/components/schemas");
        let messages = self.each(|aggregate, index| {
            let known = aggregate.types()[index];
            let message = json!({
                "name": known.name,
                "title": format!("{} of {}", known.name, aggregate.name()),
                "contentType": "application/json",
                "headers": {
                    "type": "object",
                    "properties": { "schema_version": { "const": known.version } },
                },
                "payload": aggregate.document(index, &mut generator),
            });
            (message_key(aggregate, index), message)
        });
        let channels = self
            .aggregates
            .iter()
            .map(|aggregate| (key(aggregate.name()), channel(aggregate)));
        let channels = channels.collect::<Map<_, _>>();
        json!({
            "asyncapi": "3.0.0",
            "info": { "title": self.name, "version": version },
            "defaultContentType": "application/json",
            "channels": channels,
            "operations": self.operations(),
            "components": {
                "messages": messages.into_iter().collect::<Map<_, _>>(),
                "schemas": Value::Object(generator.take_definitions(true)),
            },
        })
    }

    /// Returns the operations: each application that sends events, and each follower that receives
    /// them.
    fn operations(&self) -> Value {
        let definition = self.definition.iter();
        let sent = definition
            .clone()
            .flat_map(|definition| &definition.applications)
            .flat_map(|application| {
                application.aggregates.iter().map(|aggregate| {
                    let summary = format!(
                        "the application {} records what happens to {aggregate}",
                        application.name
                    );
                    operation(application.name, "send", aggregate, &summary)
                })
            });
        let received = definition
            .flat_map(|definition| &definition.followers)
            .flat_map(|follower| {
                follower.follows.iter().map(|follows| {
                    let what = match follower.kind {
                        FollowerKind::Policy => "reacts to",
                        FollowerKind::Projection => "shows",
                        _ => "follows",
                    };
                    let summary =
                        format!("the {} {} {what} {follows}", follower.kind, follower.name);
                    operation(follower.name, "receive", follows.aggregate, &summary)
                })
            });
        Value::Object(sent.chain(received).collect())
    }

    fn each<T>(&self, mut make: impl FnMut(&AggregateSchema, usize) -> T) -> Vec<T> {
        let mut made = Vec::new();
        for aggregate in &self.aggregates {
            made.extend((0..aggregate.types().len()).map(|index| make(aggregate, index)));
        }
        made
    }
}

/// Returns a generator of schemas of the serialized form, which is the form that consumers read.
fn generator(settings: SchemaSettings, definitions: &'static str) -> SchemaGenerator {
    let settings = settings.for_serialize().with(|settings| {
        settings.meta_schema = None;
        settings.definitions_path = definitions.into();
    });
    settings.into_generator()
}

fn channel(aggregate: &AggregateSchema) -> Value {
    let messages = (0..aggregate.types().len()).map(|index| {
        let message =
            json!({ "$ref": format!("#/components/messages/{}", message_key(aggregate, index)) });
        (key(aggregate.types()[index].name), message)
    });
    json!({
        "address": format!("{}/{{id}}", aggregate.name()),
        "title": format!("What happens to {}", aggregate.name()),
        "parameters": { "id": { "description": "the id of the aggregate, a UUID" } },
        "messages": messages.collect::<Map<_, _>>(),
    })
}

fn operation(who: &str, action: &str, aggregate: &str, summary: &str) -> (String, Value) {
    let channel = json!({ "$ref": format!("#/channels/{}", key(aggregate)) });
    let operation = json!({ "action": action, "channel": channel, "summary": summary });
    (
        format!("{}.{action}.{}", key(who), key(aggregate)),
        operation,
    )
}

fn message_key(aggregate: &AggregateSchema, index: usize) -> String {
    format!(
        "{}.{}",
        key(aggregate.name()),
        key(aggregate.types()[index].name)
    )
}

/// Converts a name to one that AsyncAPI allows for a component: other characters become their code
/// points, so that different names stay different.
fn key(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let letters = name.chars().map(|letter| match letter {
        letter if allowed(letter) => letter.to_string(),
        '_' => "_".into(),
        letter => format!("_{:x}_", u32::from(letter)),
    });
    letters.collect()
}
