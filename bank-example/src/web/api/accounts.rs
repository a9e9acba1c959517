//! Accounts: open them, look at them, move money.

use axum::extract::State as Extract;
use axum::http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use eventsourcing_core::store::{Position, StoreError, StreamQuery, Version};
use eventsourcing_core::{AppError, Application, Id, Receipt, Rejected, Root};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::amount::Amount;
use super::command::{Command, Done, Expected, Waiting, etag, moved};
use super::examples::{ALICE, BOB};
use super::extract::{Json, Path, Query, limit, text};
use super::log::LogEvent;
use super::problem::{Kind, Problem};
use crate::application::accounts::AccountService;
use crate::application::summaries::{AccountSummary, Listing};
use crate::domain::account::{Account as Aggregate, AccountEvent};
use crate::domain::{BankError, Money};
use crate::web::State;

/// An account at a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    id: Uuid,
    #[schema(example = "Alice")]
    owner: String,
    balance: Amount,
    /// How many events it has.
    #[schema(example = 3)]
    version: u64,
}

impl From<&Root<Aggregate>> for Account {
    fn from(account: &Root<Aggregate>) -> Self {
        let (id, version) = (account.id().as_uuid(), account.version().as_u64());
        Self { id, owner: account.owner.clone(), balance: Amount(account.balance), version }
    }
}

/// What a command has made of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// The account as the command has left it.
    account: Account,
    /// The position of the command's event in the log.
    position: u64,
}

/// An account to be opened.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// Whose it is.
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
        AccountService::from(handle.clone()).open(&request.owner).await?;
        handle.first_receipt().await?.ok_or_else(|| Problem::new(Kind::Unavailable, "ask again"))
    };
    let done = once.carry_out(&state.bank.accounts, id.stream(), run).await?;
    let location = HeaderValue::from_str(&format!("/api/accounts/{id}")).expect("hexadecimal digits");
    let answer = changed(&state, &command, id, done).await?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], answer).into_response())
}

/// The account at the event of the command, whatever has happened to it since.
async fn changed(state: &State, command: &Command, id: Id<Aggregate>, done: Done) -> Result<Response, Problem> {
    let waited = command.wait(state, &done.receipt).await;
    let account = state.bank.accounts.load_at(id, done.event.version).await?;
    let tag = [(ETAG, etag(account.version()))];
    let answer = Changed { account: (&account).into(), position: done.receipt.position.as_u64() };
    let mut response = (tag, Json(answer)).into_response();
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Which accounts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AccountsQuery {
    /// Only those whose owner has this in the name, in capitals or not.
    #[param(max_length = 200, example = "ali")]
    owner: Option<String>,
    /// Continue after it: `next` of the page before.
    #[param(example = 0)]
    after: Option<u64>,
    /// How many at most; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
}

/// A page of accounts, in the order in which they were opened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accounts {
    accounts: Vec<Summary>,
    /// Where the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// One line about an account. It may be a moment behind; the account itself is not.
#[derive(Debug, Serialize, ToSchema)]
struct Summary {
    id: Uuid,
    owner: String,
    balance: Amount,
    version: u64,
    /// How many credits and debits there were.
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
    let (owner, limit) = (text("owner", query.owner)?.unwrap_or_default(), limit(query.limit)?);
    let after = Position::new(query.after.unwrap_or_default());
    let accounts = state.bank.summaries.list(Listing { owner: &owner, after, limit }).await?;
    let next = accounts.last().filter(|_| accounts.len() == limit).map(|last| last.opened.as_u64());
    Ok(Json(Accounts { accounts: accounts.into_iter().map(Summary::from).collect(), next }))
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
    let account = state.bank.accounts.load(Id::<Aggregate>::from_uuid(id)).await?;
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
    Ok(Json((&state.bank.accounts.load_at(id, Version::new(version)).await?).into()))
}

/// Everything that has happened to an account, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    events: Vec<LogEvent>,
    /// After which version the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Which part of a history is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Continue after this version: `next` of the page before.
    #[param(example = 0)]
    after: Option<u64>,
    /// How many events at most; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
}

/// Lists what has happened to an account.
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
    let (id, limit) = (Id::<Aggregate>::from_uuid(id), limit(query.limit)?);
    let from = Version::new(query.after.unwrap_or_default()).next();
    let query = StreamQuery::new(id.stream()).from(from).limit(limit);
    let events = state.bank.accounts.store().read_stream(query).await?;
    if events.is_empty() {
        state.bank.accounts.load(id).await?;
    }
    let next = events.last().filter(|_| events.len() == limit).map(|last| last.version.as_u64());
    Ok(Json(History { events: events.iter().map(LogEvent::read).collect::<Result<_, _>>()?, next }))
}

/// Money to be put on an account, or taken from it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Movement {
    /// More than nothing, at most 999999999999.99, with at most two decimal places.
    amount: Amount,
}

