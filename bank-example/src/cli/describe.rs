//! Describes the declared system, and the accidents that an acknowledged event survives in its store.
//!
//! The description needs no store. A store that cannot be opened is part of the answer, and the command succeeds.

use bank_example::stores;
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{Acknowledged, LogId, StoreError};
use serde_json::{Value, json};

use super::NOTHING_DONE;
use super::failure::{Failure, one_line};
use super::output::Output;
use super::settings::Place;
use super::stop::Stop;

/// The bank's store, as far as it can be described.
enum StoreShown {
    /// No store is named, and there is none in this folder.
    None,
    Opened {
        address: String,
        log: LogId,
        acknowledged: Acknowledged,
    },
    Unavailable {
        why: String,
    },
}

pub(super) async fn run(place: &Place, mermaid: bool, stop: &Stop) -> Result<Output, Failure> {
    let definition = EventSourcedBank::definition();
    // A diagram shows the declaration alone, so that it is the same on every machine.
    if mermaid {
        return Ok(Output::new(
            definition.to_mermaid(),
            as_json(&StoreShown::None),
        ));
    }
    let store = stop.or(find(place), NOTHING_DONE).await??;
    let text = format!("{}\n{}", definition.to_string().trim_end(), as_text(&store));
    Ok(Output::new(text, as_json(&store)))
}

/// Opens the store if it exists; never creates one.
async fn find(place: &Place) -> Result<StoreShown, Failure> {
    let is_named = place.named()?.is_some();
    match open(&place.url()?).await {
        Ok(shown) => Ok(shown),
        Err(stores::OpenError::Store(StoreError::NoStore { .. })) if !is_named => {
            Ok(StoreShown::None)
        }
        Err(error @ stores::OpenError::Address(_)) => Err(error.into()),
        Err(error) => Ok(StoreShown::Unavailable {
            why: one_line(&error),
        }),
    }
}

async fn open(url: &str) -> Result<StoreShown, stores::OpenError> {
    let store = stores::open_existing(url).await?.store();
    let acknowledged = store.acknowledged().await?;
    Ok(StoreShown::Opened {
        address: stores::address_without_secrets(url)?,
        log: store.log_id(),
        acknowledged,
    })
}

fn as_text(store: &StoreShown) -> String {
    match store {
        StoreShown::None => String::new(),
        StoreShown::Opened {
            address,
            log,
            acknowledged,
        } => {
            format!("\nstore         {address}\nlog           {log}\nacknowledged  {acknowledged}")
        }
        StoreShown::Unavailable { why } => format!("\nstore         not available: {why}"),
    }
}

fn as_json(store: &StoreShown) -> Value {
    let definition = EventSourcedBank::definition();
    let applications = definition.applications.iter().map(
        |application| json!({ "name": application.name, "aggregates": application.aggregates }),
    );
    let followers = definition.followers.iter().map(|follower| {
        let follows = follower
            .follows
            .iter()
            .map(|follows| json!({ "application": follows.application, "aggregate": follows.aggregate }));
        json!({ "name": follower.name, "kind": follower.kind.to_string(), "follows": follows.collect::<Vec<_>>() })
    });
    let store = match store {
        StoreShown::None => Value::Null,
        StoreShown::Opened {
            address,
            log,
            acknowledged,
        } => json!({
            "address": address,
            "log": log,
            "acknowledged": {
                "meaning": acknowledged.to_string(),
                "survives_loss_of_machine": acknowledged.survives_loss_of_machine(),
            },
        }),
        StoreShown::Unavailable { why } => json!({ "error": why }),
    };
    json!({
        "name": definition.name,
        "applications": applications.collect::<Vec<_>>(),
        "followers": followers.collect::<Vec<_>>(),
        "store": store,
    })
}
