//! Events that followers have parked (dead letters), and the actions of people on them.
//!
//! Every action is in the follower's record, signed with the key and the hash of its request. A repeated request finds
//! the outcome of the first one there.

use axum::extract::State as Extract;
use eventsourcing::store::StreamId;
use eventsourcing::system::{
    Parked as Aside, ParkedTimer as TimerAside, Parking, ParkingAction, ParkingRecord,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::command::{Command, Once};
use super::examples::ALICE;
use super::extract::{Json, Path, text};
use super::followers::unknown;
use super::problem::{Kind, Problem};
use crate::system::EventSourcedBank;
use crate::web::State;

/// Everything that is parked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllParked {
    parked: Vec<Parked>,
    /// The parked timers. They are retried and discarded on the system page or on the command line.
    timers: Vec<ParkedTimer>,
}

/// A timer that a follower has parked.
#[derive(Debug, Serialize, ToSchema)]
struct ParkedTimer {
    #[schema(example = "transfers")]
    follower: &'static str,
    key: String,
    due: String,
    attempts: u32,
    since: String,
    /// The reason for which the follower failed to process it.
    cause: String,
}

impl ParkedTimer {
    fn new(follower: &'static str, timer: TimerAside) -> Self {
        let TimerAside {
            key,
            due,
            cause,
            since,
            attempts,
            ..
        } = timer;
        Self {
            follower,
            key,
            due: due.to_string(),
            attempts,
            since: since.to_string(),
            cause,
        }
    }
}

/// An aggregate that a follower has parked.
#[derive(Debug, Serialize, ToSchema)]
struct Parked {
    #[schema(example = "ledger")]
    follower: &'static str,
    /// The type of the aggregate.
    aggregate: String,
    /// The id of the aggregate.
    id: Uuid,
    /// The name of the event that the follower failed to process.
    name: String,
    version: u64,
    position: u64,
    /// The number of events waiting behind it.
    waiting: u64,
    attempts: u32,
    since: String,
    /// The reason for which the follower failed to process it.
    cause: String,
}

impl Parked {
    fn new(follower: &'static str, aside: Aside) -> Self {
        Self {
            follower,
            aggregate: aside.stream.category.to_string(),
            id: aside.stream.id,
            name: aside.name.to_string(),
            version: aside.version.as_u64(),
            position: aside.position.as_u64(),
            waiting: aside.waiting,
            attempts: aside.attempts,
            since: aside.since.to_string(),
            cause: aside.cause,
        }
    }
}

/// Lists what is parked.
#[utoipa::path(get, path = "/parked", tag = "parked",
    responses(
        (status = OK, body = AllParked),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(Extract(state): Extract<State>) -> Result<Json<AllParked>, Problem> {
    let mut parked = Vec::new();
    let mut timers = Vec::new();

    for name in followers() {
        let parking = state.bank.parking(state.bank.find_follower(name)?)?;
        parked.extend(
            parking
                .list()
                .await?
                .into_iter()
                .map(|aside| Parked::new(name, aside)),
        );
        timers.extend(
            parking
                .timers()
                .await?
                .into_iter()
                .map(|timer| ParkedTimer::new(name, timer)),
        );
    }
    Ok(Json(AllParked { parked, timers }))
}

fn followers() -> impl Iterator<Item = &'static str> {
    EventSourcedBank::definition()
        .followers
        .into_iter()
        .map(|follower| follower.name)
}

/// The actions on parked events, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Records {
    records: Vec<Record>,
}

/// An action on a parked event.
#[derive(Debug, Serialize, ToSchema)]
struct Record {
    follower: &'static str,
    aggregate: String,
    id: Uuid,
    name: String,
    version: u64,
    position: u64,
    at: String,
    by: String,
    /// The reason for which it was parked.
    cause: String,
    /// The action and its outcome.
    #[schema(value_type = Object)]
    action: Value,
}

impl Record {
    fn new(follower: &'static str, record: &ParkingRecord) -> Self {
        Self {
            follower,
            aggregate: record.stream.category.to_string(),
            id: record.stream.id,
            name: record.name.to_string(),
            version: record.version.as_u64(),
            position: record.position.as_u64(),
            at: record.at.to_string(),
            by: record.by.clone(),
            cause: record.cause.clone(),
            action: serde_json::to_value(&record.action).expect("text and numbers are JSON"),
        }
    }
}

/// Lists the actions on parked events, oldest first.
#[utoipa::path(get, path = "/parked/records", tag = "parked",
    responses(
        (status = OK, body = Records),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn records(Extract(state): Extract<State>) -> Result<Json<Records>, Problem> {
    let mut records = Vec::new();
    for name in followers() {
        let of_follower = state
            .bank
            .parking(state.bank.find_follower(name)?)?
            .records()
            .await?;
        records.extend(of_follower.iter().map(|record| Record::new(name, record)));
    }
    records.sort_by(|one, other| one.at.cmp(&other.at));
    Ok(Json(Records { records }))
}

/// The options of a retry.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// The person who does it, for the record.
    #[schema(max_length = 200, example = "teller-7")]
    by: Option<String>,
    /// The payload that the follower processes in place of that of the first event; the log stays as it is.
    #[schema(value_type = Option<Object>)]
    payload: Option<serde_json::Map<String, Value>>,
}

/// The outcome of an action.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    /// The number of events that the follower has processed.
    events: u64,
    /// The reason if it has not processed all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Lets a follower process the event again that an aggregate is parked for, and then the events waiting behind it.
