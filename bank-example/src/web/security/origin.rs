//! The origin of a request: pages of other sites cannot change anything, and without a password only this machine is
//! served.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Settings;

/// An address under which browsers find the bank, such as `https://bank.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Returns `true` if browsers use TLS for this address.
    pub(super) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// The error for a text that is not the origin of a site.
#[derive(Debug, thiserror::Error)]
#[error(
    "an origin is a scheme, a host name and optionally a port, such as https://bank.example, without a path; give the bank a host name of its own"
)]
pub struct NotAnOrigin;

impl FromStr for Origin {
    type Err = NotAnOrigin;

    /// Normalises an address as browsers show it to the form that they send: no default port, lower case.
    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_suffix('/').unwrap_or(&text);
        let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin)?;
        let port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(NotAnOrigin),
        };
        let authority = authority.strip_suffix(port).unwrap_or(authority);
        let is_forbidden = |c: char| !c.is_ascii_graphic() || "/?#@\\\"<>,".contains(c);
        match authority.is_empty() || authority.contains(is_forbidden) {
            true => Err(NotAnOrigin),
            false => Ok(Self(format!("{scheme}://{authority}"))),
        }
    }
}

/// Refuses changes requested by another site. Browsers always send the origin of a change; a program that sends none is
/// not a browser, and carries no other user's cookies.
pub(super) async fn same(
    State(settings): State<Settings>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() || is_own(request.headers(), &settings) {
        return next.run(request).await;
    }
    let why = "another site cannot change anything here; if this is the bank's own address, name it with --origin, or configure \
               the proxy to pass on Host\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

fn is_own(headers: &HeaderMap, settings: &Settings) -> bool {
    let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Some((_, authority)) = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    // The scheme may be that of a proxy in front of the bank.
    if Some(authority) == text(headers, &header::HOST)
        || is_named(origin.to_str().unwrap_or_default(), settings)
    {
        return true;
    }
    // A proxy may have replaced Host. No page can forge `Sec-Fetch-Site`, which the browser itself sends, but without a
    // password there must not be a proxy at all.
    site == Some("same-origin") && settings.has_password()
}

fn is_named(origin: &str, settings: &Settings) -> bool {
    origin
        .parse()
        .is_ok_and(|origin: Origin| settings.origins.contains(&origin))
}

/// Refuses every request that may come from another machine: through a proxy, or under a host name of an attacker that
/// resolves to this machine and would make the attacker's pages same-origin.
pub(super) async fn this_machine(request: Request, next: Next) -> Response {
    if let Some(mark) = proxy_mark(&request) {
        let why = format!(
            "the bank has no password, so it refuses requests that come through a proxy (this one has {mark}); give the \
             bank a password in BANK_PASSWORD, and see docs/serving.md for the configuration of the proxy\n"
        );
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    if is_addressed_to_this_machine(&request) {
        return next.run(request).await;
    }
    let why = "the bank has no password, so it is served on this machine only, as localhost; to serve it under another \
               name, give it a password in BANK_PASSWORD\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Headers that proxies add and browsers do not, besides all that begin with `x-forwarded`.
const PROXY_HEADERS: [&str; 13] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-originating-ip",
    "x-proxyuser-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-ray",
    "x-envoy-external-address",
];

/// Returns the sign that a request has come through a proxy. A proxy that adds no header may still speak HTTP/1.0, as
/// nginx does by default; browsers have not for decades.
fn proxy_mark(request: &Request) -> Option<&str> {
    if request.version() < Version::HTTP_11 {
        return Some("HTTP/1.0 in its first line");
    }
    let mut names = request.headers().keys().map(HeaderName::as_str);
    names.find(|name| name.starts_with("x-forwarded") || PROXY_HEADERS.contains(name))
}

fn is_addressed_to_this_machine(request: &Request) -> bool {
    let hosts = request.headers().get_all(header::HOST);
    hosts
        .iter()
        .map(|host| host.to_str().unwrap_or_default())
        .chain(request.uri().host())
        .all(is_this_machine)
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None => name.parse().map(IpAddr::V4).ok(),
    };
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_names() {
        for host in [
            "localhost",
            "LocalHost:8000",
            "127.0.0.1:80",
            "127.0.0.2",
            "[::1]:8000",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:1",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "bank.example",
            "localhost.bank.example:80",
            "127.0.0.1.bank.example",
            "127.0.0.1:80:90",
            "::1",
            "127.1",
            "[127.0.0.1]",
            "[::2]",
            "0.0.0.0:8000",
            "192.0.2.1",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for (typed, sent) in [
            ("https://bank.example", "https://bank.example"),
            ("HTTPS://Bank.Example:443/", "https://bank.example"),
            ("http://bank.example:80", "http://bank.example"),
            ("https://bank.example:8443", "https://bank.example:8443"),
            ("http://[2001:db8::1]:8000", "http://[2001:db8::1]:8000"),
        ] {
            assert_eq!(
                typed.parse::<Origin>().expect(typed),
                Origin(sent.to_owned())
            );
        }
        for text in [
            "",
            "bank.example",
            "https://",
            "ftp://bank.example",
            "https://bank.example/a",
            "https://me@bank",
            "*",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
