//! The account page: the balance over time, event by event, and the account as it was after each of them.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Path, Query, State as Extract};
use axum::response::Response;
use axum::routing::get;
use eventsourcing::store::{EventStore as _, LogPage, Position, StreamQuery, Version};
use eventsourcing::{Id, RecordedEvent};
use serde::Deserialize;

use super::bank::done;
use super::chart::Chart;
use super::forms::Forms;
use super::{Failure, Frame, InSession, page, shown};
use crate::domain::account::{Account, AccountEvent};
use crate::domain::{Money, ZERO};
use crate::web::State;
use crate::web::security::Session;

/// The number of events that are drawn and listed at once.
const EVENTS_PER_PAGE: u64 = 100;

pub(super) fn router() -> Router<State> {
    Router::new().route("/accounts/{id}", get(account))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// The selected version.
    at: String,
    /// The last version that is listed.
    to: String,
    done: String,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    done: Option<&'static str>,
    id: Id<Account>,
    owner: String,
    balance: String,
    latest: u64,
    /// The selected version.
    at: u64,
    then: Then,
    chart: Chart,
    /// The first and the last version that are listed.
    from: u64,
    to: u64,
    events: Vec<EventShown>,
    forms: Forms,
}

/// The account at the selected version, and the event that led there.
struct Then {
    owner: String,
    balance: String,
    /// The balance before the event.
    before: Option<String>,
    name: &'static str,
    at: String,
}

struct EventShown {
    version: u64,
    position: Position,
    name: &'static str,
    amount: Option<String>,
    balance: String,
    at: String,
    datetime: String,
    actor: String,
    /// The rest of the metadata.
    metadata: Vec<(String, String)>,
}

async fn account(
    Extract(state): Extract<State>,
    Extension(session): InSession,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let id = id
        .parse::<Id<Account>>()
        .map_err(|error| Failure::NotFound(error.to_string()))?;
    show(
        &state,
        id,
        &asked,
        Frame::new("bank", &state, session),
        Forms::empty(Some(id)),
    )
    .await
}

/// Shows the page with forms as they were filled in.
pub(super) async fn with_forms(
    state: &State,
    session: Session,
    id: Id<Account>,
    forms: Forms,
) -> Result<Response, Failure> {
    let frame = Frame::new("bank", state, session).at(Some(format!("/accounts/{id}")));
    show(state, id, &Asked::default(), frame, forms).await
}

async fn show(
    state: &State,
    id: Id<Account>,
    asked: &Asked,
    frame: Frame,
    forms: Forms,
) -> Result<Response, Failure> {
    let account = state.bank.accounts.load(id).await?;
    let latest = account.version().as_u64();
    let at = asked.at.parse().unwrap_or(latest).clamp(1, latest);
    let (from, to) = window(at, asked.to.parse().ok(), latest);
    let (before, history) = history(state, id, from, to).await?;
    let balances = balances(before, &history);
    page(&AccountPage {
        frame,
        done: done(&asked.done),
        id,
        owner: account.owner.clone(),
        balance: shown::money(account.balance),
        latest,
        at,
        then: then(
            state,
            id,
            at,
            &history[usize::try_from(at - from).unwrap_or_default()],
        )
        .await?,
        chart: Chart::new(from, &balances, at),
        from,
        to,
        events: history
            .iter()
            .zip(&balances)
            .map(|(event, balance)| EventShown::new(event, *balance))
            .collect(),
        forms,
    })
}

/// Returns the first and the last version to list: those up to `to`, or around the selected one.
fn window(at: u64, to: Option<u64>, latest: u64) -> (u64, u64) {
    let first = |to: u64| to.saturating_sub(EVENTS_PER_PAGE - 1).max(1);
    let to = to.unwrap_or(latest).clamp(1, latest);
    let to = if (first(to)..=to).contains(&at) {
        to
    } else {
        latest.min(at + EVENTS_PER_PAGE / 2)
    };
    (first(to), to)
}

/// Returns the balance before `from`, and the events from there on.
async fn history(
    state: &State,
    id: Id<Account>,
    from: u64,
    to: u64,
) -> Result<(Money, Vec<RecordedEvent<Account>>), Failure> {
    let accounts = &state.bank.accounts;
    let before = match from {
        1 => ZERO,
        from => accounts.load_at(id, Version::new(from - 1)).await?.balance,
    };
    let query = StreamQuery::new(id.stream())
        .from(Version::new(from))
        .to(Version::new(to));
    let events = accounts.store().read_stream(query).await?;
    let history = LogPage {
        events,
        ceiling: Position::ZERO,
        epoch: accounts.store().epoch(),
    }
    .decode()?;
    Ok((before, history))
}

fn balances(before: Money, history: &[RecordedEvent<Account>]) -> Vec<Money> {
    let fold = |balance: &mut Money, event: &RecordedEvent<Account>| {
        *balance += change(event).unwrap_or_default();
        Some(*balance)
    };
    history.iter().scan(before, fold).collect()
}

fn change(event: &RecordedEvent<Account>) -> Option<Money> {
    match event.payload {
        AccountEvent::Opened { .. } => None,
        AccountEvent::Credited { amount } => Some(amount),
        AccountEvent::Debited { amount } => Some(-amount),
    }
}

async fn then(
    state: &State,
    id: Id<Account>,
    at: u64,
    event: &RecordedEvent<Account>,
) -> Result<Then, Failure> {
    let accounts = &state.bank.accounts;
    let account = accounts.load_at(id, Version::new(at)).await?;
    let before = match at {
        1 => None,
        at => Some(shown::money(
            accounts.load_at(id, Version::new(at - 1)).await?.balance,
        )),
    };
    Ok(Then {
        owner: account.owner.clone(),
        balance: shown::money(account.balance),
        before,
        name: event.name(),
        at: shown::time(event.recorded_at),
    })
}

impl EventShown {
    fn new(event: &RecordedEvent<Account>, balance: Money) -> Self {
        let metadata = &event.metadata;
        let mut rest = Vec::new();
        if let Some(correlation) = metadata.correlation_id {
            rest.push(("correlation".to_owned(), shown::short(correlation)));
        }
        if let Some(cause) = &metadata.causation {
            rest.push((
                "because of".to_owned(),
                format!(
                    "{} {} at {}",
                    cause.category,
                    shown::short(cause.id),
                    cause.version
                ),
            ));
        }
        rest.extend(
            metadata
                .extra
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        Self {
            version: event.version.as_u64(),
            position: event.position,
            name: event.name(),
            amount: change(event).map(shown::money),
            balance: shown::money(balance),
            at: shown::time(event.recorded_at),
            datetime: event.recorded_at.to_string(),
            actor: metadata.actor.clone().unwrap_or_default(),
            metadata: rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_is_looked_at_is_always_listed() {
        assert_eq!(window(5, None, 5), (1, 5));
        assert_eq!(window(1_000, None, 1_000), (901, 1_000));
        assert_eq!(window(950, Some(960), 1_000), (861, 960));
        for (at, to) in [
            (1, None),
            (500, None),
            (500, Some(1)),
            (500, Some(u64::MAX)),
            (1_000, Some(3)),
        ] {
            let (from, to) = window(at, to, 1_000);
            assert!(
                (from..=to).contains(&at) && to - from < EVENTS_PER_PAGE && to <= 1_000,
                "{at}: {from} to {to}"
            );
        }
    }
}
