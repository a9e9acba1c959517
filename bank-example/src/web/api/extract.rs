//! Extractors for the parts of a request, which answer with a [`Problem`] if a part is invalid.

use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Kind, Problem};

/// The most characters of a search text or a name.
pub(super) const TEXT_CHARACTERS_MAX: usize = 200;
/// The number of items on a page unless the request gives one, and the largest number.
pub(super) const PAGE: usize = 50;
pub(super) const PAGE_MAX: usize = 500;

/// The body of the request.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(super) struct Json<T>(pub(super) T);

/// The query of the request.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(super) struct Query<T>(pub(super) T);

/// The parameters in the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Checks the requested number of items.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        limit => Err(Problem::new(
            Kind::Invalid,
            format!("limit: {limit} is not between 1 and {PAGE_MAX}"),
        )),
    }
}

/// Checks that a text is short and has no control characters, which databases refuse.
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
