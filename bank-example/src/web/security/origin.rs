//! Where a request comes from: pages of other sites get nothing done here.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses changes that another site asks for. Browsers always say where a change comes from; whoever says nothing is
/// not a browser, and carries nobody's cookies.
pub(super) async fn same(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "another site may not change anything here\n").into_response()
}

fn is_own(headers: &HeaderMap) -> bool {
    let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return false;
    }
    match headers.get(header::ORIGIN) {
        None => true,
        // The scheme may be that of a proxy in front of us.
        Some(origin) => {
            let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
            authority.is_some() && authority == text(headers, &header::HOST)
        }
    }
}

/// Refuses names other than those of this machine: a name of somebody's own that leads here would make their pages ours.
pub(super) async fn this_machine(request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let named = named.or(request.uri().host());
    if named.is_none_or(is_this_machine) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "the bank is served on this machine only, as localhost\n").into_response()
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_names() {
        for host in ["localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "bank.example", "localhost.bank.example:80", "127.0.0.1.bank.example", "127.0.0.1:80:90", "::1"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
