//! [`Failure`]: the error page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use eventsourcing::sql::SqlError;
use eventsourcing::store::StoreError;
use eventsourcing::{ApplicationError, SystemError};

/// The reason for which a page cannot be shown.
#[derive(Debug)]
pub(in crate::web) enum Failure {
    /// The address names nothing that exists.
    NotFound(String),
    /// The request is invalid.
    Refused(String),
    /// The store is corrupt, or another program has written events that this one does not know.
    Unreadable(StoreError),
    /// The store does not answer.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    frame: super::Frame,
    title: &'a str,
    text: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title, text) = match &self {
            Self::NotFound(text) => (StatusCode::NOT_FOUND, "Not found", text.as_str()),
            Self::Refused(text) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid request",
                text.as_str(),
            ),
            Self::Unreadable(error) => {
                tracing::error!(%error, "stored event cannot be read");
                let title = "A stored event cannot be read";
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    title,
                    "This program does not know an event of this page. The log page shows the event as it is stored.",
                )
            }
            Self::Broken(error) => {
                tracing::error!(%error, "page cannot be shown");
                let text = "The store failed. Try again in a moment; the log of the program has the cause.";
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The bank is not available",
                    text,
                )
            }
        };
        let frame = super::Frame {
            section: "",
            token: String::new(),
            address: None,
        };
        match (FailurePage { frame, title, text }).render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => (status, text.to_owned()).into_response(),
        }
    }
}

impl From<ApplicationError> for Failure {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::NotFound { .. } | ApplicationError::NoSuchVersion { .. } => {
                Self::NotFound(error.to_string())
            }
            ApplicationError::Store(error) => error.into(),
            error => Self::Broken(error.into()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } | StoreError::Newer { .. } => Self::Unreadable(error),
            error => Self::Broken(error.into()),
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Broken(error.into())
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        match error {
            error @ (SystemError::UnknownFollower { .. } | SystemError::NotParked { .. }) => {
                Self::Refused(error.to_string())
            }
            SystemError::Invalid { reason } => Self::Refused(reason),
            error => Self::Broken(error.into()),
        }
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::Broken(error.into())
    }
}
