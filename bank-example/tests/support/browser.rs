//! A browser without a window: it asks the router, keeps cookies, fills in forms. No socket, no script.
#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt as _;

pub struct Browser {
    pub router: Router,
    cookie: Option<String>,
    password: Option<String>,
    /// The address of the last page.
    pub page: Page,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub html: String,
}

impl Browser {
    pub fn new(router: Router) -> Self {
        Self {
            router,
            cookie: None,
            password: None,
            page: Page::default(),
        }
    }

    /// Sends this password from now on.
    pub fn with_password(self, password: &str) -> Self {
        Self {
            password: Some(format!("Bearer {password}")),
            ..self
        }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path), Body::empty()).await
    }

    /// Sends the form `action` of the current page with these fields and its hidden ones, and follows the redirect.
    pub async fn submit(&mut self, action: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.page.form(action);
        let mut all: Vec<(String, String)> = form.clone();
        for (name, value) in fields {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let pairs: Vec<_> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = self.post(action, &pairs).await;
        match answer.headers.get(header::LOCATION) {
            Some(location) => {
                assert_eq!(answer.status, StatusCode::SEE_OTHER);
                let location = location.to_str().expect("text").to_owned();
                self.get(&location).await
            }
            None => answer,
        }
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = Request::post(path)
            .header(header::ORIGIN, "http://localhost:8000")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, Body::from(encode(fields))).await
    }

    pub async fn send(&mut self, request: axum::http::request::Builder, body: Body) -> Page {
        let mut request = request.body(body).expect("a request");
        request
            .headers_mut()
            .entry(header::HOST)
            .or_insert("localhost:8000".parse().expect("a value"));
        if let Some(cookie) = &self.cookie {
            request
                .headers_mut()
                .insert(header::COOKIE, cookie.parse().expect("a value"));
        }
        if let Some(password) = &self.password {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, password.parse().expect("a value"));
        }
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("the router answers");
        let (parts, body) = response.into_parts();
        if let Some(cookie) = parts.headers.get(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
                "{cookie}"
            );
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let html = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        self.page = Page {
            status: parts.status,
            headers: parts.headers,
            html,
        };
        self.page.clone()
    }
}

impl Page {
    /// The text of the element with this id, without tags.
    pub fn text(&self, id: &str) -> String {
        let rest = self
            .html
            .split_once(&format!("id=\"{id}\""))
            .unwrap_or_else(|| panic!("no {id} in {}", self.html))
            .1;
        let inner = rest.split_once('>').expect("a tag").1;
        inner.split_once('<').expect("an end").0.trim().to_owned()
    }

    /// The form's hidden fields.
    fn form(&self, action: &str) -> Vec<(String, String)> {
        let begin = format!("action=\"{action}\"");
        let rest = self
            .html
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no form {action} in {}", self.html))
            .1;
        let form = rest.split_once("</form>").expect("an end").0;
        let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
        let pair = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"").expect("a value");
            (
                name.to_owned(),
                rest.split_once('"').expect("an end").0.to_owned(),
            )
        };
        inputs.map(pair).collect()
    }

    pub fn shows(&self, text: &str) -> bool {
        self.html.contains(text)
    }
}

/// Encodes fields as a form.
pub fn encode(fields: &[(&str, &str)]) -> String {
    let escape =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect::<Vec<_>>()
        .join("&")
}
