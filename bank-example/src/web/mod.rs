//! The bank in the browser: pages, an API, and what keeps both safe.
//!
//! [`router`] answers requests without a socket, so that tests need none; [`serve`] puts it on one.

pub mod api;
pub mod assets;
pub mod live;
pub mod pages;
pub mod security;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use eventsourcing::RunningSystem;

pub use security::{NotAnOrigin, Origin, Password, Settings};
pub use serve::{ServeError, serve};

use crate::system::EventSourcedBank;
use live::Live;
use security::Secret;

/// What every request needs. Clones are the same bank.
#[derive(Clone, Debug)]
pub struct State {
    /// The bank, with its followers.
    pub bank: Arc<RunningSystem<EventSourcedBank>>,
    live: Live,
    secret: Secret,
}

impl State {
    /// Must be called within a runtime: a task begins to watch the log, and ends when the last clone is gone.
    #[must_use]
    pub fn new(bank: Arc<RunningSystem<EventSourcedBank>>) -> Self {
        let secret = Settings::loopback().secret(bank.accounts.store().log_id());
        Self {
            live: Live::watch(&bank),
            bank,
            secret,
        }
    }
}

/// Everything that can be asked over HTTP, with all that keeps it safe.
pub fn router(state: State, settings: &Settings) -> Router {
    let state = State {
        secret: settings.secret(state.bank.accounts.store().log_id()),
        ..state
    };
    let pages = security::with_session(pages::router().merge(live::router()), settings);
    let behind_password = pages.merge(assets::router()).nest("/api", api::router());
    let open = Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready));
    let router = security::behind_password(behind_password, settings)
        .merge(open)
        .fallback(pages::not_found);
    security::secured(router, settings)
        .layer(from_fn(api::with_problems))
        .with_state(state)
}

/// Fails when only a new start helps; an outage of the store that may pass does not count.
async fn healthy(Extract(state): Extract<State>) -> Response {
    match state.bank.fault() {
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not healthy: {why}\n"),
        )
            .into_response(),
        None => "ok\n".into_response(),
    }
}

/// Whether requests can be dealt with: the store answers, and no follower has stopped.
async fn ready(Extract(state): Extract<State>) -> Response {
    match state.bank.health().await {
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {error}\n"),
        )
            .into_response(),
        Ok(health) => match health
            .followers
            .iter()
            .find(|follower| follower.failure().is_some())
        {
            Some(failed) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {} is {}\n", failed.name, failed.state),
            )
                .into_response(),
            None => "ready\n".into_response(),
        },
    }
}
