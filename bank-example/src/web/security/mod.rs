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

use eventsourcing::store::LogId;

pub use origin::{NotAnOrigin, Origin};
pub(super) use password::Actor;
pub use password::Password;
pub(super) use session::{Secret, Sent, Session, with_session};

use super::State;

/// The most bytes that the body of a request may have.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request may take until its answer begins.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Without it, only this machine is served, and nobody through a proxy.
    password: Option<Password>,
    listens_anywhere: bool,
    origins: Vec<Origin>,
}

impl Settings {
    /// Serves this machine only.
    #[must_use]
    pub fn loopback() -> Self {
        Self::default()
    }

    /// Serves everyone who knows the password, from wherever.
    #[must_use]
    pub fn remote(password: Password) -> Self {
        Self {
            password: Some(password),
            listens_anywhere: true,
            ..Self::default()
        }
    }

    /// Serves only those who know the password, for instance through a proxy on this machine.
    #[must_use]
    pub fn with_password(mut self, password: Password) -> Self {
        self.password = Some(password);
        self
    }

    /// Takes forms from pages at these addresses, under which a proxy serves the bank.
    #[must_use]
    pub fn with_origins(mut self, origins: Vec<Origin>) -> Self {
        self.origins = origins;
        self
    }

    /// Returns `true` if everyone who asks must know a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Returns `true` if it is safe to listen there.
    #[must_use]
    pub fn may_listen_on(&self, address: SocketAddr) -> bool {
        address.ip().is_loopback() || (self.listens_anywhere && self.has_password())
    }

    /// The secret that the tokens of forms follow from, which every process with these settings on this log shares.
    pub(super) fn secret(&self, log: LogId) -> Secret {
        Secret::of(log, self.password.as_ref())
    }

    /// Returns `true` if browsers come over TLS only.
    fn has_tls(&self) -> bool {
        !self.origins.is_empty() && self.origins.iter().all(Origin::is_https)
    }
}

/// The rules for all of `router`. They come last.
pub(super) fn secured(router: Router<State>, settings: &Settings) -> Router<State> {
    let same = from_fn_with_state(settings.clone(), origin::same);
    let router = router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(in_time))
        .layer(same);
    let router = match settings.has_password() {
        true => router,
        false => router.layer(from_fn(origin::this_machine)),
    };
    router.layer(from_fn(with_headers)).layer(from_fn(logged))
}

/// Everyone who asks must know the password, if there is one.
pub(super) fn behind_password(router: Router<State>, settings: &Settings) -> Router<State> {
    match &settings.password {
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
    tokio::time::timeout(REQUEST_TIME_MAX, next.run(request))
        .await
        .unwrap_or_else(|_| late.into_response())
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
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// One line for each request: the route, not the path, for paths and queries hold ids and names.
async fn logged(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let begin = Instant::now();
    let response = next.run(request).await;
    let route = route.as_deref().unwrap_or("none");
    let status = response.status().as_u16();

    tracing::info!(%method, route, status, milliseconds = begin.elapsed().as_millis(), "request");
    response
}
