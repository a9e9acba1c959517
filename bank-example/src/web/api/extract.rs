//! What a request brings, and the [`Problem`] if it brings something else.

use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Kind, Problem};

/// The most characters of a text that is searched for, or that names something.
pub(super) const TEXT_CHARACTERS_MAX: usize = 200;
/// How many things a page has unless the request says otherwise, and at most.
pub(super) const PAGE: usize = 50;
pub(super) const PAGE_MAX: usize = 500;

/// The body.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(super) struct Json<T>(pub(super) T);

/// The query.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(super) struct Query<T>(pub(super) T);

/// What stands in the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// How many things are wanted.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        limit => Err(Problem::new(
            Kind::Invalid,
            format!("limit: {limit} is not between 1 and {PAGE_MAX}"),
        )),
    }
}

/// A text that databases accept.
pub(super) fn text(field: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    let fault = match &text {
        Some(text) if text.chars().count() > TEXT_CHARACTERS_MAX => {
            format!("{field}: it has more than {TEXT_CHARACTERS_MAX} characters")
        }
        Some(text) if text.contains(char::is_control) => {
            format!("{field}: it has a control character")
        }
        _ => return Ok(text),
    };
    Err(Problem::new(Kind::Invalid, fault))
}
