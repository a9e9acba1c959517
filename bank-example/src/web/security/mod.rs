//! The checks before every request: who may send it, from which site, how large it may be, and how long it may take.

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

/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The time that a request may take until its answer begins.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// The rules about who may send requests.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The password. Without one, only this machine is served, and no request that comes through a proxy.
    password: Option<Password>,
    listens_anywhere: bool,
    origins: Vec<Origin>,
}

impl Settings {
    /// Serves this machine only, without a password.
    #[must_use]
    pub fn loopback() -> Self {
        Self::default()
    }

    /// Serves every client that knows the password, on any address.
    #[must_use]
    pub fn remote(password: Password) -> Self {
        Self {
            password: Some(password),
            listens_anywhere: true,
            ..Self::default()
        }
    }

    /// Serves only clients that know the password, for instance through a proxy on this machine.
    #[must_use]
    pub fn with_password(mut self, password: Password) -> Self {
        self.password = Some(password);
        self
    }

    /// Accepts forms from pages at these addresses, under which a proxy serves the bank.
    #[must_use]
    pub fn with_origins(mut self, origins: Vec<Origin>) -> Self {
        self.origins = origins;
        self
    }

    /// Returns `true` if clients must know a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Returns `true` if listening on `address` is safe.
    #[must_use]
    pub fn may_listen_on(&self, address: SocketAddr) -> bool {
        address.ip().is_loopback() || (self.listens_anywhere && self.has_password())
    }

    /// Returns the secret of the forms' tokens. All processes with these settings on this log share it.
    pub(super) fn secret(&self, log: LogId) -> Secret {
        Secret::of(log, self.password.as_ref())
    }

    /// Returns `true` if browsers always use TLS.
    fn has_tls(&self) -> bool {
        !self.origins.is_empty() && self.origins.iter().all(Origin::is_https)
    }
}

/// Applies the rules to all of `router`. Must be the outermost layer.
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

/// Requires the password, if there is one.
pub(super) fn behind_password(router: Router<State>, settings: &Settings) -> Router<State> {
    match &settings.password {
        Some(password) => router.layer(from_fn_with_state(password.clone(), password::ask)),
        None => router,
    }
}

/// Limits the time of a request. A command that was cut off may have been carried out; sending the same form again does
/// no harm.
async fn in_time(request: Request, next: Next) -> Response {
    let late = (
        StatusCode::SERVICE_UNAVAILABLE,
        "the request took too long; reload this page to send it again: a form is carried out at most once\n",
    );
    tokio::time::timeout(REQUEST_TIME_MAX, next.run(request))
        .await
        .unwrap_or_else(|_| late.into_response())
}

/// The headers of every answer: no script and style but our own, no embedding in other sites, nothing cached by others.
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

/// Logs one line for each request, with the route and not the path, because paths and queries contain ids and names.
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
