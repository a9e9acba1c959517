//! The system: its declaration, the state of its followers, and the check that they have processed every event once.
//! Followers that have stopped can be resumed.

use axum::extract::State as Extract;
use axum::http::StatusCode;
use eventsourcing::store::{Acknowledged, LogId};
use eventsourcing::system::{FollowerHealth, FollowerVerification};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::command::Command;
use super::extract::{Json, Path};
use super::problem::{Kind, Problem};
use crate::system::EventSourcedBank;
use crate::web::State;

/// The state of the followers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `true` if all followers work and nothing is parked.
    healthy: bool,
    followers: Vec<Follower>,
    /// The appends that hold back the log, each with what it waits for and since when. While they are open, followers
    /// see no event that was written after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log_held_back_by: Vec<String>,
    /// The accidents that an acknowledged event survives, for each log.
    acknowledged: Vec<AcknowledgedEvents>,
}

/// The accidents that an acknowledged event survives.
#[derive(Debug, Serialize, ToSchema)]
struct AcknowledgedEvents {
    /// The log of the events.
    log: Uuid,
    /// `true` if no acknowledged event is lost together with one machine.
    survives_loss_of_machine: bool,
    /// The same in words, with more detail and what to do for more safety.
    #[schema(
        example = "on the disks of one machine and of its synchronous standbys (ANY 1 (b)): it survives the loss of the machine"
    )]
    meaning: String,
}

impl From<(&LogId, &Acknowledged)> for AcknowledgedEvents {
    fn from((log, acknowledged): (&LogId, &Acknowledged)) -> Self {
        Self {
            log: log.as_uuid(),
            survives_loss_of_machine: acknowledged.survives_loss_of_machine(),
            meaning: acknowledged.to_string(),
        }
    }
}

/// The state of a follower.
#[derive(Debug, Serialize, ToSchema)]
struct Follower {
    #[schema(example = "ledger")]
    name: String,
    /// The position up to which the follower has processed every event.
    position: u64,
    /// The end of the log.
    head: u64,
    /// The number of events that the follower has not processed yet.
    lag: u64,
    /// The number of aggregates that the follower has parked.
    parked: u64,
    /// The number of timers that the follower has parked.
    parked_timers: u64,
    /// The time in seconds since the first event was recorded that the follower has not processed.
    behind_seconds: f64,
    /// `running`, `standing by`, `retrying`, `waiting for a newer release` or `stopped`.
    #[schema(example = "running")]
    state: String,
    /// The reason if the follower does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// The process that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    /// The number of timers that the follower has scheduled.
    timers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due: Option<String>,
}

impl From<&FollowerHealth> for Follower {
    fn from(health: &FollowerHealth) -> Self {
        Self {
            name: health.name.to_string(),
            position: health.position.as_u64(),
            head: health.head.as_u64(),
            lag: health.lag,
            parked: health.parked,
            parked_timers: health.parked_timers,
            behind_seconds: health.behind.as_secs_f64(),
            state: health.state.to_string(),
            failure: health.failure().map(ToString::to_string),
            process: health.holder.as_ref().map(|holder| holder.process.clone()),
            timers: health.timers,
            next_due: health.next_due.map(|due| due.to_string()),
        }
    }
}

/// Shows the state of the followers.
#[utoipa::path(get, path = "/followers", tag = "system",
    responses(
        (status = OK, body = Health),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn health(Extract(state): Extract<State>) -> Result<Json<Health>, Problem> {
    let health = state.bank.health().await?;
    let followers = health.followers.iter().map(Follower::from).collect();
    let log_held_back_by = health.log_holders.iter().map(ToString::to_string).collect();
    let acknowledged = health
        .acknowledged
        .iter()
        .map(AcknowledgedEvents::from)
        .collect();
    Ok(Json(Health {
        healthy: health.is_healthy(),
        followers,
        log_held_back_by,
        acknowledged,
    }))
}

/// The follower that was asked to resume.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resumed {
    #[schema(example = "ledger")]
    follower: String,
}

