//! The bank for programs: JSON over HTTP, described by an OpenAPI document that is generated from the types.
//!
//! A command is answered when its events are stored. The answer is read back from these events, so a request that is
//! repeated with its `Idempotency-Key` gets the first answer from every process, also after a restart. A rejection by
//! the bank is a first answer, too.

mod accounts;
mod amount;
mod command;
mod examples;
mod extract;
mod followers;
pub mod in_process;
mod log;
mod movements;
mod parked;
mod problem;
mod read_models;
mod rejection;
mod transfers;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use command::KEY_BYTES_MAX;

use super::State;
use problem::{Kind, Problem};

/// The largest body of a request to the API, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "The bank",
        description = "Accounts, a ledger that records every movement, and the events behind them.\n\n\
            Money is a decimal string. Every command takes an `Idempotency-Key`: a request that is repeated with its key \
            changes nothing and gets the first answer; another request with the same key is refused (422).\n\n\
            The answer of the bank is stored as long as its events, also if it is a rejection: the balance is too low, \
            the account does not exist, an amount or a name breaks the rules. Use a new key to have the command decided \
            again. Other failures are not stored: an invalid request, a missing password, an `If-Match` that does not \
            match (412), a conflict, nothing parked, and everything from 500 on. Repeat such a request with its key.\n\n\
            Errors are `application/problem+json`; `type` names the problem."
    ),
    servers((url = "/api"))
)]
struct Document;

/// The API, to be mounted at `/api`.
pub fn router() -> Router<State> {
    let (router, document) = parts();
    router
        .route("/openapi.json", get(async move || Json(document)))
        .fallback(async || Problem::new(Kind::NotFound, "no such route; see /api/openapi.json"))
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "see /api/openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Turns answers of the layers before the API (password, origin) into problems. Must be the outermost layer of the API.
pub async fn with_problems(request: Request, next: Next) -> Response {
    let is_of_api = request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    if is_of_api {
        problem::into_problem(response).await
    } else {
        response
    }
}

/// Returns the OpenAPI document, for programs that generate clients.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    parts().1
}

fn parts() -> (Router<State>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(accounts::open, accounts::list))
        .routes(routes!(accounts::one))
        .routes(routes!(accounts::at))
        .routes(routes!(accounts::history))
        .routes(routes!(movements::credit))
        .routes(routes!(movements::debit))
        .routes(routes!(movements::transfer))
        .routes(routes!(transfers::request, transfers::list))
        .routes(routes!(transfers::one))
        .routes(routes!(read_models::ledger))
        .routes(routes!(read_models::activity))
        .routes(routes!(log::page))
        .routes(routes!(log::one))
        .routes(routes!(followers::health))
        .routes(routes!(followers::resume))
        .routes(routes!(followers::system))
        .routes(routes!(followers::verify))
        .routes(routes!(parked::list))
        .routes(routes!(parked::records))
        .routes(routes!(parked::retry))
        .routes(routes!(parked::give_up))
        .split_for_parts()
}
