//! The bank over HTTP: pages, an API, and the protection of both.
//!
//! [`router`] answers requests without a socket, so tests need none; [`serve`] puts it on a socket.

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

/// The state that every request needs. Clones share the same bank.
#[derive(Clone, Debug)]
pub struct State {
    /// The bank, with its followers.
    pub bank: Arc<RunningSystem<EventSourcedBank>>,
    live: Live,
    secret: Secret,
}

impl State {
    /// Starts a task that watches the log, so it must be called within a runtime. The task ends when the last clone is
    /// dropped.
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

/// Returns the router of all pages and of the API, with all protection.
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

/// Fails if only a restart of the program helps. An outage of the store, which may pass, does not count.
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

/// Succeeds if requests can be served: the store answers, and no follower has stopped.
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
