//! The log page: all events of the store, filtered and page by page.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Query, State as Extract};
use axum::response::Response;
use axum::routing::get;
use eventsourcing::store::{EventStore as _, LogQuery, Name, Position, StoredEvent};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use uuid::Uuid;

use super::{Failure, Frame, InSession, page, shown};
use crate::system::EventSourcedBank;
use crate::web::State;

/// The number of events on a page.
const EVENTS_PER_PAGE: usize = 50;
/// The largest number of events that are read for one page. If there are more, the page says where it stopped.
const EVENTS_SCANNED_MAX: usize = 10_000;
/// The number of events that are read at once.
const EVENTS_PER_READ: usize = 500;

pub(super) fn router() -> Router<State> {
    Router::new().route("/log", get(log))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    after: String,
    category: String,
    id: String,
    name: String,
    from: String,
    to: String,
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    head: Position,
    asked: Asked,
    categories: Vec<&'static str>,
    /// The error in a filter.
    error: Option<String>,
    events: Vec<EventShown>,
    /// The address of the next page.
    next: Option<String>,
    /// The last position that was read, if the limit of a page was reached.
    stopped_at: Option<Position>,
}

struct EventShown {
    position: Position,
    name: String,
    category: String,
    id: Uuid,
    short: String,
    version: u64,
    at: String,
    datetime: String,
    payload: String,
}

/// The filters. Those that the store does not know are applied here.
#[derive(Default)]
struct Wanted {
    id: Option<Uuid>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Wanted {
    fn read(asked: &Asked) -> Result<Self, String> {
        let id = match asked.id.as_str() {
            "" => None,
            id => Some(
                Uuid::try_parse(id)
                    .map_err(|_| "The id of the aggregate is not valid.".to_owned())?,
            ),
        };
        Ok(Self {
            id,
            from: moment(&asked.from)?,
            to: moment(&asked.to)?,
        })
    }

    fn is_all(&self) -> bool {
        self.id.is_none() && self.from.is_none() && self.to.is_none()
    }

    fn allows(&self, event: &StoredEvent) -> bool {
        self.id.is_none_or(|id| event.stream.id == id)
            && self.from.is_none_or(|from| event.recorded_at >= from)
            && self.to.is_none_or(|to| event.recorded_at <= to)
    }
}

/// Parses the value of a field for date and time. The pages use UTC.
fn moment(typed: &str) -> Result<Option<Timestamp>, String> {
    if typed.is_empty() {
        return Ok(None);
    }
    let moment = typed
        .parse::<DateTime>()
        .ok()
        .and_then(|moment| TimeZone::UTC.to_timestamp(moment).ok());
    moment
        .map(Some)
        .ok_or_else(|| "A time looks like 2026-01-31T12:00.".to_owned())
}

async fn log(
    Extract(state): Extract<State>,
    Extension(session): InSession,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let asked = Asked {
        after: shown::typed(&asked.after),
        category: shown::typed(&asked.category),
        id: shown::typed(&asked.id),
        name: shown::typed(&asked.name),
        from: shown::typed(&asked.from),
        to: shown::typed(&asked.to),
    };
    let head = state.bank.accounts.store().head().await?;
    let (wanted, error) = match Wanted::read(&asked) {
        Ok(wanted) => (wanted, None),
        Err(error) => (Wanted::default(), Some(error)),
    };
    let after = begin(&asked, &wanted, head);
    let found = find(&state, query(&asked, after), &wanted).await?;
    let definition = EventSourcedBank::definition();
    page(&LogPage {
        frame: Frame::new("log", &state, session),
        head,
        categories: definition
            .applications
            .iter()
            .flat_map(|part| part.aggregates.iter().copied())
            .collect(),
        error,
        next: found
            .next
            .filter(|next| *next < head)
            .map(|next| address(&asked, next)),
        stopped_at: found.is_cut_off.then_some(found.next).flatten(),
        events: found.events.iter().map(EventShown::new).collect(),
        asked,
    })
}

/// Returns the position at which the page begins: that of the newest events, unless the address has another one.
fn begin(asked: &Asked, wanted: &Wanted, head: Position) -> Position {
    match asked.after.parse() {
        Ok(after) => Position::new(after),
        Err(_) if wanted.is_all() && asked.category.is_empty() && asked.name.is_empty() => {
            Position::new(head.as_u64().saturating_sub(EVENTS_PER_PAGE as u64))
        }
        Err(_) => Position::ZERO,
    }
}

fn query(asked: &Asked, after: Position) -> LogQuery {
    let given = |text: &str| (!text.is_empty()).then(|| Name::from(text));
    LogQuery::after(after)
        .categories(given(&asked.category))
        .names(given(&asked.name))
}

/// Returns the address of the same filters at another position.
fn address(asked: &Asked, after: Position) -> String {
    let Asked {
        category,
        id,
        name,
        from,
        to,
        ..
    } = asked;
    let escape = |text: &str| -> String {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric();
        text.bytes()
            .map(|b| {
                if is_plain(&b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect()
    };
    let filters = [
        ("category", category),
        ("id", id),
        ("name", name),
        ("from", from),
        ("to", to),
    ];
    let given = filters.iter().filter(|(_, value)| !value.is_empty());
    given.fold(format!("/log?after={after}"), |address, (key, value)| {
        format!("{address}&{key}={}", escape(value))
    })
}

struct Found {
    events: Vec<StoredEvent>,
    next: Option<Position>,
    is_cut_off: bool,
}

async fn find(state: &State, query: LogQuery, wanted: &Wanted) -> Result<Found, Failure> {
    let limit = if wanted.is_all() {
        EVENTS_PER_PAGE
    } else {
        EVENTS_PER_READ
    };
    let mut query = query.limit(limit);
    let mut events = Vec::new();
    let mut scanned = 0;

    while scanned < EVENTS_SCANNED_MAX {
        let page = state.bank.accounts.log(query.clone()).await?;
        let read = page.events.len();
        for event in page.events.into_iter().filter(|event| wanted.allows(event)) {
            let position = event.position;
            events.push(event);
            if events.len() == EVENTS_PER_PAGE {
                return Ok(Found {
                    events,
                    next: Some(position),
                    is_cut_off: false,
                });
            }
        }
        if read < limit {
            return Ok(Found {
                events,
                next: None,
                is_cut_off: false,
            });
        }
        scanned += read;
        query.after = page.ceiling;
    }
    Ok(Found {
        events,
        next: Some(query.after),
        is_cut_off: true,
    })
}

impl EventShown {
    fn new(event: &StoredEvent) -> Self {
        let payload = shown::payload(event, ToString::to_string);
        let mut shortened: String = payload.chars().take(120).collect();
        if shortened.len() < payload.len() {
            shortened.push('…');
        }
        Self {
            position: event.position,
            name: event.name.to_string(),
            category: event.stream.category.to_string(),
            id: event.stream.id,
            short: shown::short(event.stream.id),
            version: event.version.as_u64(),
            at: shown::time(event.recorded_at),
            datetime: event.recorded_at.to_string(),
            payload: shortened,
        }
    }
}
