//! The log: the events of all applications, and which event caused which.

use std::collections::BTreeMap;

use axum::extract::State as Extract;
use eventsourcing::store::{
    LogPage, LogQuery, Position, StoreError, StoredEvent, StreamId, StreamQuery,
};
use eventsourcing::{Application, Codec, EventRef, Metadata};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Json, Path, Query, limit, text};
use super::problem::{Kind, Problem};
use crate::web::State;

/// The largest number of events that one request reads to find those of a time span or with a cause.
const LOOKED_AT_MAX: usize = 5_000;

/// An event with all its metadata.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogEvent {
    position: u64,
    /// The type of the aggregate.
    #[schema(example = "Account")]
    aggregate: String,
    /// The id of the aggregate.
    id: Uuid,
    /// The version of the aggregate after the event.
    version: u64,
    #[schema(example = "Credited")]
    name: String,
    recorded_at: String,
    /// The fields of the event.
    #[schema(value_type = Object, example = json!({ "amount": "20.00" }))]
    payload: Value,
    /// The person or program that sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// The id that all events caused by one command share.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Uuid>,
    /// The event that a policy reacted to when it recorded this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<Cause>,
    /// The rest of the metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// A reference to an event.
#[derive(Debug, Serialize, ToSchema)]
struct Cause {
    aggregate: String,
    id: Uuid,
    version: u64,
}

impl LogEvent {
    pub(super) fn read(event: &StoredEvent) -> Result<Self, Problem> {
        let metadata = metadata(event)?;
        let payload = Codec::decode_value(event);
        let payload = payload.map_err(|error| unreadable(event, error))?;
        Ok(Self {
            position: event.position.as_u64(),
            aggregate: event.stream.category.to_string(),
            id: event.stream.id,
            version: event.version.as_u64(),
            name: event.name.to_string(),
            recorded_at: event.recorded_at.to_string(),
            payload,
            actor: metadata.actor,
            correlation_id: metadata.correlation_id,
            causation: metadata.causation.map(Cause::from),
            metadata: metadata.extra,
        })
    }
}

impl From<EventRef> for Cause {
    fn from(
        EventRef {
            category,
            id,
            version,
        }: EventRef,
    ) -> Self {
        Self {
            aggregate: category,
            id,
            version: version.as_u64(),
        }
    }
}

fn metadata(event: &StoredEvent) -> Result<Metadata, Problem> {
    match event.metadata.is_empty() {
        true => Ok(Metadata::default()),
        false => serde_json::from_slice(&event.metadata).map_err(|error| unreadable(event, error)),
    }
}

fn unreadable(
    event: &StoredEvent,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Problem {
    StoreError::corrupt(
        format!("the event at position {} cannot be read", event.position),
        error,
    )
    .into()
}

/// The selection of events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogPageQuery {
    /// Continue after this position: `next` of the previous page.
    #[param(example = 0)]
    after: Option<u64>,
    /// The largest number of events; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
    /// Only events of this type of aggregate.
    #[param(max_length = 200, example = "Account")]
    aggregate: Option<String>,
    /// Only events of this name.
    #[param(max_length = 200, example = "Opened")]
    event: Option<String>,
    /// Only events recorded at this time or later.
    #[param(value_type = Option<String>, format = DateTime, example = "2025-01-01T00:00:00Z")]
    from: Option<Timestamp>,
    /// Only events recorded before this time.
    #[param(value_type = Option<String>, format = DateTime, example = "2125-01-01T00:00:00Z")]
    to: Option<Timestamp>,
}

/// A page of the log, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    /// The events. A page may have fewer than requested and still not be the last: continue while there is a `next`.
    events: Vec<LogEvent>,
    /// The position after which the next page begins; absent at the end of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Lists events, oldest first.