#[utoipa::path(post, path = "/parked/{follower}/{id}/retry", tag = "parked",
    params(
        ("follower" = String, Path, example = "ledger"),
        ("id" = Uuid, Path, description = "the id of the aggregate", example = json!(ALICE)),
        ("Idempotency-Key" = Option<String>, Header, example = "retry-alice"),
    ),
    request_body(content = Retry, example = json!({ "by": "teller-7" })),
    responses(
        (status = OK, body = Outcome),
        (status = CONFLICT, body = Problem, description = "nothing is parked", content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn retry(
    Extract(state): Extract<State>,
    Path((follower, id)): Path<(String, Uuid)>,
    command: Command,
    Json(request): Json<Retry>,
) -> Result<Json<Outcome>, Problem> {
    command.unconditional()?;
    let once = command.of(&format!("POST /parked/{follower}/{id}/retry"), &request);
    let by = text("by", request.by)?.unwrap_or(command.actor);
    let parking = parking(&state, &follower)?.by(once.signed(&by));
    if let Some(first) = first(&parking, &once).await? {
        return Ok(Json(first));
    }
    let retried = match (find(&parking, id).await?, request.payload) {
        (None, _) => Err(not_parked(&follower, id)),
        (Some(stream), None) => parking.retry(&stream).await.map_err(Problem::from),
        (Some(stream), Some(payload)) => parking
            .retry_edited(&stream, payload.into())
            .await
            .map_err(Problem::from),
    };
    match retried {
        Ok(retried) => Ok(Json(Outcome {
            events: retried.events,
            failure: retried.failure.map(|failure| failure.cause),
        })),
        // Another request with the same key may have been faster.
        Err(problem) => first(&parking, &once).await?.map(Json).ok_or(problem),
    }
}

/// The reason for discarding an event.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GivingUp {
    /// The reason for which the follower need not process it, for the record.
    #[schema(min_length = 1, max_length = 200, example = "booked by hand")]
    reason: String,
    /// The person who does it, for the record.
    #[schema(max_length = 200, example = "teller-7")]
    by: Option<String>,
}

/// Discards the event that an aggregate is parked for: the follower never processes it. Events waiting behind it stay
/// parked until they are retried.
#[utoipa::path(post, path = "/parked/{follower}/{id}/give-up", tag = "parked",
    params(
        ("follower" = String, Path, example = "ledger"),
        ("id" = Uuid, Path, description = "the id of the aggregate", example = json!(ALICE)),
        ("Idempotency-Key" = Option<String>, Header, example = "give-up-alice"),
    ),
    request_body(content = GivingUp, example = json!({ "reason": "booked by hand", "by": "teller-7" })),
    responses(
        (status = OK, body = Outcome),
        (status = CONFLICT, body = Problem, description = "nothing is parked", content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn give_up(
    Extract(state): Extract<State>,
    Path((follower, id)): Path<(String, Uuid)>,
    command: Command,
    Json(request): Json<GivingUp>,
) -> Result<Json<Outcome>, Problem> {
    command.unconditional()?;
    let once = command.of(&format!("POST /parked/{follower}/{id}/give-up"), &request);
    let by = text("by", request.by)?.unwrap_or(command.actor);
    let reason = text("reason", Some(request.reason))?.filter(|reason| !reason.trim().is_empty());
    let reason = reason.ok_or_else(|| Problem::new(Kind::Invalid, "reason: it is empty"))?;
    let parking = parking(&state, &follower)?.by(once.signed(&by));
    if let Some(first) = first(&parking, &once).await? {
        return Ok(Json(first));
    }
    let given_up = match find(&parking, id).await? {
        None => Err(not_parked(&follower, id)),
        Some(stream) => parking
            .discard(&stream, &reason)
            .await
            .map_err(Problem::from),
    };
    match given_up {
        Ok(()) => Ok(Json(Outcome {
            events: 0,
            failure: None,
        })),
        Err(problem) => first(&parking, &once).await?.map(Json).ok_or(problem),
    }
}

fn parking<'a>(state: &'a State, follower: &str) -> Result<Parking<'a, EventSourcedBank>, Problem> {
    let name = state.bank.find_follower(follower);
    Ok(state.bank.parking(name.map_err(|_| unknown(follower))?)?)
}

async fn find(
    parking: &Parking<'_, EventSourcedBank>,
    id: Uuid,
) -> Result<Option<StreamId>, Problem> {
    Ok(parking
        .list()
        .await?
        .into_iter()
        .map(|parked| parked.stream)
        .find(|stream| stream.id == id))
}

fn not_parked(follower: &str, id: Uuid) -> Problem {
    Problem::new(Kind::NotParked, format!("{follower} has not parked {id}"))
}

/// Returns the outcome of the first request, from its records. One request may have left several records.
async fn first(
    parking: &Parking<'_, EventSourcedBank>,
    once: &Once,
) -> Result<Option<Outcome>, Problem> {
    let mut outcome = None;
    for record in parking.records().await? {
        if !once.has_signed(&record.by)? {
            continue;
        }
        let Outcome { events, failure } = outcome.get_or_insert(Outcome {
            events: 0,
            failure: None,
        });
        match record.action {
            ParkingAction::Retried { events: more } => *events += more,
            ParkingAction::Edited { .. } => *events += 1,
            ParkingAction::Failed { cause } => *failure = Some(cause),
            _ => {}
        }
    }
    Ok(outcome)
}
