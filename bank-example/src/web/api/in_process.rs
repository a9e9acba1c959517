//! The API without a socket, for programs with the bank in their own process.
//!
//! The command line uses it, so a command with a key is the same command over HTTP and on the command line, and gets
//! the same first answer.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt as _;

use super::command::{IDEMPOTENCY_KEY, READ_MODELS};
use crate::web::State;
use crate::web::security::Actor;

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The answer to a command.
#[derive(Debug)]
pub struct Answer {
    /// The status, which says if the command was carried out.
    pub status: StatusCode,
    /// The result of the command, or the problem.
    pub body: Value,
    /// `true` if the read models did not show the change in time.
    pub is_late: bool,
}

/// Carries out the command in `path` and `body`, once for all requests with `key`, and waits for the read models.
/// `actor` becomes part of the metadata of its events.
///
/// # Errors
/// The answer is not JSON, which is a bug of this program.
pub async fn command(
    state: State,
    path: &str,
    key: &str,
    actor: &str,
    body: &Value,
) -> Result<Answer, axum::Error> {
    let request = Request::post(format!("{path}?wait=read-models"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(IDEMPOTENCY_KEY, key.as_bytes())
        .extension(Actor(actor.to_owned()))
        .body(Body::from(body.to_string()))
        .map_err(axum::Error::new)?;
    let router = super::router().with_state(state);
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let is_late = response
        .headers()
        .get(READ_MODELS)
        .is_some_and(|how| how == "late");

    let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await?;
    let body = serde_json::from_slice(&bytes).map_err(axum::Error::new)?;
    Ok(Answer {
        status,
        body,
        is_late,
    })
}
