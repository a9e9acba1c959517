//! The bank for programs: JSON over HTTP, described by an OpenAPI document that follows from the types.
//!
//! A command answers when its events are stored. What it answers is read back from these events, so that a request that is
//! repeated with its `Idempotency-Key` gets the first answer from every process, also after a restart. If the bank has
//! refused it, that is the first answer.

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

/// The most bytes that the body of a request to the API may have.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "The bank",
        description = "Accounts, a ledger that every movement reaches, and the events behind them.\n\n\
            Money is a decimal string. Every command takes an `Idempotency-Key`: a request that is repeated with its key \
            changes nothing and gets the first answer; the same key with another request is refused (422).\n\n\
            An answer of the bank is kept as long as its events, also if it is a refusal: there is not enough money, \
            there is no such account, an amount or a name breaks its rules. Take a new key to have it decided anew. \
            What never came to the bank is not kept, nor what came in between: a request that cannot be understood or is \
            not admitted, an `If-Match` that does not match (412), a conflict, that nothing is parked, and everything from \
            500 on. Send such a request again with its key.\n\n\
            Errors are `application/problem+json`; `type` says which."
    ),
    servers((url = "/api"))
)]
struct Document;

/// The API, to be mounted at `/api`.
pub fn router() -> Router<State> {
    let (router, document) = parts();
    router
        .route("/openapi.json", get(async move || Json(document)))
        .fallback(async || {
            Problem::new(
                Kind::NotFound,
                "there is nothing here; see /api/openapi.json",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "see /api/openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Has whatever stands before the API speak to programs as the API does. It comes after all of it.
pub async fn with_problems(request: Request, next: Next) -> Response {
    let is_of_api = request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    if is_of_api {
        problem::into_problem(response).await
    } else {
        response
    }
}

/// What the API is, for programs that make clients of it.
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