#[utoipa::path(get, path = "/log", tag = "log", params(LogPageQuery),
    responses(
        (status = OK, body = Page),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn page(
    Extract(state): Extract<State>,
    Query(query): Query<LogPageQuery>,
) -> Result<Json<Page>, Problem> {
    let limit = limit(query.limit)?;
    let mut wanted = LogQuery::after(Position::new(query.after.unwrap_or_default())).limit(limit);
    wanted = wanted
        .categories(name("aggregate", query.aggregate)?)
        .names(name("event", query.event)?);
    let is_of_time = |event: &StoredEvent| {
        query.from.is_none_or(|from| from <= event.recorded_at)
            && query.to.is_none_or(|to| event.recorded_at < to)
    };
    let mut events = Vec::new();
    let mut looked_at = 0;
    let mut is_end = false;

    while events.len() < limit && looked_at < LOOKED_AT_MAX && !is_end {
        wanted.limit = limit - events.len();
        let LogPage {
            events: found,
            ceiling,
            ..
        } = state.bank.accounts.log(wanted.clone()).await?;
        is_end = found.len() < wanted.limit;
        looked_at += found.len();
        events.extend(found.into_iter().filter(is_of_time));
        wanted.after = ceiling;
    }
    let next = (!is_end).then_some(wanted.after.as_u64());
    Ok(Json(Page {
        events: events
            .iter()
            .map(LogEvent::read)
            .collect::<Result<_, _>>()?,
        next,
    }))
}

/// Checks a name to filter by. An empty name would match no event.
fn name(field: &str, name: Option<String>) -> Result<Option<String>, Problem> {
    match text(field, name)? {
        Some(name) if name.is_empty() => {
            Err(Problem::new(Kind::Invalid, format!("{field}: it is empty")))
        }
        name => Ok(name),
    }
}

/// An event, what caused it and what it has caused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Related {
    event: LogEvent,
    /// The event that a policy reacted to when it recorded this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<LogEvent>,
    /// The events that policies have recorded because of it, among the 5,000 events after it.
    caused: Vec<LogEvent>,
}

/// Shows an event, what caused it and what it has caused.
#[utoipa::path(get, path = "/log/{position}", tag = "log",
    params(("position" = u64, Path, minimum = 1, example = 1)),
    responses(
        (status = OK, body = Related),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn one(
    Extract(state): Extract<State>,
    Path(position): Path<u64>,
) -> Result<Json<Related>, Problem> {
    let application: &Application = &state.bank.accounts;
    let before = LogQuery::after(Position::new(position.saturating_sub(1))).limit(1);
    let found = application
        .log(before)
        .await?
        .events
        .into_iter()
        .find(|event| event.position.as_u64() == position);
    let event = found.ok_or_else(|| {
        Problem::new(
            Kind::NotFound,
            format!("no event is at position {position}"),
        )
    })?;
    let cause = match metadata(&event)?.causation {
        Some(cause) => find(application, &cause).await?,
        None => None,
    };
    let caused = caused(application, &event).await?;
    let cause = cause.as_ref().map(LogEvent::read).transpose()?;
    Ok(Json(Related {
        event: LogEvent::read(&event)?,
        cause,
        caused,
    }))
}

async fn find(application: &Application, event: &EventRef) -> Result<Option<StoredEvent>, Problem> {
    let stream = StreamId::new(event.category.as_str(), event.id);
    let query = StreamQuery::new(stream)
        .from(event.version)
        .to(event.version)
        .limit(1);
    Ok(application.store().read_stream(query).await?.pop())
}

async fn caused(application: &Application, cause: &StoredEvent) -> Result<Vec<LogEvent>, Problem> {
    let mut caused = Vec::new();
    let mut looked_at = 0;
    let mut after = cause.position;

    let cause: EventRef = EventRef::new(&cause.stream, cause.version);
    while looked_at < LOOKED_AT_MAX {
        let LogPage {
            events, ceiling, ..
        } = application.log(LogQuery::after(after)).await?;
        for event in &events {
            if metadata(event)?.causation.as_ref() == Some(&cause) {
                caused.push(LogEvent::read(event)?);
            }
        }
        if events.len() < LogQuery::LIMIT_DEFAULT {
            break;
        }
        (looked_at, after) = (looked_at + events.len(), ceiling);
    }
    Ok(caused)
}