/// Puts money on an account.
#[utoipa::path(post, path = "/accounts/{id}/credit", tag = "accounts",
    params(
        ("id" = Uuid, Path, example = json!(ALICE)), Waiting,
        ("Idempotency-Key" = Option<String>, Header, example = "credit-alice"),
        ("If-Match" = Option<String>, Header, description = "the ETag of the account; 412 if it has moved"),
    ),
    request_body(content = Movement, example = json!({ "amount": "20.00" })),
    responses(
        (status = OK, body = Changed, headers(("ETag" = String))),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn credit(
    state: Extract<State>,
    id: Path<Uuid>,
    command: Command,
    movement: Json<Movement>,
) -> Result<Response, Problem> {
    moves(state, id, command, movement, "credit", Aggregate::credit).await
}

/// Takes money from an account.
#[utoipa::path(post, path = "/accounts/{id}/debit", tag = "accounts",
    params(
        ("id" = Uuid, Path, example = json!(ALICE)), Waiting,
        ("Idempotency-Key" = Option<String>, Header, example = "debit-alice"),
        ("If-Match" = Option<String>, Header, description = "the ETag of the account; 412 if it has moved"),
    ),
    request_body(content = Movement, example = json!({ "amount": "5.00" })),
    responses(
        (status = OK, body = Changed, headers(("ETag" = String))),
        (status = CONFLICT, body = Problem, description = "there is not enough money", content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn debit(
    state: Extract<State>,
    id: Path<Uuid>,
    command: Command,
    movement: Json<Movement>,
) -> Result<Response, Problem> {
    moves(state, id, command, movement, "debit", Aggregate::debit).await
}

/// What an account decides about an amount.
type Decide = fn(&Aggregate, Money) -> Result<AccountEvent, BankError>;

async fn moves(
    Extract(state): Extract<State>,
    Path(id): Path<Uuid>,
    command: Command,
    Json(movement): Json<Movement>,
    what: &str,
    decide: Decide,
) -> Result<Response, Problem> {
    let (id, Amount(amount)) = (Id::<Aggregate>::from_uuid(id), movement.amount);
    let once = command.of(&format!("POST /accounts/{id}/{what}"), &movement);
    let run = async |handle: Application| match &command.expected {
        None => Ok(handle.update(id, |account| decide(account, amount)).await?),
        Some(expected) => {
            let mut account = handle.load(id).await?;
            if !expected.allows(account.version()) {
                return Err(moved(account.version()));
            }
            account.execute(|account| decide(account, amount))?;
            handle.save(&mut account).await.map_err(as_moved)
        }
    };
    let done = once.carry_out(&state.bank.accounts, id.stream(), run).await?;
    changed(&state, &command, id, done).await
}

/// Who expected a version is told that it is another one by now, and does not decide again.
fn as_moved(error: AppError) -> Problem {
    match error {
        AppError::Store(StoreError::Conflict { actual, .. }) => moved(actual),
        error => error.into(),
    }
}

/// Money to be moved to another account.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTransfer {
    /// The account that gets it.
    to: Uuid,
    /// More than nothing, at most 999999999999.99, with at most two decimal places.
    amount: Amount,
}

/// Money that was moved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transferred {
    from: Uuid,
    to: Uuid,
    amount: Amount,
    /// The position of the command's last event in the log.
    position: u64,
}

/// Moves money to another account, at once: both accounts change, or none.
#[utoipa::path(post, path = "/accounts/{id}/transfer", tag = "accounts",
    params(
        ("id" = Uuid, Path, description = "the account that gives", example = json!(ALICE)),
        Waiting,
        ("Idempotency-Key" = Option<String>, Header, example = "transfer-from-alice"),
        ("If-Match" = Option<String>, Header, description = "the ETag of the account that gives; 412 if it has moved"),
    ),
    request_body(content = NewTransfer, example = json!({ "to": BOB, "amount": "5.00" })),
    responses(
        (status = OK, body = Transferred),
        (status = CONFLICT, body = Problem, description = "there is not enough money", content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn transfer(
    Extract(state): Extract<State>,
    Path(from): Path<Uuid>,
    command: Command,
    Json(request): Json<NewTransfer>,
) -> Result<Response, Problem> {
    let once = command.of(&format!("POST /accounts/{from}/transfer"), &request);
    let (giving, taking) = (Id::<Aggregate>::from_uuid(from), Id::<Aggregate>::from_uuid(request.to));
    let Amount(amount) = request.amount;
    let run = async |handle: Application| match &command.expected {
        None => Ok(AccountService::from(handle).transfer(giving, taking, amount).await?),
        Some(expected) => expecting(handle, expected, (giving, taking), amount).await,
    };
    let Done { receipt, .. } = once.carry_out(&state.bank.accounts, taking.stream(), run).await?;
    let waited = command.wait(&state, &receipt).await;
    let position = receipt.position.as_u64();
    let mut response = Json(Transferred { from, to: request.to, amount: request.amount, position }).into_response();
    response.headers_mut().extend(waited);
    Ok(response)
}

/// The transfer from an account that must be at the version that is expected.
async fn expecting(
    handle: Application,
    expected: &Expected,
    (giving, taking): (Id<Aggregate>, Id<Aggregate>),
    amount: Money,
) -> Result<Receipt, Problem> {
    if giving == taking {
        return Err(BankError::SameAccount.into());
    }
    let transferred = handle.update_all((giving, taking), |(giving, taking)| {
        if !expected.allows(giving.version()) {
            return Err(Refused::Moved(giving.version()));
        }
        giving.execute(|account| account.debit(amount)).map_err(Refused::Bank)?;
        taking.execute(|account| account.credit(amount)).map_err(Refused::Bank)
    });
    transferred.await.map_err(|rejected| match rejected {
        Rejected::Domain(Refused::Moved(latest)) => moved(latest),
        Rejected::Domain(Refused::Bank(refusal)) => refusal.into(),
        Rejected::App(error) => error.into(),
    })
}

/// Why a transfer from an account at an expected version is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the account is at version {0}")]
    Moved(Version),
    #[error(transparent)]
    Bank(BankError),
}
