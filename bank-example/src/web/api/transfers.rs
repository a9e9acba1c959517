//! Transfers in steps: begin one, show it, list them.

use axum::extract::State as Extract;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use eventsourcing::store::Position;
use eventsourcing::{Application, Id, Root};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::amount::Amount;
use super::command::{Command, Waiting};
use super::examples::{ALICE, BOB, TRANSFER};
use super::extract::{Json, Path, Query, limit};
use super::problem::Problem;
use crate::application::transfers::TransferService;
use crate::domain::transfer::{Order, State as Stage, Transfer as Aggregate};
use crate::web::State;

/// The transfer to begin.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTransferInSteps {
    /// The account that sends the money.
    from: Uuid,
    /// The account that receives the money.
    to: Uuid,
    /// A positive amount, at most 999999999999.99, with at most two decimal places.
    amount: Amount,
}

/// A transfer in steps.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TransferInSteps {
    id: Uuid,
    from: Uuid,
    to: Uuid,
    amount: Amount,
    state: StepState,
    /// The reason if it was refused or compensated.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The state of a transfer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum StepState {
    /// The first bank has not answered yet.
    Requested,
    /// The first bank has refused; no money moves.
    Refused,
    /// The money has left the first account.
    Debited,
    /// The second account is or will be credited.
    Completed,
    /// The first account is or will be credited again.
    Compensated,
}

impl From<&Root<Aggregate>> for TransferInSteps {
    fn from(transfer: &Root<Aggregate>) -> Self {
        let (state, reason) = match &transfer.state {
            Stage::Requested => (StepState::Requested, None),
            Stage::Refused { reason } => (StepState::Refused, Some(reason.clone())),
            Stage::Debited => (StepState::Debited, None),
            Stage::Completed => (StepState::Completed, None),
            Stage::Compensated { reason } => (StepState::Compensated, Some(reason.clone())),
        };
        let Order {
            from, to, amount, ..
        } = &transfer.order;
        let id = transfer.id().as_uuid();
        let from = from.as_uuid();
        let to = to.as_uuid();

        Self {
            id,
            from,
            to,
            amount: Amount(*amount),
            state,
            reason,
        }
    }
}

/// Begins a transfer in steps. Its state is at the address in `Location`.
#[utoipa::path(post, path = "/transfers", tag = "transfers",
    params(Waiting, ("Idempotency-Key" = Option<String>, Header, example = "steps-from-alice")),
    request_body(content = NewTransferInSteps, example = json!({ "from": ALICE, "to": BOB, "amount": "1.00" })),
    responses(
        (status = ACCEPTED, body = TransferInSteps, headers(("Location" = String))),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn request(
    Extract(state): Extract<State>,
    command: Command,
    Json(request): Json<NewTransferInSteps>,
) -> Result<Response, Problem> {
    command.unconditional()?;
    let once = command.of("POST /transfers", &request);
    let id = once.handle(&state.bank.transfers).new_id::<Aggregate>();
    let NewTransferInSteps {
        from,
        to,
        amount: Amount(amount),
    } = request;
    let order = Order {
        from: Id::from_uuid(from),
        to: Id::from_uuid(to),
        bank: None,
        amount,
    };
    let run = async |handle: Application| {
        let transfers = TransferService::from(handle);
        Ok(transfers.request(order).await?.receipt)
    };
    let done = once
        .carry_out(&state.bank.transfers, id.stream(), run)
        .await?;
    let waited = command.wait(&state, &done.receipt).await;
    let transfer = state.bank.transfers.load_at(id, done.event.version).await?;
    let location =
        HeaderValue::from_str(&format!("/api/transfers/{id}")).expect("hexadecimal digits");
    let answer = Json(TransferInSteps::from(&transfer));
    let mut response = (StatusCode::ACCEPTED, [(LOCATION, location)], answer).into_response();
    response.headers_mut().extend(waited);
    Ok(response)
}

/// The selection of transfers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TransfersQuery {
    /// Continue after this position: `next` of the previous page.
    #[param(example = 0)]
    after: Option<u64>,
    /// The largest number of transfers; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 10)]
    limit: Option<usize>,
}

/// A page of transfers in steps, in the order in which they were begun.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transfers {
    transfers: Vec<TransferInSteps>,
    /// The position after which the next page begins; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Lists transfers in steps.
#[utoipa::path(get, path = "/transfers", tag = "transfers", params(TransfersQuery),
    responses(
        (status = OK, body = Transfers),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Query(query): Query<TransfersQuery>,
) -> Result<Json<Transfers>, Problem> {
    let limit = limit(query.limit)?;
    let page = state
        .bank
        .transfers
        .ids::<Aggregate>(Position::new(query.after.unwrap_or_default()), limit)
        .await?;
    let mut transfers = Vec::with_capacity(page.ids.len());
    for id in &page.ids {
        transfers.push(TransferInSteps::from(
            &state.bank.transfers.load(*id).await?,
        ));
    }
    let next = (page.ids.len() == limit).then_some(page.ceiling.as_u64());
    Ok(Json(Transfers { transfers, next }))
}

/// Shows the state of a transfer.
#[utoipa::path(get, path = "/transfers/{id}", tag = "transfers",
    params(("id" = Uuid, Path, example = json!(TRANSFER))),
    responses(
        (status = OK, body = TransferInSteps),
        (status = "default", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn one(
    Extract(state): Extract<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<TransferInSteps>, Problem> {
    Ok(Json(
        (&state
            .bank
            .transfers
            .load(Id::<Aggregate>::from_uuid(id))
            .await?)
            .into(),
    ))
}
