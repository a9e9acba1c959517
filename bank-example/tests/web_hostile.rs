//! A hundred hostile requests: none breaks the bank, none that is refused writes anything, and text that looks like a
//! script stays a name on the pages and data in the API.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

mod support;

use std::sync::Arc;

use eventsourcing::store::{EventStore, FollowerStore, LogQuery, Position};
use serde_json::{Value, json};
use support::Place;
use support::serving::{Client, Server};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
/// The most bytes that a body may have. A larger one may be refused by closing the connection.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Names that look like code or markup.
const NAMES: [&str; 22] = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)' autofocus='",
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)",
    "</script><script>alert(1)//",
    "<!--<script>",
    "]]><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "{{ 7 * 7 }}{% raw %}${7*7}<%= 7*7 %>",
    "'; DROP TABLE events; --",
    "%' OR '1'='1",
    "../../../../etc/passwd",
    "\u{202e}txt.\u{2066}exe\u{2069}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627}",
    "\u{feff}\u{200b}\u{200d}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "Z\u{334}\u{321}\u{31b}\u{345}\u{353}\u{301}a\u{334}\u{321}lgo\u{301}",
];

/// Bodies that are not an account to be opened.
const NO_ACCOUNTS: [&str; 21] = [
    "",
    "{",
    "null",
    "[]",
    "7",
    "\"Alice\"",
    "{}",
    r#"{"owner":null}"#,
    r#"{"owner":7}"#,
    r#"{"owner":["Alice"]}"#,
    r#"{"owner":{"$ne":""}}"#,
    r#"{"owner":""}"#,
    r#"{"owner":"a\u0000b"}"#,
    r#"{"owner":"a\u001bb"}"#,
    r#"{"owner":"a\r\nSet-Cookie: x=y"}"#,
    r#"{"owner":"\ud800"}"#,
    r#"{"owner":"Alice","owner":"Bob"}"#,
    r#"{"owner":"Alice","balance":"1000000.00"}"#,
    r#"{"owner":"Alice","__proto__":{"admin":true}}"#,
    r#"{"owner":"Alice"} {"owner":"Bob"}"#,
    "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><owner>&e;</owner>",
];

/// JSON values that are not an amount.
const NO_AMOUNTS: [&str; 21] = [
    "7",
    "1e400",
    "-1",
    "null",
    "true",
    "{}",
    "\"\"",
    "\"0\"",
    "\"-0.01\"",
    "\"0.001\"",
    "\"1000000000000.00\"",
    "\"99999999999999999999999999999999999999\"",
    "\"1e10\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"0x10\"",
    "\"1,00\"",
    "\" 1.00\"",
    "\"1.00\\u0000\"",
    "\"\u{ff11}.\u{ff10}\u{ff10}\"",
    "\"<script>alert(1)</script>\"",
];

/// Paths that do not exist.
const PATHS: [&str; 23] = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/assets/../../Cargo.toml",
    "/assets/..%5c..%5cCargo.toml",
    "/assets/%00",
    "//evil.example/",
    "/api/accounts/%00",
    "/api/accounts/../ledger",
    "/api/accounts/%2e%2e%2fledger",
    "/api/accounts/00000000-0000-0000-0000-00000000000g",
    "/api/accounts/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/accounts/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/accounts/%00",
    "/api/log/-1",
    "/api/log/99999999999999999999999999",
    "/log/99999999999999999999999999",
    "/api/accounts/%ff%fe",
    "/api/accounts?owner=%00",
    "/api/accounts?limit=99999999999999999999",
    "/api/log?aggregate=%00&event=%00",
    "/api/log?from=-9999999-01-01T00:00:00Z",
    "/api/accounts?after=1&after=2",
];

/// Pages and lists that treat their parameters as text, and show them as text or not at all.
const SEARCHES: [&str; 9] = [
    "/api/accounts?owner=%ff",
    "/?owner=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/?owner=%00",
    "/?owner=%ff%fe",
    "/?after=99999999999999999999",
    "/log?category=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/log?name=%00",
    "/log?after=-1",
    "/api/accounts?owner=%25_%21%27%3B--",
];

/// A bank that is attacked.
struct Target {
    client: Client,
    store: Arc<dyn FollowerStore>,
    requests: usize,
}

