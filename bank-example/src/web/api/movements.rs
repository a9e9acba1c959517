//! Movements: credit an account, debit it, transfer to another one.

use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use eventsourcing::store::{StoreError, Version};
use eventsourcing::{Application, ApplicationError, CommandError, Id, Receipt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::accounts::{Changed, changed};
use super::amount::Amount;
use super::command::{Command, Done, Expected, Waiting, version_mismatch};
use super::examples::{ALICE, BOB};
use super::extract::{Json, Path};
use super::problem::Problem;
use super::rejection::CommandFailure;
use crate::application::accounts::AccountService;
use crate::domain::account::{Account as Aggregate, AccountEvent};
use crate::domain::{BankError, Money};
use crate::web::State;

/// An amount to credit or to debit.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Movement {
    /// A positive amount, at most 999999999999.99, with at most two decimal places.
    amount: Amount,
}

/// Credits an account.
#[utoipa::path(post, path = "/accounts/{id}/credit", tag = "accounts",
    params(
        ("id" = Uuid, Path, example = json!(ALICE)), Waiting,
        ("Idempotency-Key" = Option<String>, Header, example = "credit-alice"),
        ("If-Match" = Option<String>, Header, description = "the ETag of the account; 412 if the account is at another version"),
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

/// Debits an account.
#[utoipa::path(post, path = "/accounts/{id}/debit", tag = "accounts",
    params(
        ("id" = Uuid, Path, example = json!(ALICE)), Waiting,
        ("Idempotency-Key" = Option<String>, Header, example = "debit-alice"),
        ("If-Match" = Option<String>, Header, description = "the ETag of the account; 412 if the account is at another version"),
    ),
    request_body(content = Movement, example = json!({ "amount": "5.00" })),
    responses(
        (status = OK, body = Changed, headers(("ETag" = String))),
        (status = CONFLICT, body = Problem, description = "the balance is too low", content_type = "application/problem+json"),
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

/// The decision of an account about an amount.
type Decide = fn(&Aggregate, Money) -> Result<AccountEvent, BankError>;

async fn moves(
    Extract(state): Extract<State>,
    Path(id): Path<Uuid>,
    command: Command,
    Json(movement): Json<Movement>,
    what: &str,
    decide: Decide,
) -> Result<Response, Problem> {
    let id = Id::<Aggregate>::from_uuid(id);
    let Amount(amount) = movement.amount;

    let once = command.of(&format!("POST /accounts/{id}/{what}"), &movement);
    let run = async |handle: Application| match &command.expected {
        None => Ok(handle.update(id, |account| decide(account, amount)).await?),
        Some(expected) => {
            let mut account = handle.load(id).await?;
            if !expected.allows(account.version()) {
                return Err(version_mismatch(account.version()).into());
            }
            account.execute(|account| decide(account, amount))?;
            Ok(handle
                .save(&mut account)
                .await
                .map_err(as_version_mismatch)?)
        }
    };
    let done = once
        .carry_out(&state.bank.accounts, id.stream(), run)
        .await?;
    changed(&state, &command, id, done).await
}

/// Turns a conflict into a version mismatch: a request that expected a version is not decided again at another one.
fn as_version_mismatch(error: ApplicationError) -> Problem {
    match error {
        ApplicationError::Store(StoreError::Conflict { actual, .. }) => version_mismatch(actual),
        error => error.into(),
    }
}

/// A transfer to another account.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTransfer {
    /// The account that receives the money.
    to: Uuid,
    /// A positive amount, at most 999999999999.99, with at most two decimal places.
    amount: Amount,
}

/// The result of a transfer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transferred {
    from: Uuid,
    to: Uuid,
    amount: Amount,
    /// The position of the command's last event in the log.
    position: u64,
}

/// Transfers money to another account at once: both accounts change, or none.
#[utoipa::path(post, path = "/accounts/{id}/transfer", tag = "accounts",
    params(
        ("id" = Uuid, Path, description = "the account that sends the money", example = json!(ALICE)),
        Waiting,
        ("Idempotency-Key" = Option<String>, Header, example = "transfer-from-alice"),
        ("If-Match" = Option<String>, Header, description = "the ETag of the account that sends the money; 412 if the account is at another version"),
    ),
    request_body(content = NewTransfer, example = json!({ "to": BOB, "amount": "5.00" })),
    responses(
        (status = OK, body = Transferred),
        (status = CONFLICT, body = Problem, description = "the balance is too low", content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn transfer(
    Extract(state): Extract<State>,
    Path(from): Path<Uuid>,
    command: Command,
    Json(request): Json<NewTransfer>,
) -> Result<Response, Problem> {
    let once = command.of(&format!("POST /accounts/{from}/transfer"), &request);
    let giving = Id::<Aggregate>::from_uuid(from);
    let taking = Id::<Aggregate>::from_uuid(request.to);

    let Amount(amount) = request.amount;
    let run = async |handle: Application| match &command.expected {
        None => Ok(AccountService::from(handle)
            .transfer(giving, taking, amount)
            .await?),
        Some(expected) => expecting(handle, expected, (giving, taking), amount).await,
    };
    let Done { receipt, .. } = once
        .carry_out(&state.bank.accounts, taking.stream(), run)
        .await?;
    let waited = command.wait(&state, &receipt).await;
    let position = receipt.position.as_u64();
    let mut response = Json(Transferred {
        from,
        to: request.to,
        amount: request.amount,
        position,
    })
    .into_response();
    response.headers_mut().extend(waited);
    Ok(response)
}

/// Transfers from an account that must be at the expected version.
async fn expecting(
    handle: Application,
    expected: &Expected,
    (giving, taking): (Id<Aggregate>, Id<Aggregate>),
    amount: Money,
) -> Result<Receipt, CommandFailure> {
    if giving == taking {
        return Err(BankError::SameAccount.into());
    }
    let transferred = handle.update_all((giving, taking), |(giving, taking)| {
        if !expected.allows(giving.version()) {
            return Err(Reason::Moved(giving.version()));
        }
        giving
            .execute(|account| account.debit(amount))
            .map_err(Reason::Bank)?;
        taking
            .execute(|account| account.credit(amount))
            .map_err(Reason::Bank)
    });
    transferred.await.map_err(|rejected| match rejected {
        CommandError::Rejected(Reason::Moved(latest)) => version_mismatch(latest).into(),
        CommandError::Rejected(Reason::Bank(refusal)) => refusal.into(),
        CommandError::Application(error) => error.into(),
    })
}

/// The rejection of a transfer from an account at an expected version.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("the account is at version {0}")]
    Moved(Version),
    #[error(transparent)]
    Bank(BankError),
}
