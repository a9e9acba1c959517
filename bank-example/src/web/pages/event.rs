//! The page of one event: its payload and metadata, the event that caused it, and the events that it caused.

use std::collections::{HashMap, HashSet};

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Path, State as Extract};
use axum::response::Response;
use axum::routing::get;
use eventsourcing::store::{
    EventStore as _, LogQuery, Position, StoredEvent, StreamId, StreamQuery,
};
use eventsourcing::{EventRef, Metadata};
use uuid::Uuid;

use super::{Failure, Frame, InSession, page, shown};
use crate::web::State;

/// The largest number of events that are read to find those of the same command.
const EVENTS_SCANNED_MAX: usize = 10_000;
/// The number of events that are read at once.
const EVENTS_PER_READ: usize = 1_000;
/// The largest number of causes that are followed back, each the cause of the one before.
const CAUSES_MAX: usize = 100;
/// The number of positions before the first cause at which the search begins, for events recorded together with it.
const POSITIONS_BEFORE: u64 = 1_000;

pub(super) fn router() -> Router<State> {
    Router::new().route("/log/{position}", get(event))
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    frame: Frame,
    position: Position,
    name: String,
    category: String,
    id: Uuid,
    version: u64,
    at: String,
    datetime: String,
    schema_version: u16,
    payload: String,
    metadata: String,
    actor: String,
    correlation: Option<Uuid>,
    cause: Option<Node>,
    consequences: Vec<Node>,
    tree: Vec<Node>,
    /// The last position that was read, if the search ended before the end of the log.
    stopped_at: Option<Position>,
}

/// An event in the tree of the events of one command.
#[derive(Clone)]
struct Node {
    position: Position,
    name: String,
    of: String,
    depth: usize,
    is_this: bool,
}

async fn event(
    Extract(state): Extract<State>,
    Extension(session): InSession,
    Path(position): Path<String>,
) -> Result<Response, Failure> {
    let event = match position.parse::<u64>() {
        Ok(position) if position > 0 => at(&state, Position::new(position)).await?,
        _ => None,
    };
    let event =
        event.ok_or_else(|| Failure::NotFound("There is no event at this position.".to_owned()))?;
    let metadata = metadata(&event);
    let cause = match &metadata.causation {
        Some(cause) => of_ref(&state, cause).await?,
        None => None,
    };
    let Related { events, stopped_at } = related(&state, &event, metadata.correlation_id).await?;
    let own = EventRef::new(&event.stream, event.version);
    let caused = |other: &&StoredEvent| self::metadata(other).causation.as_ref() == Some(&own);
    page(&EventPage {
        frame: Frame::new("log", &state, session),
        position: event.position,
        name: event.name.to_string(),
        category: event.stream.category.to_string(),
        id: event.stream.id,
        version: event.version.as_u64(),
        at: shown::time(event.recorded_at),
        datetime: event.recorded_at.to_string(),
        schema_version: event.schema_version,
        payload: shown::payload(&event, |fields| format!("{fields:#}")),
        metadata: pretty(&event.metadata),
        actor: metadata.actor.unwrap_or_default(),
        correlation: metadata.correlation_id,
        cause: cause
            .as_ref()
            .map(|cause| Node::new(cause, 0, event.position)),
        consequences: events
            .iter()
            .filter(caused)
            .map(|other| Node::new(other, 0, event.position))
            .collect(),
        tree: tree(&events, event.position),
        stopped_at,
    })
}

async fn at(state: &State, position: Position) -> Result<Option<StoredEvent>, Failure> {
    let before = Position::new(position.as_u64() - 1);
    let page = state
        .bank
        .accounts
        .log(LogQuery::after(before).limit(1))
        .await?;
    Ok(page
        .events
        .into_iter()
        .find(|event| event.position == position))
}

