//! The pages. Each module answers the requests for one page, and its template in `templates/` has the layout.

mod account;
mod bank;
mod chart;
mod event;
mod failure;
mod forms;
mod graph;
mod log;
mod shown;
mod system;

use askama::Template;
use axum::Router;
use axum::extract::Extension;
use axum::response::{Html, IntoResponse, Response};

pub(super) use failure::Failure;

use super::State;
use super::security::Session;

pub(super) fn router() -> Router<State> {
    let shown = bank::router()
        .merge(account::router())
        .merge(system::router())
        .merge(log::router())
        .merge(event::router());
    shown.merge(forms::router())
}

pub(super) async fn not_found() -> Failure {
    Failure::NotFound("This page does not exist.".to_owned())
}

/// The frame around the content of every page.
#[derive(Debug)]
struct Frame {
    /// The navigation entry of the page.
    section: &'static str,
    /// The token of the page's forms.
    token: String,
    /// The address of the page, if it is the answer to a form.
    address: Option<String>,
}

impl Frame {
    fn new(section: &'static str, state: &State, session: Session) -> Self {
        Self {
            section,
            token: state.secret.token(session),
            address: None,
        }
    }

    fn at(self, address: Option<String>) -> Self {
        Self { address, ..self }
    }
}

type InSession = Extension<Session>;

fn page(template: &impl Template) -> Result<Response, Failure> {
    Ok(Html(template.render()?).into_response())
}
