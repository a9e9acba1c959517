//! Requests to the bank without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use serde_json::Value;
use tower::ServiceExt as _;

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }
}

/// Sends a request; a body is JSON unless `headers` have another type.
pub async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(body.into())
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let response = router
        .clone()
        .oneshot(request)
        .await
        .expect("a router answers");
    let status = response.status().as_u16();
    let headers = response.headers().clone();

    let bytes = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body that ends");
    Answer {
        status,
        headers,
        text: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    }
}

pub async fn get(router: &Router, path: &str) -> Answer {
    send(router, "GET", path, &[], Body::empty()).await
}

/// Sends a command without a key.
pub async fn post(router: &Router, path: &str, body: Value) -> Answer {
    send(
        router,
        "POST",
        path,
        &[("content-type", "application/json")],
        body.to_string(),
    )
    .await
}

/// Sends a command with a key.
pub async fn post_with_key(router: &Router, path: &str, key: &str, body: Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    send(router, "POST", path, &headers, body.to_string()).await
}
