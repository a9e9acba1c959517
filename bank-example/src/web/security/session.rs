//! Tokens that only our own pages can put into forms.
//!
//! A browser carries a random session in a cookie, and each form a token derived from the session and from a secret. A
//! page of another site can make the browser send the cookie, but does not know the token.
//!
//! The secret is derived from the password and from the identity of the log, so a form of one process is valid in
//! another one, and after a restart. Without a password users of this machine can compute it, who may do everything
//! anyway; pages of other sites know neither the secret nor the session.

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use eventsourcing::store::LogId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Actor, Password, Settings};
use crate::web::State;

const COOKIE: &str = "bank_session";

/// The secret part of the tokens, the same in every process.
#[derive(Clone, Copy)]
pub(in crate::web) struct Secret([u8; 32]);

impl Secret {
    pub(super) fn of(log: LogId, password: Option<&Password>) -> Self {
        let purpose = format!("bank-example forms of {log}");
        Self(match password {
            Some(password) => password.secret(purpose.as_bytes()),
            None => Sha256::digest(purpose.as_bytes()).into(),
        })
    }

    /// Returns the token of forms in this session.
    pub(in crate::web) fn token(&self, session: Session) -> String {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(session.0)
            .finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The session of a browser, which lasts as long as its cookie.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Session(Uuid);

/// Gives every request of `router` a session.
pub(in crate::web) fn with_session(router: Router<State>, settings: &Settings) -> Router<State> {
    router.layer(from_fn_with_state(settings.has_tls(), in_session))
}

async fn in_session(Extract(has_tls): Extract<bool>, mut request: Request, next: Next) -> Response {
    let known = of_cookie(request.headers());
    let session = known.unwrap_or_else(|| Session(Uuid::new_v4()));
    request.extensions_mut().insert(session);
    let mut response = next.run(request).await;
    if known.is_none() {
        let secure = if has_tls { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict{secure}",
            session.0.simple()
        );
        let cookie = HeaderValue::from_str(&cookie).expect("hexadecimal digits and ASCII");
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn of_cookie(headers: &HeaderMap) -> Option<Session> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    Uuid::try_parse(value).ok().map(Session)
}

/// A form that was sent, and its sender.
pub(in crate::web) enum Sent<T> {
    /// A form of one of our pages, in this session.
    Signed { fields: T, actor: String },
    /// The form has no token, or that of another session or of an earlier password. Its command must not be carried
    /// out; its values can be shown again.
    Outdated { fields: T },
}

#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    token: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned> FromRequest<State> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let session = request.extensions().get::<Session>().copied();
        let actor = request
            .extensions()
            .get::<Actor>()
            .map_or_else(|| "web".to_owned(), |actor| actor.0.clone());
        let form: Result<Form<WithToken<T>>, FormRejection> =
            Form::from_request(request, state).await;
        let Form(WithToken { token, fields }) = form.map_err(IntoResponse::into_response)?;
        match session.is_some_and(|session| state.secret.token(session) == token) {
            true => Ok(Self::Signed { fields, actor }),
            false => Ok(Self::Outdated { fields }),
        }
    }
}
