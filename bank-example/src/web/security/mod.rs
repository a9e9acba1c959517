//! What stands before every request: who may ask, from where, how much, and for how long.

mod origin;
mod password;
mod session;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};

pub(super) use password::Actor;
pub use password::Password;
pub(super) use session::{Secret, Session, Signed, with_session};

use super::State;

/// The most bytes that the body of a request may have.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request may take until its answer begins.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Without it, only this machine is served.
    remote: Option<Password>,
}

impl Settings {
    /// Serves this machine only.
    #[must_use]
    pub fn loopback() -> Self {
        Self::default()
    }

    /// Serves whoever knows the password, from wherever.
    #[must_use]
    pub fn remote(password: Password) -> Self {
        Self { remote: Some(password) }
    }

    /// Whether it is safe to listen there.
    #[must_use]
    pub fn may_listen_on(&self, address: SocketAddr) -> bool {
        address.ip().is_loopback() || self.remote.is_some()
    }
}

/// What applies to all of `router`. It comes last.
pub(super) fn secured(router: Router<State>, settings: &Settings) -> Router<State> {
    let router =
        router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(from_fn(in_time)).layer(from_fn(origin::same));
    let router = match settings.remote {
        Some(_) => router,
        None => router.layer(from_fn(origin::this_machine)),
    };
    router.layer(from_fn(with_headers)).layer(from_fn(logged))
}

/// Whoever asks must know the password, if there is one.
pub(super) fn behind_password(router: Router<State>, settings: &Settings) -> Router<State> {
    match &settings.remote {
        Some(password) => router.layer(from_fn_with_state(password.clone(), password::ask)),
        None => router,
    }
}

/// A request ends. A command that was cut off may have been carried out: the same form sent again does no harm.
async fn in_time(request: Request, next: Next) -> Response {
    let late = (
        StatusCode::SERVICE_UNAVAILABLE,
        "this took too long; reload this page to ask again: what a form asks for is done once at most\n",
    );
    tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await.unwrap_or_else(|_| late.into_response())
}

/// Nothing but our own script and style, nowhere embedded, nothing kept by others.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// One line for each request: the route, not the path, for paths and queries hold ids and names.
async fn logged(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let begin = Instant::now();
    let response = next.run(request).await;
    let (route, status) = (route.as_deref().unwrap_or("none"), response.status().as_u16());
    tracing::info!(%method, route, status, milliseconds = begin.elapsed().as_millis(), "request");
    response
}
