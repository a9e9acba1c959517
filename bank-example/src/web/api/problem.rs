//! [`Problem`]: the reason for which a request was not carried out, in the form of RFC 9457, with the numbers that a
//! program needs.

use std::borrow::Cow;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventsourcing::sql::SqlError;
use eventsourcing::store::{StoreError, Version};
use eventsourcing::{ApplicationError, SystemError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::Amount;
use crate::domain::BankError;

/// The longest detail, in characters: it may quote the request.
const DETAIL_CHARACTERS_MAX: usize = 500;
const PROBLEM_JSON: &str = "application/problem+json";
/// The longest answer of an outer layer that becomes the detail of a problem, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// The number of seconds after which a client may retry a request that failed because the store did not answer.
const RETRY_AFTER_SECONDS: &str = "1";

/// The reason for which a request was not carried out. Nothing was changed, except if `type` ends in `unavailable`:
/// then the outcome is unknown, and repeating the request with its `Idempotency-Key` is safe.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// The problem, as a URN for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:bank-example:problem:insufficient-funds")]
    kind: Cow<'static, str>,
    /// The problem, in words for people.
    #[schema(example = "there is not enough money on the account")]
    title: Cow<'static, str>,
    /// The status of the response.
    #[schema(example = 409)]
    status: u16,
    /// The details of this occurrence.
    #[schema(value_type = String, example = "insufficient funds: the balance is 20.00, 25.00 was asked for")]
    detail: Box<str>,
    /// The balance of the account, if it is too low.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<Amount>,
    /// The amount that the balance does not cover, or that is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    amount: Option<Box<str>>,
    /// The latest version, if another one was requested or expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<u64>,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Misdirected,
    InsufficientFunds,
    Conflict,
    NotParked,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    KeyReused,
    Unavailable,
    Internal,
}

impl Kind {
    fn parts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::BadRequest => (
                "urn:bank-example:problem:bad-request",
                "the request cannot be understood",
                StatusCode::BAD_REQUEST,
            ),
            Self::Unauthorized => (
                "urn:bank-example:problem:unauthorized",
                "the bank requires a password",
                StatusCode::UNAUTHORIZED,
            ),
            Self::Forbidden => (
                "urn:bank-example:problem:forbidden",
                "requests from this origin are not allowed",
                StatusCode::FORBIDDEN,
            ),
            Self::Misdirected => (
                "urn:bank-example:problem:misdirected",
                "the bank is served under another name",
                StatusCode::MISDIRECTED_REQUEST,
            ),
            Self::NotFound => (
                "urn:bank-example:problem:not-found",
                "not found",
                StatusCode::NOT_FOUND,
            ),
            Self::MethodNotAllowed => (
                "urn:bank-example:problem:method-not-allowed",
                "the method is not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::InsufficientFunds => (
                "urn:bank-example:problem:insufficient-funds",
                "there is not enough money on the account",
                StatusCode::CONFLICT,
            ),
            Self::Conflict => (
                "urn:bank-example:problem:conflict",
                "too many concurrent changes; repeat the request",
                StatusCode::CONFLICT,
            ),
            Self::NotParked => (
                "urn:bank-example:problem:not-parked",
                "nothing is parked there",
                StatusCode::CONFLICT,
            ),
            Self::PreconditionFailed => (
                "urn:bank-example:problem:precondition-failed",
                "the version is not the expected one",
                StatusCode::PRECONDITION_FAILED,
            ),
            Self::TooLarge => (
                "urn:bank-example:problem:too-large",
                "the body is too large",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            Self::UnsupportedMediaType => (
                "urn:bank-example:problem:unsupported-media-type",
                "the body must be application/json",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::Invalid => (
                "urn:bank-example:problem:invalid",
                "a value is not allowed",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::KeyReused => (
                "urn:bank-example:problem:key-reused",
                "the Idempotency-Key belongs to another request",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::Unavailable => (
                "urn:bank-example:problem:unavailable",
                "the store does not answer",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            Self::Internal => (
                "urn:bank-example:problem:internal",
                "internal error of the bank",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
        }
    }
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (kind, title, status) = kind.parts();
        let kind = kind.into();
        let title = title.into();
        let status = status.as_u16();

        let detail: String = detail.into().chars().take(DETAIL_CHARACTERS_MAX).collect();
        let detail = detail.into();
        Self {
            kind,
            title,
            status,
            detail,
            balance: None,
            amount: None,
            latest: None,
        }
    }

    pub(super) fn with_latest(mut self, latest: Version) -> Self {
        self.latest = Some(latest.as_u64());
        self
    }

    /// Reports an internal error. Its cause goes to the log of the program only, because clients may not see it.
    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "API request failed");
        Self::new(Kind::Internal, "the log of the program has the cause")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from_static(RETRY_AFTER_SECONDS),
            );
        }
        response
    }
}

