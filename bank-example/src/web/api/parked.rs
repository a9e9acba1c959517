//! Events that followers have put aside, and what people do about them.
//!
//! What was done is in the follower's record, with the mark of the request that asked for it. There a repeated request finds
//! what came of the first one.

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

/// What is parked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllParked {
    parked: Vec<Parked>,
    /// Timers that were put aside. They are retried and given up on the page of the system, or on the command line.
    timers: Vec<ParkedTimer>,
}

/// A timer that a follower has put aside.
#[derive(Debug, Serialize, ToSchema)]
struct ParkedTimer {
    #[schema(example = "transfers")]
    follower: &'static str,
    key: String,
    due: String,
    attempts: u32,
    since: String,
    /// Why the follower could not deal with it.
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

/// An aggregate that a follower has put aside.
#[derive(Debug, Serialize, ToSchema)]
struct Parked {
    #[schema(example = "ledger")]
    follower: &'static str,
    /// The kind of aggregate.
    aggregate: String,
    /// The id of the aggregate.
    id: Uuid,
    /// The name of the event that the follower could not deal with.
    name: String,
    version: u64,
    position: u64,
    /// How many events wait behind it.
    waiting: u64,
    attempts: u32,
    since: String,
    /// Why the follower could not deal with it.
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
        let parking = state.bank.parking(name)?;
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

/// What was done about parked events, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Records {
    records: Vec<Record>,
}

/// Something that was done about a parked event.
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
    /// Why it was parked.
    cause: String,
    /// What was done, and what came of it.
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

/// Lists what was done about parked events.
#[utoipa::path(get, path = "/parked/records", tag = "parked",
    responses(
        (status = OK, body = Records),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn records(Extract(state): Extract<State>) -> Result<Json<Records>, Problem> {
    let mut records = Vec::new();
    for name in followers() {
        let of_follower = state.bank.parking(name)?.records().await?;
        records.extend(of_follower.iter().map(|record| Record::new(name, record)));
    }
    records.sort_by(|one, other| one.at.cmp(&other.at));
    Ok(Json(Records { records }))
}

/// How an event is to be tried again.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Who does it, for the record.
    #[schema(max_length = 200, example = "teller-7")]
    by: Option<String>,
    /// What the follower shall see in place of the payload of the first event; the log stays as it is.
    #[schema(value_type = Option<Object>)]
    payload: Option<serde_json::Map<String, Value>>,
}

/// What came of what was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    /// How many events the follower has dealt with.
    events: u64,
    /// Why it has not dealt with all.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Has a follower deal again with the event that an aggregate is parked for, and then with those behind it.
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

/// Why an event is given up.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GivingUp {
    /// Why the follower need not deal with it, for the record.
    #[schema(min_length = 1, max_length = 200, example = "it was booked by hand")]
    reason: String,
    /// Who does it, for the record.
    #[schema(max_length = 200, example = "teller-7")]
    by: Option<String>,
}

/// Gives up the event that an aggregate is parked for: the follower never deals with it. Those behind it wait to be retried.
#[utoipa::path(post, path = "/parked/{follower}/{id}/give-up", tag = "parked",
    params(
        ("follower" = String, Path, example = "ledger"),
        ("id" = Uuid, Path, description = "the id of the aggregate", example = json!(ALICE)),
        ("Idempotency-Key" = Option<String>, Header, example = "give-up-alice"),
    ),
    request_body(content = GivingUp, example = json!({ "reason": "it was booked by hand", "by": "teller-7" })),
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
    state.bank.parking(follower).map_err(|_| unknown(follower))
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

/// What came of the request the first time, from what was recorded then. One request may have left several records.
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
