//! Where a request comes from: pages of other sites get nothing done here, and without a password nobody gets in from
//! elsewhere.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Settings;

/// An address that browsers find the bank under, such as `https://bank.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Returns `true` if browsers come over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// Why a text is not the origin of a site.
#[derive(Debug, thiserror::Error)]
#[error(
    "an origin is a scheme, a name and perhaps a port, such as https://bank.example; the bank needs a name of its own"
)]
pub struct NotAnOrigin;

impl FromStr for Origin {
    type Err = NotAnOrigin;

    /// Takes what browsers show, and makes of it what they send: no default port, no capitals.
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
        let is_odd = |c: char| !c.is_ascii_graphic() || "/?#@\\\"<>,".contains(c);
        match authority.is_empty() || authority.contains(is_odd) {
            true => Err(NotAnOrigin),
            false => Ok(Self(format!("{scheme}://{authority}"))),
        }
    }
}

/// Refuses changes that another site asks for. Browsers always say where a change comes from; a program that says nothing is
/// not a browser, and carries no one's cookies.
pub(super) async fn same(
    State(settings): State<Settings>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() || is_own(request.headers(), &settings) {
        return next.run(request).await;
    }
    let why = "another site may not change anything here; if this is the bank's own address, name it with --origin, or have \
               the proxy pass on Host\n";
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
    // The scheme may be that of a proxy in front of us.
    if Some(authority) == text(headers, &header::HOST)
        || is_named(origin.to_str().unwrap_or_default(), settings)
    {
        return true;
    }
    // A proxy may have put another name in the place of Host. What no page can forge is what the browser itself says, but
    // without a password there must not be a proxy.
    site == Some("same-origin") && settings.has_password()
}

fn is_named(origin: &str, settings: &Settings) -> bool {
    origin
        .parse()
        .is_ok_and(|origin: Origin| settings.origins.contains(&origin))
}

/// Refuses whatever may come from elsewhere: through a proxy, or under a name of somebody's own that leads here and would
/// make their pages ours.
pub(super) async fn this_machine(request: Request, next: Next) -> Response {
    if let Some(mark) = proxy_mark(&request) {
        let why = format!(
            "the bank has no password, and so it answers no request that comes through a proxy (it has {mark}); give the \
             bank a password in BANK_PASSWORD, and see docs/serving.md for the set-up of the proxy\n"
        );
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    if is_addressed_to_this_machine(&request) {
        return next.run(request).await;
    }
    let why = "the bank has no password, and so it is served on this machine only, as localhost; to serve it under another \
               name, give it a password in BANK_PASSWORD\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Headers that proxies add and no browser does, besides all that begin with `x-forwarded`.
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

/// What shows that a request has come through a proxy. A proxy that adds nothing may still speak HTTP/1.0, as nginx does
/// unless it is told otherwise; browsers have not for decades.
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