/// Resumes a follower that has stopped in this process.
///
/// If the follower fails again it stops again, and `/followers` has the reason. For a follower that works the request
/// has no effect, so a repeated request does no harm and gets the same answer, with or without an `Idempotency-Key`.
#[utoipa::path(post, path = "/followers/{follower}/resume", tag = "system",
    params(
        ("follower" = String, Path, example = "ledger"),
        ("Idempotency-Key" = Option<String>, Header, example = "resume-ledger"),
    ),
    responses(
        (status = ACCEPTED, body = Resumed),
        (status = NOT_FOUND, body = Problem, description = "there is no such follower", content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn resume(
    Extract(state): Extract<State>,
    Path(follower): Path<String>,
    command: Command,
) -> Result<(StatusCode, Json<Resumed>), Problem> {
    command.unconditional()?;
    let name = state.bank.find_follower(&follower);
    state
        .bank
        .resume(name.map_err(|_| unknown(&follower))?)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Resumed { follower })))
}

/// Reports that there is no such follower.
pub(super) fn unknown(follower: &str) -> Problem {
    let follower: String = follower.chars().take(100).collect();
    Problem::new(Kind::NotFound, format!("there is no follower {follower:?}"))
}

/// The declared system.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Declared {
    #[schema(example = "EventSourcedBank")]
    name: &'static str,
    applications: Vec<DeclaredApplication>,
    followers: Vec<DeclaredFollower>,
    /// The declaration as a Mermaid diagram.
    mermaid: String,
}

/// An application and the aggregates it owns.
#[derive(Debug, Serialize, ToSchema)]
struct DeclaredApplication {
    name: &'static str,
    aggregates: Vec<&'static str>,
}

/// A follower and what it follows.
#[derive(Debug, Serialize, ToSchema)]
struct DeclaredFollower {
    name: &'static str,
    /// `policy` or `projection`.
    kind: String,
    follows: Vec<Followed>,
}

/// An application and the aggregate in it that a follower follows.
#[derive(Debug, Serialize, ToSchema)]
struct Followed {
    application: &'static str,
    aggregate: &'static str,
}

/// Shows the applications with their aggregates, and the followers.
#[utoipa::path(get, path = "/system", tag = "system", responses((status = OK, body = Declared)))]
pub(super) async fn system() -> Json<Declared> {
    let definition = EventSourcedBank::definition();
    let mermaid = definition.to_mermaid();
    let applications = definition
        .applications
        .into_iter()
        .map(|application| DeclaredApplication {
            name: application.name,
            aggregates: application.aggregates,
        });
    let followers = definition.followers.into_iter().map(|follower| {
        let follows = follower.follows.iter().map(|follows| Followed {
            application: follows.application,
            aggregate: follows.aggregate,
        });
        DeclaredFollower {
            name: follower.name,
            kind: follower.kind.to_string(),
            follows: follows.collect(),
        }
    });
    let applications = applications.collect();
    let followers = followers.collect();

    Json(Declared {
        name: definition.name,
        applications,
        followers,
        mermaid,
    })
}

/// The outcome of the check of all followers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verified {
    agrees: bool,
    followers: Vec<VerifiedFollower>,
}

/// The outcome of the check of one follower.
#[derive(Debug, Serialize, ToSchema)]
struct VerifiedFollower {
    name: String,
    /// The number of events that the follower should have processed up to its position.
    events: u64,
    position: u64,
    agrees: bool,
    /// The differences from the log.
    differences: Vec<String>,
    /// The reason if the follower could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    unchecked: Option<String>,
}

impl From<&FollowerVerification> for VerifiedFollower {
    fn from(verified: &FollowerVerification) -> Self {
        Self {
            name: verified.name.to_string(),
            events: verified.events,
            position: verified.position.as_u64(),
            agrees: verified.agrees(),
            differences: verified
                .differences
                .iter()
                .map(ToString::to_string)
                .collect(),
            unchecked: verified.unchecked.clone(),
        }
    }
}

/// Checks that every follower has processed every event exactly once. Reads checksums of the whole log.
#[utoipa::path(get, path = "/verify", tag = "system",
    responses(
        (status = OK, body = Verified),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn verify(Extract(state): Extract<State>) -> Result<Json<Verified>, Problem> {
    let verification = state.bank.verify().await?;
    let followers = verification
        .followers
        .iter()
        .map(VerifiedFollower::from)
        .collect();
    Ok(Json(Verified {
        agrees: verification.agrees(),
        followers,
    }))
}
