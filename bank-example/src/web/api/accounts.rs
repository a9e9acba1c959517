//! Accounts: open one, show it, list them.

use axum::extract::State as Extract;
use axum::http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use eventsourcing::store::{Position, StreamQuery, Version};
use eventsourcing::{Application, Id, Root};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::amount::Amount;
use super::command::{Command, Done, Waiting, etag};
use super::examples::ALICE;
use super::extract::{Json, Path, Query, limit, text};
use super::log::LogEvent;
use super::problem::Problem;
use crate::application::accounts::AccountService;
use crate::application::summaries::{AccountSummary, Listing};
use crate::domain::account::Account as Aggregate;
use crate::web::State;

/// An account at a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    id: Uuid,
    #[schema(example = "Alice")]
    owner: String,
    balance: Amount,
    /// The number of its events.
    #[schema(example = 3)]
    version: u64,
}

impl From<&Root<Aggregate>> for Account {
    fn from(account: &Root<Aggregate>) -> Self {
        let id = account.id().as_uuid();
        let version = account.version().as_u64();

        Self {
            id,
            owner: account.owner.clone(),
            balance: Amount(account.balance),
            version,
        }
    }
}

/// The result of a command on an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// The account as the command left it.
    account: Account,
    /// The position of the command's event in the log.
    position: u64,
}

/// The account to open.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// The name of the owner.
    #[schema(min_length = 1, max_length = 200, example = "Alice")]
    owner: String,
}

/// Opens an account.
#[utoipa::path(post, path = "/accounts", tag = "accounts",
    params(Waiting, ("Idempotency-Key" = Option<String>, Header, example = "open-alice")),
    request_body(content = NewAccount, example = json!({ "owner": "Alice" })),
    responses(
        (status = CREATED, body = Changed, headers(("ETag" = String), ("Location" = String))),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn open(
    Extract(state): Extract<State>,
    command: Command,
    Json(request): Json<NewAccount>,
) -> Result<Response, Problem> {
    command.unconditional()?;
    let once = command.of("POST /accounts", &request);
    let id = once.handle(&state.bank.accounts).new_id::<Aggregate>();
    let run = async |handle: Application| {
        let accounts = AccountService::from(handle);
        Ok(accounts.open(&request.owner).await?.receipt)
    };
    let done = once
        .carry_out(&state.bank.accounts, id.stream(), run)
        .await?;
    let location =
        HeaderValue::from_str(&format!("/api/accounts/{id}")).expect("hexadecimal digits");
    let answer = changed(&state, &command, id, done).await?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], answer).into_response())
}

/// Answers with the account at the event of the command, without later changes.
pub(super) async fn changed(
    state: &State,
    command: &Command,
    id: Id<Aggregate>,
    done: Done,
) -> Result<Response, Problem> {
    let waited = command.wait(state, &done.receipt).await;
    let account = state.bank.accounts.load_at(id, done.event.version).await?;
    let tag = [(ETAG, etag(account.version()))];
    let answer = Changed {
        account: (&account).into(),
        position: done.receipt.position.as_u64(),
    };
    let mut response = (tag, Json(answer)).into_response();
    response.headers_mut().extend(waited);
    Ok(response)
}

/// The selection of accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AccountsQuery {
    /// Only accounts whose owner's name contains this text, in upper or lower case.
    #[param(max_length = 200, example = "ali")]
    owner: Option<String>,
    /// Continue after this position: `next` of the previous page.
    #[param(example = 0)]
    after: Option<u64>,
    /// The largest number of accounts; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
}

/// A page of accounts, in the order in which they were opened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accounts {
    accounts: Vec<Summary>,
    /// The position after which the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// One account in a list. It may be a moment behind the account itself.
#[derive(Debug, Serialize, ToSchema)]
struct Summary {
    id: Uuid,
    owner: String,
    balance: Amount,
    version: u64,
    /// The number of credits and debits.
    movements: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_movement: Option<String>,
    /// The position at which it was opened.
    opened: u64,
}

