//! Forms that only our own pages can have made.
//!
//! A browser carries a random session in a cookie, and each form a token that follows from it and from a secret of this
//! process. A page of another site can send the cookie at most, and does not know the token.

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Actor;
use crate::web::State;
use crate::web::pages::Failure;

const COOKIE: &str = "bank_session";

/// What tokens follow from besides the session. New with each process.
#[derive(Clone, Copy)]
pub(in crate::web) struct Secret([Uuid; 2]);

impl Secret {
    pub(in crate::web) fn new() -> Self {
        Self([Uuid::new_v4(), Uuid::new_v4()])
    }

    /// The token of forms in this session.
    pub(in crate::web) fn token(&self, session: Session) -> String {
        let digest = [self.0[0], self.0[1], session.0].iter().fold(Sha256::new(), Sha256::chain_update);
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A browser, as long as it keeps its cookie.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Session(Uuid);

/// Has every request of `router` come in a session.
pub(in crate::web) fn with_session(router: Router<State>) -> Router<State> {
    router.layer(from_fn(in_session))
}

async fn in_session(mut request: Request, next: Next) -> Response {
    let known = of_cookie(request.headers());
    let session = known.unwrap_or_else(|| Session(Uuid::new_v4()));
    request.extensions_mut().insert(session);
    let mut response = next.run(request).await;
    if known.is_none() {
        let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", session.0.simple());
        let cookie = HeaderValue::from_str(&cookie).expect("hexadecimal digits and ASCII");
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn of_cookie(headers: &HeaderMap) -> Option<Session> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    Uuid::try_parse(value).ok().map(Session)
}

/// The fields of a form that one of our pages has made, and who sent it.
pub(in crate::web) struct Signed<T> {
    pub(in crate::web) fields: T,
    pub(in crate::web) actor: String,
}

#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    token: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned> FromRequest<State> for Signed<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let session = request.extensions().get::<Session>().copied();
        let actor = request.extensions().get::<Actor>().map_or_else(|| "web".to_owned(), |actor| actor.0.clone());
        let form: Result<Form<WithToken<T>>, FormRejection> = Form::from_request(request, state).await;
        let Form(WithToken { token, fields }) = form.map_err(IntoResponse::into_response)?;
        match session.is_some_and(|session| state.secret.token(session) == token) {
            true => Ok(Self { fields, actor }),
            false => Err(Failure::OutdatedForm.into_response()),
        }
    }
}
