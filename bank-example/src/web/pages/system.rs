//! The system page: the declared system, the state of each follower, and the actions on stopped followers and parked
//! events.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use eventsourcing::store::{Position, StreamId};
use eventsourcing::system::{FollowerHealth, FollowerState, Parked, ParkedTimer};
use eventsourcing::{Receipt, SystemError};
use serde::Deserialize;
use uuid::Uuid;

use super::forms::OUTDATED;
use super::graph::{Condition, Graph};
use super::{Failure, Frame, InSession, page, shown};
use crate::system::EventSourcedBank;
use crate::web::State;
use crate::web::security::{Sent, Session};

/// The time to wait for the outcome of an action, so that the page can show it.
const TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn router() -> Router<State> {
    Router::new()
        .route("/system", get(system))
        .route("/system/resume", post(resume))
        .route("/system/retry", post(retry))
        .route("/system/give-up", post(give_up))
        .route("/system/timers/retry", post(retry_timer))
        .route("/system/timers/discard", post(discard_timer))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    done: String,
}

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    frame: Frame,
    done: Option<&'static str>,
    /// The reason for which a form was not carried out.
    refused: Option<&'static str>,
    name: &'static str,
    head: Position,
    trouble: Vec<String>,
    graph: Graph,
    followers: Vec<FollowerShown>,
    parked: Vec<ParkedShown>,
    parked_timers: Vec<TimerShown>,
}

struct FollowerShown {
    name: String,
    kind: String,
    condition: Condition,
    state: String,
    position: Position,
    lag: u64,
    behind: String,
    holder: String,
    timers: String,
    parked: u64,
    /// The reason if the follower does not work.
    failure: Option<String>,
    has_stopped: bool,
}

struct ParkedShown {
    follower: &'static str,
    category: String,
    id: Uuid,
    name: String,
    version: u64,
    position: Position,
    cause: String,
    since: String,
    attempts: u32,
    waiting: u64,
    /// The reason for discarding the event, if one was entered already.
    reason: String,
}

struct TimerShown {
    follower: &'static str,
    key: String,
    due: String,
    cause: String,
    since: String,
    attempts: u32,
}

async fn system(
    Extract(state): Extract<State>,
    Extension(session): InSession,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    page(&system_page(&state, session, done(&asked.done)).await?)
}

/// Shows the page again, with its values, after a form had the token of another session.
async fn outdated(
    state: &State,
    Extension(session): InSession,
    typed: &Stream,
) -> Result<Response, Failure> {
    let mut shown = system_page(state, session, None).await?;
    shown.refused = Some(OUTDATED);
    shown.frame.address = Some("/system".to_owned());
    for parked in &mut shown.parked {
        if parked.follower == typed.follower
            && parked.category == typed.category
            && parked.id.to_string() == typed.id
        {
            parked.reason.clone_from(&typed.reason);
        }
    }
    Ok((StatusCode::FORBIDDEN, page(&shown)?).into_response())
}

async fn system_page(
    state: &State,
    session: Session,
    done: Option<&'static str>,
) -> Result<SystemPage, Failure> {
    let definition = EventSourcedBank::definition();
    let health = state.bank.health().await?;
    let conditions: Vec<_> = health
        .followers
        .iter()
        .map(|follower| (follower.name.as_str(), condition(follower)))
        .collect();
    let kind = |name: &str| {
        let known = definition
            .followers
            .iter()
            .find(|follower| follower.name == name);
        known
            .map(|follower| follower.kind.to_string())
            .unwrap_or_default()
    };
    let followers = health
        .followers
        .iter()
        .map(|follower| FollowerShown::new(follower, kind(follower.name.as_str())));
    Ok(SystemPage {
        frame: Frame::new("system", state, session),
        done,
        refused: None,
        name: definition.name,
        head: health
            .followers
            .iter()
            .map(|follower| follower.head)
            .max()
            .unwrap_or_default(),
        trouble: health.followers.iter().filter_map(trouble).collect(),
        graph: Graph::new(&definition, &conditions),
        followers: followers.collect(),
        parked: parked(state).await?,
        parked_timers: parked_timers(state).await?,
    })
}

fn condition(follower: &FollowerHealth) -> Condition {
    match &follower.state {
        FollowerState::Stopped(_) => Condition::Failed,
        _ if follower.has_parked() => Condition::Failed,
        FollowerState::Retrying(_) | FollowerState::WaitingForRelease(_) => Condition::Waiting,
        _ => Condition::Running,
    }
}