async fn of_ref(
    state: &State,
    EventRef {
        category,
        id,
        version,
    }: &EventRef,
) -> Result<Option<StoredEvent>, Failure> {
    let query = StreamQuery::new(StreamId::new(category.as_str(), *id))
        .from(*version)
        .to(*version);
    Ok(state.bank.accounts.store().read_stream(query).await?.pop())
}

/// Reads the metadata, or returns empty metadata: another program may have written anything.
fn metadata(event: &StoredEvent) -> Metadata {
    serde_json::from_slice(&event.metadata).unwrap_or_default()
}

/// Formats JSON for people; anything else stays as it is.
fn pretty(bytes: &[u8]) -> String {
    let value = serde_json::from_slice::<serde_json::Value>(bytes)
        .and_then(|value| serde_json::to_string_pretty(&value));
    value.unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned())
}

struct Related {
    events: Vec<StoredEvent>,
    stopped_at: Option<Position>,
}

/// Finds the events of the same command, from a little before its first cause on, up to the limit of a page.
async fn related(
    state: &State,
    event: &StoredEvent,
    correlation: Option<Uuid>,
) -> Result<Related, Failure> {
    let Some(correlation) = correlation else {
        return Ok(Related {
            events: vec![event.clone()],
            stopped_at: None,
        });
    };
    let first = first_cause(state, event).await?;
    let after = Position::new(first.as_u64().saturating_sub(POSITIONS_BEFORE));
    let mut query = LogQuery::after(after).limit(EVENTS_PER_READ);
    let mut events = Vec::new();
    let mut scanned = 0;

    while scanned < EVENTS_SCANNED_MAX {
        let page = state.bank.accounts.log(query.clone()).await?;
        let read = page.events.len();
        events.extend(
            page.events
                .into_iter()
                .filter(|other| metadata(other).correlation_id == Some(correlation)),
        );
        if read < EVENTS_PER_READ {
            return Ok(Related {
                events,
                stopped_at: None,
            });
        }
        scanned += read;
        query.after = page.ceiling;
    }
    Ok(Related {
        events,
        stopped_at: Some(query.after),
    })
}

async fn first_cause(state: &State, event: &StoredEvent) -> Result<Position, Failure> {
    let mut first = event.clone();
    for _ in 0..CAUSES_MAX {
        let Some(cause) = metadata(&first).causation else {
            break;
        };
        match of_ref(state, &cause).await? {
            Some(cause) if cause.position < first.position => first = cause,
            _ => break,
        }
    }
    Ok(first.position)
}

/// Arranges events as a tree: each one is followed by the events that it caused, one level deeper.
fn tree(events: &[StoredEvent], this: Position) -> Vec<Node> {
    let known: HashSet<EventRef> = events
        .iter()
        .map(|event| EventRef::new(&event.stream, event.version))
        .collect();
    let mut caused: HashMap<Option<EventRef>, Vec<&StoredEvent>> = HashMap::new();
    for event in events {
        let cause = metadata(event)
            .causation
            .filter(|cause| known.contains(cause));
        caused.entry(cause).or_default().push(event);
    }
    let mut open: Vec<_> = caused
        .remove(&None)
        .unwrap_or_default()
        .into_iter()
        .rev()
        .map(|event| (event, 0))
        .collect();
    let mut nodes = Vec::new();
    while let Some((event, depth)) = open.pop() {
        nodes.push(Node::new(event, depth, this));
        let own = Some(EventRef::new(&event.stream, event.version));
        open.extend(
            caused
                .remove(&own)
                .unwrap_or_default()
                .into_iter()
                .rev()
                .map(|event| (event, depth + 1)),
        );
    }
    nodes
}

impl Node {
    fn new(event: &StoredEvent, depth: usize, this: Position) -> Self {
        Self {
            position: event.position,
            name: event.name.to_string(),
            of: format!(
                "{} {}, version {}",
                event.stream.category,
                shown::short(event.stream.id),
                event.version
            ),
            depth,
            is_this: event.position == this,
        }
    }
}