impl From<AccountSummary> for Summary {
    fn from(summary: AccountSummary) -> Self {
        Self {
            id: summary.account.as_uuid(),
            owner: summary.owner,
            balance: Amount(summary.balance),
            version: summary.version.as_u64(),
            movements: summary.movements,
            last_movement: summary.last_movement.map(|last| last.to_string()),
            opened: summary.opened.as_u64(),
        }
    }
}

/// Lists accounts.
#[utoipa::path(get, path = "/accounts", tag = "accounts", params(AccountsQuery),
    responses(
        (status = OK, body = Accounts),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Query(query): Query<AccountsQuery>,
) -> Result<Json<Accounts>, Problem> {
    let owner = text("owner", query.owner)?.unwrap_or_default();
    let limit = limit(query.limit)?;

    let after = Position::new(query.after.unwrap_or_default());
    let accounts = state
        .bank
        .summaries
        .list(Listing {
            owner: &owner,
            after,
            limit,
        })
        .await?;
    let next = accounts
        .last()
        .filter(|_| accounts.len() == limit)
        .map(|last| last.opened.as_u64());
    Ok(Json(Accounts {
        accounts: accounts.into_iter().map(Summary::from).collect(),
        next,
    }))
}

/// Shows an account as it is now.
#[utoipa::path(get, path = "/accounts/{id}", tag = "accounts",
    params(
        ("id" = Uuid, Path, example = json!(ALICE)),
        ("If-None-Match" = Option<String>, Header, description = "answers 304 if the account is at this version"),
    ),
    responses(
        (status = OK, body = Account, headers(("ETag" = String, description = "the version of the account"))),
        (status = NOT_MODIFIED),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn one(
    Extract(state): Extract<State>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let account = state
        .bank
        .accounts
        .load(Id::<Aggregate>::from_uuid(id))
        .await?;
    let tag = etag(account.version());
    if headers.get(IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], Json(Account::from(&account))).into_response())
}

/// Shows an account as it was at a version.
#[utoipa::path(get, path = "/accounts/{id}/versions/{version}", tag = "accounts",
    params(
        ("id" = Uuid, Path, example = json!(ALICE)),
        ("version" = u64, Path, minimum = 1, example = 1),
    ),
    responses(
        (status = OK, body = Account),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn at(
    Extract(state): Extract<State>,
    Path((id, version)): Path<(Uuid, u64)>,
) -> Result<Json<Account>, Problem> {
    let id = Id::<Aggregate>::from_uuid(id);
    Ok(Json(
        (&state
            .bank
            .accounts
            .load_at(id, Version::new(version))
            .await?)
            .into(),
    ))
}

/// The events of an account, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    events: Vec<LogEvent>,
    /// The version after which the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// The part of the history to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Continue after this version: `next` of the previous page.
    #[param(example = 0)]
    after: Option<u64>,
    /// The largest number of events; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
}

/// Lists the events of an account.
#[utoipa::path(get, path = "/accounts/{id}/history", tag = "accounts",
    params(("id" = Uuid, Path, example = json!(ALICE)), HistoryQuery),
    responses(
        (status = OK, body = History),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn history(
    Extract(state): Extract<State>,
    Path(id): Path<Uuid>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    let id = Id::<Aggregate>::from_uuid(id);
    let limit = limit(query.limit)?;

    let from = Version::new(query.after.unwrap_or_default()).next();
    let query = StreamQuery::new(id.stream()).from(from).limit(limit);
    let events = state.bank.accounts.store().read_stream(query).await?;
    if events.is_empty() {
        state.bank.accounts.load(id).await?;
    }
    let next = events
        .last()
        .filter(|_| events.len() == limit)
        .map(|last| last.version.as_u64());
    Ok(Json(History {
        events: events
            .iter()
            .map(LogEvent::read)
            .collect::<Result<_, _>>()?,
        next,
    }))
}