/// Turns the plain-text answer of an outer layer, which is meant for people, into a [`Problem`].
pub(super) async fn into_problem(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let kind = match parts.status {
        StatusCode::UNAUTHORIZED => Kind::Unauthorized,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        StatusCode::MISDIRECTED_REQUEST => Kind::Misdirected,
        StatusCode::SERVICE_UNAVAILABLE => Kind::Unavailable,
        _ => return Response::from_parts(parts, body),
    };
    if parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == PROBLEM_JSON)
    {
        return Response::from_parts(parts, body);
    }
    let text = axum::body::to_bytes(body, TEXT_BYTES_MAX)
        .await
        .unwrap_or_default();
    let problem = Problem::new(kind, String::from_utf8_lossy(&text).trim()).into_response();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem.headers().clone());
    Response::from_parts(parts, problem.into_body())
}

impl From<BankError> for Problem {
    fn from(refusal: BankError) -> Self {
        let detail = refusal.to_string();
        match refusal {
            BankError::InsufficientFunds { balance, amount } => Self {
                balance: Some(Amount(balance)),
                amount: Some(Amount(amount).to_string().into()),
                ..Self::new(Kind::InsufficientFunds, detail)
            },
            BankError::InvalidAmount(amount) => Self {
                amount: Some(amount.to_string().into()),
                ..Self::new(Kind::Invalid, detail)
            },
            BankError::InvalidOwner | BankError::SameAccount => Self::new(Kind::Invalid, detail),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::new(
                Kind::Unavailable,
                "the store does not answer; repeat the request in a moment",
            ),
            StoreError::Newer { .. } => Self::new(
                Kind::Unavailable,
                "a newer release has written here; repeat the request, a process of that release may answer it",
            ),
            StoreError::Conflict { actual, .. } => {
                Self::new(Kind::Conflict, error.to_string()).with_latest(actual)
            }
            StoreError::TrackingConflict { .. } | StoreError::LeaseLost { .. } => {
                Self::new(Kind::Conflict, error.to_string())
            }
            error => Self::internal(&error),
        }
    }
}

impl From<ApplicationError> for Problem {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::NotFound { .. } => Self::new(Kind::NotFound, error.to_string()),
            ApplicationError::NoSuchVersion { latest, .. } => {
                Self::new(Kind::NotFound, error.to_string()).with_latest(latest)
            }
            ApplicationError::Rejected { .. } => Self::new(Kind::Conflict, error.to_string()),
            ApplicationError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<SystemError> for Problem {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::Store(error) => error.into(),
            error @ SystemError::NotParked { .. } => Self::new(Kind::NotParked, error.to_string()),
            SystemError::Invalid { reason } => Self::new(Kind::NotParked, reason),
            error => Self::internal(&error),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
            StatusCode::UNPROCESSABLE_ENTITY => Kind::Invalid,
            _ => Kind::BadRequest,
        };
        Self::new(kind, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Kind::BadRequest, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Kind::BadRequest, rejection.body_text())
    }
}