/// Returns the message about a failed follower for the top of the page.
fn trouble(follower: &FollowerHealth) -> Option<String> {
    let name = &follower.name;
    match &follower.state {
        FollowerState::Stopped(failure) => Some(format!(
            "{name} has stopped before position {}. Fix the cause and press \"Try again\" below; the follower continues there.",
            failure.position
        )),
        FollowerState::Retrying(failure) => Some(format!(
            "{name} failed at position {} and retries.",
            failure.position
        )),
        FollowerState::WaitingForRelease(failure) => Some(format!(
            "{name} is waiting for a newer release: this one does not know the event at position {}. Start the bank with that \
             release; the follower skips nothing meanwhile.",
            failure.position
        )),
        _ if follower.parked > 0 => Some(format!(
            "{name} has parked events of {}, see below.",
            plural(follower.parked, "aggregate")
        )),
        _ if follower.parked_timers > 0 => Some(format!(
            "{name} has parked {}, see below.",
            plural(follower.parked_timers, "timer")
        )),
        _ => None,
    }
}

fn plural(count: u64, of: &str) -> String {
    if count == 1 {
        format!("1 {of}")
    } else {
        format!("{count} {of}s")
    }
}

fn done(done: &str) -> Option<&'static str> {
    match done {
        "retried" => Some("The follower has processed the event and all events behind it."),
        "failed" => Some("The retry failed; the reason is below."),
        "given-up" => Some(
            "The event is discarded. Events behind it, if any, stay parked until they are retried.",
        ),
        "timer-retried" => Some("The follower has processed the timer."),
        "discarded" => Some("The timer is discarded."),
        "resumed" => Some(
            "The follower continues where it had stopped. If it fails again, the reason appears below.",
        ),
        "stopped" => {
            Some("The follower has retried, failed, and stopped again; the reason is below.")
        }
        "works" => Some("The follower was running again already: another user was faster."),
        "gone" => Some("The event was not parked any more: another user was faster."),
        _ => None,
    }
}

async fn parked(state: &State) -> Result<Vec<ParkedShown>, Failure> {
    let mut all = Vec::new();
    for follower in EventSourcedBank::definition().followers {
        let parked = state
            .bank
            .parking(state.bank.find_follower(follower.name)?)?
            .list()
            .await?;
        all.extend(
            parked
                .into_iter()
                .map(|parked| ParkedShown::new(follower.name, parked)),
        );
    }
    Ok(all)
}

async fn parked_timers(state: &State) -> Result<Vec<TimerShown>, Failure> {
    let mut all = Vec::new();
    for follower in EventSourcedBank::definition().followers {
        let timers = state
            .bank
            .parking(state.bank.find_follower(follower.name)?)?
            .timers()
            .await?;
        all.extend(
            timers
                .into_iter()
                .map(|timer| TimerShown::new(follower.name, timer)),
        );
    }
    Ok(all)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stopped {
    follower: String,
}

async fn resume(
    Extract(state): Extract<State>,
    session: InSession,
    form: Sent<Stopped>,
) -> Result<Response, Failure> {
    let Sent::Signed { fields, .. } = form else {
        return outdated(&state, session, &Stream::default()).await;
    };
    let follower = &fields.follower;
    let before = stopped_before(&state, follower).await?;
    let outcome = match (
        state
            .bank
            .resume(state.bank.find_follower(follower)?)
            .await?,
        before,
    ) {
        (false, _) => "works",
        (true, None) => "resumed",
        (true, Some(position)) => resume_outcome(&state, follower, position).await,
    };
    Ok(Redirect::to(&format!("/system?done={outcome}")).into_response())
}

/// Returns the position before which a follower has stopped.
async fn stopped_before(state: &State, follower: &str) -> Result<Option<Position>, Failure> {
    let followers = state.bank.health().await?.followers;
    let mut stopped = followers
        .iter()
        .filter(|health| health.name == *follower && has_stopped(health));
    Ok(stopped
        .find_map(FollowerHealth::failure)
        .map(|failure| failure.position))
}

async fn resume_outcome(state: &State, follower: &str, position: Position) -> &'static str {
    let event = Receipt::at(state.bank.accounts.store().log_id(), position);
    let Ok(follower) = state.bank.find_follower(follower) else {
        return "resumed";
    };
    match state.bank.wait_for(&event, follower, TIMEOUT).await {
        Err(SystemError::FollowerStopped(_)) => "stopped",
        _ => "resumed",
    }
}

fn has_stopped(follower: &FollowerHealth) -> bool {
    matches!(follower.state, FollowerState::Stopped(_))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    follower: String,
    category: String,
    id: String,
    reason: String,
}

impl Stream {
    fn id(&self) -> Result<StreamId, Failure> {
        let id = Uuid::try_parse(&self.id)
            .map_err(|_| Failure::Refused("The id is not valid.".to_owned()))?;
        Ok(StreamId::new(shown::typed(&self.category), id))
    }
}

async fn retry(
    Extract(state): Extract<State>,
    session: InSession,
    form: Sent<Stream>,
) -> Result<Response, Failure> {
    let (fields, actor) = match form {
        Sent::Signed { fields, actor } => (fields, actor),
        Sent::Outdated { fields } => return outdated(&state, session, &fields).await,
    };
    let parking = state
        .bank
        .parking(state.bank.find_follower(&fields.follower)?)?
        .by(actor);
    let outcome = match parking.retry(&fields.id()?).await {
        Ok(retried) if retried.failure.is_none() => "retried",
        Ok(_) => "failed",
        Err(SystemError::NotParked { .. }) => "gone",
        Err(error) => return Err(error.into()),
    };
    Ok(Redirect::to(&format!("/system?done={outcome}")).into_response())
}