impl Target {
    /// Sends a hostile request. Requires that it gets a proper answer, and that it wrote an event if it was accepted
    /// and none if it was not. Returns the status, or `None` if the connection was closed for too large a body.
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<u16> {
        let before = self.events().await;
        let answer = self.client.send(method, path, headers, body);
        let status = match answer {
            Ok(answer) => {
                assert!(answer.status < 500, "{method} {path}: {answer:?}");
                Some(answer.status)
            }
            Err(error) => {
                assert!(body.len() > BODY_BYTES_MAX, "{method} {path}: {error}");
                None
            }
        };
        let is_accepted =
            method == "POST" && status.is_some_and(|status| (200..400).contains(&status));
        let written = self.events().await - before;
        assert_eq!(
            written,
            usize::from(is_accepted),
            "{method} {path}: {status:?}"
        );
        self.requests += 1;
        status
    }

    async fn refused(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let status = self.send(method, path, headers, body).await;
        assert!(
            status.is_none_or(|status| status >= 400),
            "{method} {path} {}: {status:?}",
            String::from_utf8_lossy(body)
        );
    }

    /// Returns the number of events that commands have recorded.
    async fn events(&self) -> usize {
        let query = LogQuery::after(Position::ZERO)
            .categories(["Account", "Transfer"])
            .limit(usize::MAX);
        self.store
            .read_log(query)
            .await
            .expect("the store answers")
            .events
            .len()
    }

    fn json(&mut self, path: &str) -> Value {
        self.client.get(path).expect("an answer").json()
    }
}

