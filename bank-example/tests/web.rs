//! The pages through the router, without a socket and without a script, on every store.

mod support;
#[path = "support/browser.rs"]
mod window;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bank_example::stores;
use bank_example::system::EventSourcedBank;
use bank_example::web::{Password, Settings, State, router};
use eventsourcing_core::{OnFailure, Runner, Running};
use support::{Place, assert_consistent, money};
use window::{Browser, encode};

type Bank = Arc<Running<EventSourcedBank>>;

async fn start(place: &Place) -> (Bank, Browser) {
    let (bank, router) = start_with(place, &Settings::loopback()).await;
    (bank, Browser::new(router))
}

async fn start_with(place: &Place, settings: &Settings) -> (Bank, Router) {
    let stores = stores::open(place.url()).await.expect("a store");
    let builder = EventSourcedBank::builder(stores).with_runner(Runner::concurrent());
    let bank = Arc::new(builder.with_on_failure_default(OnFailure::Park).start().await.expect("the bank starts"));
    let router = router(State::new(Arc::clone(&bank)), settings);
    (bank, router)
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_without_a_script() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        assert!(browser.get("/").await.shows("No accounts yet"));
        for owner in ["Alice", "Bob <b>&\"'"] {
            let page = browser.submit("/open", &[("owner", owner)]).await;
            assert!(page.shows("The account is open."), "{}", page.html);
        }
        assert!(!browser.page.shows("<b>"), "names are escaped");
        browser.submit("/credit", &[("account", "alice"), ("amount", "1234.5")]).await;
        assert!(browser.page.shows("The money is on the account.") && browser.page.shows("+1,234.50"));
        browser.submit("/debit", &[("account", "Alice"), ("amount", "0.50")]).await;
        browser.submit("/transfer", &[("account", "Alice"), ("to", "Bob <b>&\"'"), ("amount", "34")]).await;
        assert!(browser.page.shows("1,200.00") && browser.page.shows("34.00"), "{}", browser.page.html);
        assert_eq!(browser.page.text("ledger-balance"), "1,234.00");
        assert_eq!(browser.page.text("ledger-transactions"), "4");
        assert_eq!(browser.page.text("ledger-check"), "equal to the sum of all accounts");
        assert_eq!(assert_consistent(&bank).await, (money("1234.00"), 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_stands_beside_its_field_and_what_was_typed_stays() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        browser.get("/").await;
        browser.submit("/open", &[("owner", "Alice")]).await;
        browser.submit("/open", &[("owner", "Twin")]).await;
        browser.submit("/open", &[("owner", "Twin")]).await;
        browser.submit("/credit", &[("account", "Alice"), ("amount", "10")]).await;
        let nobody = "00000000-0000-7000-8000-000000000000";
        let too_long = "x".repeat(201);
        let cases = [
            ("/open", "open-owner", vec![("owner", too_long.as_str())], "1 to 200 characters"),
            ("/open", "open-owner", vec![("owner", "a\u{7}b")], "no control characters"),
            ("/credit", "credit-amount", vec![("account", "Alice"), ("amount", "ten")], "is not an amount"),
            ("/credit", "credit-amount", vec![("account", "Alice"), ("amount", "-1")], "must be positive"),
            ("/credit", "credit-amount", vec![("account", "Alice"), ("amount", "1e99")], "is not an amount"),
            ("/credit", "credit-account", vec![("account", "Carol"), ("amount", "1")], "No account belongs to"),
            ("/credit", "credit-account", vec![("account", "Twin"), ("amount", "1")], "Several accounts belong to"),
            ("/credit", "credit-account", vec![("account", nobody), ("amount", "1")], "no account with this id"),
            ("/debit", "debit-amount", vec![("account", "Alice"), ("amount", "10.01")], "The balance is 10.00"),
            ("/debit", "debit-account", vec![("account", ""), ("amount", "1")], "Which account"),
            ("/transfer", "transfer-to", vec![("account", "Alice"), ("to", "Alice"), ("amount", "1")], "two different"),
            (
                "/transfer",
                "transfer-to",
                vec![("account", "Alice"), ("to", nobody), ("amount", "1")],
                "no account with",
            ),
            ("/transfer", "transfer-amount", vec![("account", "Alice"), ("to", nobody), ("amount", "")], "How much"),
        ];
        for (action, field, fields, why) in cases {
            let page = browser.submit(action, &fields).await;
            assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
            assert!(page.text(&format!("{field}-error")).contains(why), "{}", page.text(&format!("{field}-error")));
            assert!(page.shows(&format!("aria-describedby=\"{field}-error\"")));
            assert_eq!(page.html.matches("aria-invalid").count(), 1, "{fields:?}");
            for (_, value) in fields {
                assert!(page.shows(&format!("value=\"{value}\"")), "{value} is kept");
            }
        }
        assert_eq!(assert_consistent(&bank).await, (money("10.00"), 1), "nothing refused was written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_twice_is_carried_out_once() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        browser.get("/").await;
        browser.submit("/open", &[("owner", "Alice")]).await;
        let page = browser.page.clone();
        browser.submit("/credit", &[("account", "Alice"), ("amount", "10")]).await;
        browser.page = page.clone();
        browser.submit("/credit", &[("account", "Alice"), ("amount", "10")]).await;
        assert_eq!(browser.page.text("ledger-balance"), "10.00");
        browser.page = page;
        browser.submit("/credit", &[("account", "Alice"), ("amount", "11")]).await;
        assert_eq!(browser.page.text("ledger-balance"), "21.00", "another amount is another command");
        assert_consistent(&bank).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_are_searched_and_paged() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        for number in 0..45 {
            bank.accounts.open(&format!("Owner {number:02}")).await.expect("an account");
        }
        bank.settled().await.expect("the followers catch up");
        let mut seen = Vec::new();
        let mut path = "/?owner=OWNER".to_owned();
        loop {
            let page = browser.get(&path).await;
            let rows = page.html.split("<th scope=\"row\">").skip(1).count();
            seen.push(rows);
            let Some(next) = page.html.split("rel=\"next\"").next().filter(|_| page.shows("rel=\"next\"")) else {
                break;
            };
            let href = next.rsplit_once("href=\"").expect("a link").1;
            path = href.split_once('"').expect("an end").0.replace("&#38;", "&").replace("&amp;", "&");
        }
        assert_eq!(seen, [20, 20, 5]);
        let page = browser.get("/?owner=ner%2004").await;
        assert!(page.shows("Owner 04</a>") && page.html.split("<th scope=\"row\">").count() == 2);
        for nothing in ["%25", "%00", "%5C", "'", "no%0Asuch"] {
            assert!(browser.get(&format!("/?owner={nothing}x&after=nonsense")).await.shows("No account belongs"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites_are_refused() {
    let place = &Place::all()[0];
    let (bank, mut browser) = start(place).await;
    browser.get("/").await;
    let token = browser.page.html.split("name=\"token\" value=\"").nth(1).expect("a token")[..64].to_owned();
    let fields = [("owner", "Mallory"), ("token", &token)];

    let outdated = browser.post("/open", &[("owner", "Mallory")]).await;
    assert_eq!(outdated.status, StatusCode::FORBIDDEN);
    assert!(outdated.shows("The form is out of date"));
    let (_, other) = start(place).await;
    let mut stranger = other;
    stranger.get("/").await;
    assert_eq!(stranger.post("/open", &fields).await.status, StatusCode::FORBIDDEN, "a token of another session");

    let kind = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (name, value) in [
        (header::ORIGIN, "http://evil.example"),
        (header::ORIGIN, "null"),
        (header::ORIGIN, "http://localhost:8001"),
        (header::HeaderName::from_static("sec-fetch-site"), "cross-site"),
        (header::HeaderName::from_static("sec-fetch-site"), "same-site"),
    ] {
        let request = Request::post("/open").header(kind.0.clone(), kind.1).header(name, value);
        let answer = browser.send(request, Body::from(encode(&fields))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{value}");
    }
    let rebound = browser.send(Request::get("/").header(header::HOST, "evil.example:8000"), Body::empty()).await;
    assert_eq!(rebound.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(browser.post("/open", &fields).await.status, StatusCode::SEE_OTHER, "our own form is taken");
    let too_large = "x".repeat(100 * 1024);
    let answer = browser.post("/open", &[("owner", &too_large), ("token", &token)]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_consistent(&bank).await;
    assert_eq!(bank.summaries.totals().await.expect("sums").accounts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_browsers_must_not_do() {
    let (_bank, mut browser) = start(&Place::all()[0]).await;
    for path in ["/", "/assets/live.js", "/assets/style.css", "/healthz", "/readyz", "/nothing"] {
        let page = browser.get(path).await;
        let header = |name: &str| page.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"), "{path}");
        assert!(!header("content-security-policy").contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(
            !page.shows("style=\"") && !page.shows("onclick") && !page.shows("<style"),
            "{path}: nothing is inline"
        );
    }
    assert_eq!(browser.get("/nothing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/healthz").await.html, "ok\n");
    assert_eq!(browser.get("/readyz").await.html, "ready\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_must_know_the_password() {
    assert!(!Settings::loopback().may_listen_on("0.0.0.0:80".parse().expect("an address")));
    let settings = Settings::remote(Password::new("correct horse battery").expect("long enough"));
    assert!(settings.may_listen_on("0.0.0.0:80".parse().expect("an address")));
    let (bank, router) = start_with(&Place::all()[0], &settings).await;
    let mut browser = Browser::new(router);
    for path in ["/", "/assets/style.css", "/live"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(page.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    assert_eq!(browser.get("/healthz").await.status, StatusCode::OK);
    let admitted = Request::get("/")
        .header(header::HOST, "bank.example")
        .header(header::AUTHORIZATION, "Bearer correct horse battery");
    assert_eq!(browser.send(admitted, Body::empty()).await.status, StatusCode::OK);
    assert!(bank.health().await.expect("an answer").is_healthy());
}