async fn give_up(
    Extract(state): Extract<State>,
    session: InSession,
    form: Sent<Stream>,
) -> Result<Response, Failure> {
    let (fields, actor) = match form {
        Sent::Signed { fields, actor } => (fields, actor),
        Sent::Outdated { fields } => return outdated(&state, session, &fields).await,
    };
    let reason = shown::typed(&fields.reason);
    if reason.is_empty() {
        return Err(Failure::Refused(
            "Discarding an event needs a reason. Nothing was done.".to_owned(),
        ));
    }
    let outcome = match state
        .bank
        .parking(state.bank.find_follower(&fields.follower)?)?
        .by(actor)
        .discard(&fields.id()?, &reason)
        .await
    {
        Ok(()) => "given-up",
        Err(SystemError::NotParked { .. }) => "gone",
        Err(error) => return Err(error.into()),
    };
    Ok(Redirect::to(&format!("/system?done={outcome}")).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TimerAsked {
    follower: String,
    key: String,
    reason: String,
}

async fn retry_timer(
    Extract(state): Extract<State>,
    session: InSession,
    form: Sent<TimerAsked>,
) -> Result<Response, Failure> {
    let Sent::Signed { fields, actor } = form else {
        return outdated(&state, session, &Stream::default()).await;
    };
    let outcome = match state
        .bank
        .parking(state.bank.find_follower(&fields.follower)?)?
        .by(actor)
        .retry_timer(&fields.key)
        .await
    {
        Ok(None) => "timer-retried",
        Ok(Some(_)) => "failed",
        Err(SystemError::NotParked { .. }) => "gone",
        Err(error) => return Err(error.into()),
    };
    Ok(Redirect::to(&format!("/system?done={outcome}")).into_response())
}

async fn discard_timer(
    Extract(state): Extract<State>,
    session: InSession,
    form: Sent<TimerAsked>,
) -> Result<Response, Failure> {
    let Sent::Signed { fields, actor } = form else {
        return outdated(&state, session, &Stream::default()).await;
    };
    let reason = shown::typed(&fields.reason);
    if reason.is_empty() {
        return Err(Failure::Refused(
            "Discarding a timer needs a reason. Nothing was done.".to_owned(),
        ));
    }
    let outcome = match state
        .bank
        .parking(state.bank.find_follower(&fields.follower)?)?
        .by(actor)
        .discard_timer(&fields.key, &reason)
        .await
    {
        Ok(()) => "discarded",
        Err(SystemError::NotParked { .. }) => "gone",
        Err(error) => return Err(error.into()),
    };
    Ok(Redirect::to(&format!("/system?done={outcome}")).into_response())
}

impl FollowerShown {
    fn new(follower: &FollowerHealth, kind: String) -> Self {
        let timers = match (follower.timers, follower.next_due) {
            (0, _) => "none".to_owned(),
            (timers, Some(due)) => format!("{timers}, next due {}", shown::time(due)),
            (timers, None) => timers.to_string(),
        };
        let state = match &follower.state {
            FollowerState::Stopped(_) => "stopped".to_owned(),
            _ if follower.has_parked() => {
                format!("{} parked", follower.parked + follower.parked_timers)
            }
            state => state.to_string(),
        };
        Self {
            name: follower.name.to_string(),
            kind,
            condition: condition(follower),
            state,
            position: follower.position,
            lag: follower.lag,
            behind: if follower.lag == 0 {
                String::new()
            } else {
                format!("{:.1} s behind", follower.behind.as_secs_f64())
            },
            holder: follower
                .holder
                .as_ref()
                .map(|holder| holder.process.clone())
                .unwrap_or_default(),
            timers,
            parked: follower.parked + follower.parked_timers,
            failure: follower.failure().map(|failure| {
                format!(
                    "{} ({}): {}",
                    failure.position, failure.event, failure.cause
                )
            }),
            has_stopped: has_stopped(follower),
        }
    }
}

impl ParkedShown {
    fn new(follower: &'static str, parked: Parked) -> Self {
        Self {
            follower,
            category: parked.stream.category.to_string(),
            id: parked.stream.id,
            name: parked.name.to_string(),
            version: parked.version.as_u64(),
            position: parked.position,
            cause: parked.cause,
            since: shown::time(parked.since),
            attempts: parked.attempts,
            waiting: parked.waiting,
            reason: String::new(),
        }
    }
}

impl TimerShown {
    fn new(follower: &'static str, timer: ParkedTimer) -> Self {
        let ParkedTimer {
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
            due: shown::time(due),
            cause,
            since: shown::time(since),
            attempts,
        }
    }
}