/// The cookie of a session, and the token of its forms.
fn session(client: &mut Client) -> (String, String) {
    let page = client.get("/").expect("a page");
    let cookie = page
        .header("set-cookie")
        .split(';')
        .next()
        .expect("a cookie")
        .to_owned();
    let token = page
        .text
        .split("name=\"token\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    (cookie, token.expect("a token").to_owned())
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Requires that `name` is nothing but text on a page on which nothing but our own scripts run.
fn assert_text(page: &support::http::Answer, name: &str) {
    assert!(page.status < 400, "{page:?}");
    assert_eq!(
        page.text.matches("<script").count(),
        page.text.matches("<script src=\"/assets/").count(),
        "{}",
        page.text
    );
    let is_markup = name.contains(['<', '>', '"', '\'', '&']);
    assert!(
        !is_markup || !page.text.contains(name),
        "{name} is not escaped: {}",
        page.text
    );
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_100_hostile_requests_none_breaks_the_bank_and_none_that_is_refused_writes() {
    for place in Place::all_durable() {
        let server = Server::start(place.url());
        let store = bank_example::stores::open(place.url())
            .await
            .expect("the store opens")
            .store();
        let mut target = Target {
            client: server.client(),
            store,
            requests: 0,
        };
        attack(&mut target).await;
        names_are_text(&mut target);
        eprintln!("{} hostile requests", target.requests);
        assert!(target.requests >= 100, "{}", target.requests);
        server.stop();
    }
}

async fn attack(target: &mut Target) {
    for name in NAMES {
        let body = json!({ "owner": name }).to_string();
        assert_eq!(
            target
                .send("POST", "/api/accounts", &[JSON], body.as_bytes())
                .await,
            Some(201),
            "{name}"
        );
    }
    for body in NO_ACCOUNTS {
        target
            .refused("POST", "/api/accounts", &[JSON], body.as_bytes())
            .await;
    }
    let account = target.json("/api/log?limit=1")["events"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let credit = format!("/api/accounts/{account}/credit");
    for amount in NO_AMOUNTS {
        target
            .refused(
                "POST",
                &credit,
                &[JSON],
                format!("{{\"amount\":{amount}}}").as_bytes(),
            )
            .await;
    }
    for path in PATHS {
        target.refused("GET", path, &[], b"").await;
    }
    for path in SEARCHES {
        target.send("GET", path, &[], b"").await;
    }
    bodies_and_headers(target, &credit).await;
    cross_site(target, &credit).await;
    forms(target, &account).await;
}

async fn bodies_and_headers(target: &mut Target, credit: &str) {
    let large = "x".repeat(1 << 20);
    target
        .refused(
            "POST",
            "/api/accounts",
            &[JSON],
            json!({ "owner": large }).to_string().as_bytes(),
        )
        .await;
    target
        .refused(
            "POST",
            credit,
            &[JSON],
            json!({ "amount": large }).to_string().as_bytes(),
        )
        .await;
    target
        .refused(
            "POST",
            "/api/accounts",
            &[JSON],
            "[".repeat(60_000).as_bytes(),
        )
        .await;
    target
        .refused("POST", "/api/accounts", &[JSON], &[0xff, 0xfe, 0x00])
        .await;
    let amount = br#"{"amount":"1.00"}"#;
    for headers in [
        &[][..],
        &[("Content-Type", "text/plain")],
        &[FORM],
        &[("Content-Type", "application/json\u{0}")],
        &[JSON, ("Idempotency-Key", "")],
        &[JSON, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
        &[JSON, ("If-Match", "' OR 1=1")],
        &[JSON, ("If-Match", "\"99999999999999999999999999\"")],
        &[JSON, ("X", "a\u{0}b")],
    ] {
        target.refused("POST", credit, headers, amount).await;
    }
    let key = "k".repeat(256);
    target
        .refused("POST", credit, &[JSON, ("Idempotency-Key", &key)], amount)
        .await;
    for method in ["DELETE", "PUT", "PATCH", "TRACE", "CONNECT", "<script>"] {
        target.refused(method, credit, &[JSON], amount).await;
    }
}

async fn cross_site(target: &mut Target, credit: &str) {
    let amount = br#"{"amount":"1.00"}"#;
    for header in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1"),
        ("Origin", "<script>"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        target
            .refused("POST", credit, &[JSON, header], amount)
            .await;
        target
            .refused("POST", "/open", &[FORM, header], b"owner=Mallory")
            .await;
    }
    target
        .refused("POST", "/open", &[FORM], b"owner=Mallory")
        .await;
    target
        .refused("POST", "/open", &[FORM], b"owner=Mallory&token=")
        .await;
    let (cookie, token) = session(&mut target.client);
    let without_cookie = format!("owner=Mallory&token={token}");
    target
        .refused("POST", "/open", &[FORM], without_cookie.as_bytes())
        .await;
    target
        .refused(
            "POST",
            "/open",
            &[FORM, ("Cookie", &cookie)],
            b"owner=Mallory&token=0",
        )
        .await;
    let foreign = ("Cookie", "bank_session=00000000000000000000000000000000");
    target
        .refused("POST", "/open", &[FORM, foreign], without_cookie.as_bytes())
        .await;
}

async fn forms(target: &mut Target, account: &str) {
    let (cookie, token) = session(&mut target.client);
    let headers = [FORM, ("Cookie", cookie.as_str())];
    for (path, fields) in [
        ("/open", format!("owner={}", encode("a\0b"))),
        ("/open", format!("owner={}", "x".repeat(1 << 20))),
        ("/open", format!("owner={}", "x".repeat(201))),
        ("/credit", format!("account={account}&amount=1e400")),
        (
            "/credit",
            format!("account={account}&amount={}", "9".repeat(1_000)),
        ),
        (
            "/credit",
            format!("account={}&amount=1", encode("<b>nobody</b>\0")),
        ),
        ("/debit", format!("account={account}&amount=-1")),
        (
            "/transfer",
            format!("account={account}&to={account}&amount=1"),
        ),
        (
            "/transfer",
            format!(
                "account={account}&to=..%2F..&amount={}",
                encode("\u{202e}1")
            ),
        ),
        (
            "/system/retry",
            format!("follower=..%2F&category=%00&id={account}"),
        ),
        ("/system/resume", "follower=..%2F%00".to_owned()),
        (
            "/system/give-up",
            format!("follower=ledger&category=Account&id={account}&reason=%00"),
        ),
    ] {
        target
            .refused(
                "POST",
                path,
                &headers,
                format!("token={token}&{fields}").as_bytes(),
            )
            .await;
    }
}

/// Requires that each name is unchanged in the API, and only text on every page that shows it.
fn names_are_text(target: &mut Target) {
    let accounts: Vec<_> =
        target.json("/api/log?limit=500&aggregate=Account&event=Opened")["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| {
                (
                    event["id"].clone(),
                    event["position"].clone(),
                    event["payload"]["owner"].clone(),
                )
            })
            .collect();
    assert_eq!(
        accounts
            .iter()
            .map(|(_, _, owner)| owner.as_str().expect("a name"))
            .collect::<Vec<_>>(),
        NAMES
    );
    for (id, position, owner) in accounts {
        let id = id.as_str().expect("an id");
        let name = owner.as_str().expect("a name");

        assert_eq!(target.json(&format!("/api/accounts/{id}"))["owner"], name);
        let pages = [
            "/".to_owned(),
            "/log".to_owned(),
            format!("/accounts/{id}"),
            format!("/log/{position}"),
        ];
        for path in pages {
            assert_text(&target.client.get(&path).expect("a page"), name);
        }
    }
    let api = target.client.get("/api/accounts").expect("an answer");
    assert_eq!(
        (
            api.header("content-type"),
            api.header("x-content-type-options")
        ),
        ("application/json", "nosniff")
    );
}
