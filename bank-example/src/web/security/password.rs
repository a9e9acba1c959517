//! The password that clients on other machines must know.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// A password. Only its digest is stored.
#[derive(Clone)]
pub struct Password([u8; 32]);

impl Password {
    /// The shortest password, in characters.
    pub const CHARACTERS_MIN: usize = 12;

    /// Returns the password if it is long enough.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.chars().count() >= Self::CHARACTERS_MIN).then(|| Self(digest(text)))
    }

    /// Returns a digest of the password and of `purpose`, which reveals nothing about the password.
    pub(super) fn secret(&self, purpose: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.0)
            .chain_update(purpose)
            .finalize()
            .into()
    }

    /// Compares digests, so that the time of the comparison reveals nothing about the password.
    fn is(&self, text: &str) -> bool {
        self.0 == digest(text)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// The sender of a request, as recorded in the metadata of events.
#[derive(Clone, Debug)]
pub(in crate::web) struct Actor(pub(in crate::web) String);

/// Lets requests pass that have the password: as that of any user (`Basic`), or as a token (`Bearer`).
pub(super) async fn ask(
    State(password): State<Password>,
    mut request: Request,
    next: Next,
) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match given.and_then(|given| admitted(&password, given)) {
        Some(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        None => {
            let challenge = (
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"bank\", charset=\"UTF-8\""),
            );
            (
                StatusCode::UNAUTHORIZED,
                [challenge],
                "the bank requires a password\n",
            )
                .into_response()
        }
    }
}

fn admitted(password: &Password, given: &str) -> Option<Actor> {
    let (scheme, rest) = given.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return password.is(rest).then(|| Actor("token".to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, given) = decoded.split_once(':')?;
    let user: String = user.chars().filter(|c| !c.is_control()).take(100).collect();
    password.is(given).then(|| {
        Actor(if user.is_empty() {
            "web".to_owned()
        } else {
            user
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_the_password_are_admitted() {
        assert!(Password::new("short").is_none());
        let password = Password::new("correct horse").expect("long enough");
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let who = |given: &str| admitted(&password, given).map(|actor| actor.0);
        assert_eq!(
            who(&basic("teller:correct horse")).as_deref(),
            Some("teller")
        );
        assert_eq!(who("Bearer correct horse").as_deref(), Some("token"));
        for wrong in [
            &basic("teller:wrong"),
            &basic("correct horse"),
            "Basic %%%",
            "EventHash correct horse",
            "",
        ] {
            assert_eq!(who(wrong), None, "{wrong}");
        }
    }
}
