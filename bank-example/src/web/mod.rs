//! The bank over HTTP.

pub mod api;

use std::sync::Arc;

use axum::Router;
use eventsourcing_core::Running;

use crate::system::EventSourcedBank;

/// What every request needs. Clones are the same bank.
#[derive(Clone, Debug)]
pub struct State {
    /// The bank, with its followers.
    pub bank: Arc<Running<EventSourcedBank>>,
}

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub struct Settings {}

impl State {
    /// What requests to `bank` need.
    #[must_use]
    pub fn new(bank: Arc<Running<EventSourcedBank>>) -> Self {
        Self { bank }
    }
}

/// Everything that can be asked over HTTP.
pub fn router(state: State, _settings: &Settings) -> Router {
    Router::new().nest("/api", api::router()).with_state(state)
}
