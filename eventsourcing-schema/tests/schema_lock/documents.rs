//! JSON Schema and AsyncAPI documents of a system.

use eventsourcing_core::{Application, Projection, RecordedEvent, System};
use eventsourcing_schema::SystemSchema;
use serde_json::Value;

mod domain {
    crate::release!([] {
        /// The amount to pay.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub struct Order { cents: i64, next: Option<Box<Order>> }
    } {
        /// Money came in.
        fn credited(&mut self, order: Order, pair: (u8, String)) {}
    });
}

use domain::Account;

struct Accounts;

impl From<Application> for Accounts {
    fn from(_: Application) -> Self {
        Self
    }
}

#[derive(Default)]
struct Feed;

impl Projection<Account> for Feed {
    type Error = std::convert::Infallible;

    async fn project(&self, _: &RecordedEvent<Account>) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[derive(System)]
#[system(schema)]
#[allow(dead_code)]
struct Bank {
    #[application(aggregates(Account))]
    accounts: Accounts,
    #[projection(follows(accounts: Account))]
    feed: Feed,
}

/// Returns every reference in the document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            found.extend(
                entries
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned),
            );
            entries.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn assert_all_references_lead_somewhere(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a reference within");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere in {document:#}"
        );
    }
}

#[test]
fn the_json_schema_describes_every_event() {
    let document = SystemSchema::of::<Bank>().to_json_schema();
    assert_all_references_lead_somewhere(&document);
    let titles: Vec<_> = document["oneOf"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| &event["title"])
        .collect();
    assert_eq!(
        titles,
        ["Account.Opened, version 1", "Account.Credited, version 1"]
    );
    assert_eq!(
        document["oneOf"][1]["properties"]["payload"]["description"],
        "Money came in."
    );
    assert_eq!(
        document["$defs"]["Order"]["description"],
        "The amount to pay."
    );
}

#[test]
fn the_asyncapi_document_says_who_sends_and_who_receives() {
    let document = SystemSchema::of::<Bank>().to_asyncapi("1.2.3");
    assert_all_references_lead_somewhere(&document);
    assert_eq!(
        (&document["asyncapi"], &document["info"]["version"]),
        (&"3.0.0".into(), &"1.2.3".into())
    );
    assert_eq!(document["channels"]["Account"]["address"], "Account/{id}");
    assert_eq!(
        document["channels"]["Account"]["messages"]["Credited"]["$ref"],
        "#/components/messages/Account.Credited"
    );
    assert_eq!(
        document["operations"]["accounts.send.Account"]["action"],
        "send"
    );
    assert_eq!(
        document["operations"]["feed.receive.Account"]["summary"],
        "the projection feed shows Account of accounts"
    );
    let payload = &document["components"]["messages"]["Account.Credited"]["payload"];
    assert_eq!(payload["type"], "object");
    assert_eq!(
        payload["properties"]["pair"]["items"][1]["type"], "string",
        "draft 7 has no `prefixItems`"
    );
}
