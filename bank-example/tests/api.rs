//! The API, through its router without a socket, on every store.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use bank_example::web::{self, Password, Settings, State};
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{Append, CodecId, Expected, MemoryStore, NewEvent};
use eventsourcing::testing::{FaultRates, FaultyStore, Seed};
use eventsourcing::{Id, OnFailure, Runner, RunningSystem, Stores};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::http::{Answer, get, post, post_with_key, send};
use support::{Place, an_answer_before_its_transfer, append_missing, assert_consistent};
use tower::ServiceExt as _;

const ALL: [&str; 6] = [
    "accounts",
    "transfers",
    "ledger",
    "activity",
    "log",
    "followers",
];
const UNKNOWN_ID: &str = "00000000-0000-0000-0000-00000000dead";

/// A bank with its router.
struct Served {
    bank: Arc<RunningSystem<EventSourcedBank>>,
    router: Router,
}

impl Served {
    async fn at(place: &Place) -> Self {
        Self::on(
            bank_example::stores::open(place.url())
                .await
                .expect("the store opens"),
        )
        .await
    }

    async fn on(stores: Stores) -> Self {
        Self::with(stores, OnFailure::Park).await
    }

    async fn with(stores: Stores, on_failure: OnFailure) -> Self {
        let builder =
            EventSourcedBank::builder(stores).with_runner(Runner::concurrent().without_leases());
        let bank = builder
            .with_on_failure_default(on_failure)
            .start()
            .await
            .expect("the bank starts");
        let bank = Arc::new(bank);
        Self {
            router: web::router(State::new(Arc::clone(&bank)), &Settings::default()),
            bank,
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = get(&self.router, &format!("/api{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        post(&self.router, &format!("/api{path}"), body).await
    }

    async fn again(&self, path: &str, key: &str, body: Value) -> Answer {
        post_with_key(&self.router, &format!("/api{path}"), key, body).await
    }

    async fn open(&self, owner: &str) -> String {
        let answer = self.post("/accounts", json!({ "owner": owner })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["account"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Returns the number of events in the log.
    async fn events(&self) -> usize {
        self.bank
            .wait_until_caught_up()
            .await
            .expect("all followers get there");
        self.get("/log?limit=500").await["events"]
            .as_array()
            .expect("a list")
            .len()
    }

    async fn close(self) {
        drop(self.router);
        let mut bank = self.bank;
        // The task that watches the log may hold the bank for a moment longer.
        for _ in 0..500 {
            match Arc::try_unwrap(bank) {
                Ok(bank) => return bank.stop().await.expect("a graceful end"),
                Err(held) => bank = held,
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the bank is held");
    }
}

/// Requires a problem in the form of RFC 9457, of this kind.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str) -> Value {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, "application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(
        problem["type"],
        format!("urn:bank-example:problem:{kind}"),
        "{problem}"
    );
    assert_eq!(problem["status"], status, "{problem}");
    assert!(
        problem["title"].is_string()
            && problem["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
    );
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_opened_changed_and_looked_at() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let opened = bank.post("/accounts", json!({ "owner": "Alice" })).await;
        let account = opened.json()["account"].clone();
        let id = account["id"].as_str().expect("an id").to_owned();
        assert_eq!((opened.status, opened.header("etag")), (201, "\"1\""));
        assert_eq!(opened.header("location"), format!("/api/accounts/{id}"));
        assert_eq!(
            account,
            json!({ "id": id, "owner": "Alice", "balance": "0.00", "version": 1 })
        );

        let credited = bank
            .post(&format!("/accounts/{id}/credit"), json!({ "amount": "20" }))
            .await;
        assert_eq!((credited.status, credited.header("etag")), (200, "\"2\""));
        assert_eq!(credited.json()["account"]["balance"], "20.00");
        let debited = bank
            .post(
                &format!("/accounts/{id}/debit"),
                json!({ "amount": "5.50" }),
            )
            .await;
        assert_eq!(
            debited.json()["account"],
            json!({ "id": id, "owner": "Alice", "balance": "14.50", "version": 3 })
        );
        assert!(debited.json()["position"].as_u64() > credited.json()["position"].as_u64());

        let bob = bank.open("Bob").await;
        let request = json!({ "to": bob, "amount": "4.50" });
        let transferred = bank
            .post(
                &format!("/accounts/{id}/transfer?wait=read-models"),
                request,
            )
            .await;
        assert_eq!(
            (transferred.status, transferred.header("read-models")),
            (200, "caught-up")
        );
        let ledger = json!({ "balance": "14.50", "transactions": 4, "sum_of_accounts": "14.50", "agrees": true });
        assert_eq!(bank.get("/ledger").await, ledger);
        let expected = json!({ "from": id, "to": bob, "amount": "4.50", "position": transferred.json()["position"] });
        assert_eq!(transferred.json(), expected);

        let now = get(&bank.router, &format!("/api/accounts/{id}")).await;
        assert_eq!(
            (now.header("etag"), &now.json()["balance"]),
            ("\"4\"", &"10.00".into())
        );
        let headers = [("if-none-match", "\"4\"")];
        let unchanged = send(
            &bank.router,
            "GET",
            &format!("/api/accounts/{id}"),
            &headers,
            String::new(),
        )
        .await;
        assert_eq!(
            (
                unchanged.status,
                unchanged.text.as_str(),
                unchanged.header("etag")
            ),
            (304, "", "\"4\"")
        );
        assert_eq!(
            bank.get(&format!("/accounts/{id}/versions/2")).await["balance"],
            "20.00"
        );

        let history = bank.get(&format!("/accounts/{id}/history?limit=3")).await;
        let names: Vec<_> = history["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| &event["name"])
            .collect();
        assert_eq!(names, ["Opened", "Credited", "Debited"]);
        assert_eq!(
            history["events"][1]["payload"],
            json!({ "amount": "20.00" })
        );
        assert_eq!(
            (&history["events"][1]["actor"], &history["next"]),
            (&"api".into(), &3.into())
        );
        let rest = bank
            .get(&format!("/accounts/{id}/history?limit=3&after=3"))
            .await;
        assert_eq!(
            (rest["events"][0]["version"].as_u64(), &rest["next"]),
            (Some(4), &Value::Null)
        );
        assert_eq!(assert_consistent(&bank.bank).await.1, 4);
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        for number in 0..7 {
            bank.open(if number % 2 == 0 { "Even" } else { "Odd 100%" })
                .await;
        }
        bank.bank
            .wait_until_caught_up()
            .await
            .expect("all followers get there");
        let owners = async |query: &str| {
            let mut owners = Vec::new();
            let mut next = json!(0);

            while !next.is_null() {
                let page = bank
                    .get(&format!("/accounts?limit=2&after={next}{query}"))
                    .await;
                let accounts = page["accounts"].as_array().expect("a list").clone();
                owners.extend(
                    accounts
                        .iter()
                        .map(|account| account["owner"].as_str().expect("a name").to_owned()),
                );
                next = page["next"].clone();
            }
            owners
        };
        assert_eq!(
            owners("").await,
            [
                "Even", "Odd 100%", "Even", "Odd 100%", "Even", "Odd 100%", "Even"
            ]
        );
        assert_eq!(owners("&owner=odd%20100%25").await.len(), 3);
        assert_eq!(owners("&owner=nobody").await.len(), 0);

        let first = bank.get("/activity?limit=5").await;
        let rest = bank
            .get(&format!("/activity?limit=5&before={}", first["next"]))
            .await;
        assert_eq!(
            (
                first["activity"].as_array().map(Vec::len),
                rest["activity"].as_array().map(Vec::len)
            ),
            (Some(5), Some(2))
        );
        assert!(
            first["activity"][0]["position"].as_u64() > first["activity"][1]["position"].as_u64()
        );

        let mut events = 0;
        let mut next = json!(0);

        while !next.is_null() {
            let page = bank
                .get(&format!(
                    "/log?limit=3&after={next}&aggregate=Account&event=Opened"
                ))
                .await;
            events += page["events"].as_array().expect("a list").len();
            next = page["next"].clone();
        }
        assert_eq!(events, 7);
        let none = [
            "/log?aggregate=Ledger",
            "/log?event=Debited",
            "/log?to=2020-01-01T00:00:00Z",
            "/log?from=2120-01-01T00:00:00Z",
        ];
        for path in none {
            assert_eq!(bank.get(path).await["events"], json!([]), "{path}");
        }
        assert_eq!(
            bank.get("/log?from=2020-01-01T00:00:00Z&to=2120-01-01T00:00:00Z")
                .await["events"]
                .as_array()
                .map(Vec::len),
            Some(7)
        );
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_in_steps_is_begun_and_looked_at_until_it_ends() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let bob = bank.open("Bob").await;

        bank.post(
            &format!("/accounts/{alice}/credit"),
            json!({ "amount": "20.00" }),
        )
        .await;
        let order = json!({ "from": alice, "to": bob, "amount": "7.00" });
        let begun = bank.again("/transfers", "t", order.clone()).await;
        assert_eq!(
            (begun.status, &begun.json()["state"]),
            (202, &"requested".into())
        );
        let location = begun
            .header("location")
            .strip_prefix("/api")
            .expect("a path of the API")
            .to_owned();
        bank.bank
            .wait_until_caught_up()
            .await
            .expect("all followers get there");
        assert_eq!(bank.get(&location).await["state"], "completed");
        let again = bank.again("/transfers", "t", order).await;
        assert_eq!(
            (again.status, again.text),
            (202, begun.text),
            "the first answer, though more has happened since"
        );

        let order = json!({ "from": alice, "to": UNKNOWN_ID, "amount": "1.00" });
        assert_eq!(bank.post("/transfers", order).await.status, 202);
        bank.bank
            .wait_until_caught_up()
            .await
            .expect("all followers get there");
        let transfers = bank.get("/transfers").await["transfers"].clone();
        assert_eq!(
            (transfers.as_array().map(Vec::len), &transfers[1]["state"]),
            (Some(2), &"compensated".into())
        );
        assert!(
            transfers[1]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("does not exist"))
        );
        let page = bank.get("/transfers?limit=1").await;
        let rest = bank
            .get(&format!("/transfers?limit=1&after={}", page["next"]))
            .await;
        assert_eq!(rest["transfers"][0]["id"], transfers[1]["id"]);
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_followers_and_causes_are_shown() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let credited = bank
            .post(
                &format!("/accounts/{alice}/credit?wait=read-models"),
                json!({ "amount": "1.00" }),
            )
            .await;
        let position = credited.json()["position"].clone();
        let related = bank.get(&format!("/log/{position}")).await;
        assert_eq!(
            (&related["event"]["name"], &related["cause"]),
            (&"Credited".into(), &Value::Null)
        );
        let caused = &related["caused"].as_array().expect("a list")[1];
        assert_eq!(caused["name"], "TransactionAdded");
        assert_eq!(caused["correlation_id"], related["event"]["correlation_id"]);
        let back = bank.get(&format!("/log/{}", caused["position"])).await;
        assert_eq!(back["cause"], related["event"]);

        let health = bank.get("/followers").await;
        assert_eq!(health["healthy"], true);
        let definition = EventSourcedBank::definition();
        let names: BTreeSet<_> = definition
            .followers
            .iter()
            .map(|follower| follower.name)
            .collect();
        let shown = health["followers"].as_array().expect("a list");
        assert_eq!(
            shown
                .iter()
                .map(|follower| follower["name"].as_str().expect("a name"))
                .collect::<BTreeSet<_>>(),
            names
        );
        let [acknowledged] = &**health["acknowledged"].as_array().expect("a list") else {
            panic!("{health}")
        };
        let store = bank.bank.accounts.store();
        let expected = store.acknowledged().await.expect("an answer");
        assert_eq!(acknowledged["log"], json!(store.log_id()));
        assert_eq!(acknowledged["meaning"], expected.to_string());
        assert_eq!(
            acknowledged["survives_loss_of_machine"],
            expected.survives_loss_of_machine()
        );
        let system = bank.get("/system").await;
        assert_eq!(
            (&system["name"], &system["mermaid"]),
            (&"EventSourcedBank".into(), &definition.to_mermaid().into())
        );
        let verified = bank.get("/verify").await;
        assert_eq!(
            (
                &verified["agrees"],
                verified["followers"].as_array().map(Vec::len)
            ),
            (&true.into(), Some(shown.len()))
        );
        assert_eq!(
            bank.get("/parked").await,
            json!({ "parked": [], "timers": [] })
        );
        for path in ALL {
            bank.get(&format!("/{path}")).await;
        }
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_changes_nothing() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let bob = bank.open("Bob").await;

        bank.post(
            &format!("/accounts/{alice}/credit"),
            json!({ "amount": "20.00" }),
        )
        .await;
        let events = bank.events().await;

        let overdraft = bank
            .post(
                &format!("/accounts/{alice}/debit"),
                json!({ "amount": "25.00" }),
            )
            .await;
        let problem = assert_problem(&overdraft, 409, "insufficient-funds");
        assert_eq!(
            (&problem["balance"], &problem["amount"]),
            (&"20.00".into(), &"25.00".into())
        );
        let transfer = |to: &str, amount: &str| json!({ "to": to, "amount": amount });
        let too_much = bank
            .post(
                &format!("/accounts/{alice}/transfer"),
                transfer(&bob, "20.01"),
            )
            .await;
        assert_problem(&too_much, 409, "insufficient-funds");
        let to_self = bank
            .post(
                &format!("/accounts/{alice}/transfer"),
                transfer(&alice, "1.00"),
            )
            .await;
        assert_problem(&to_self, 422, "invalid");
        let to_unknown_account = bank
            .post(
                &format!("/accounts/{alice}/transfer"),
                transfer(UNKNOWN_ID, "1.00"),
            )
            .await;
        assert_problem(&to_unknown_account, 404, "not-found");
        let steps = json!({ "from": alice, "to": alice, "amount": "1.00" });
        assert_problem(&bank.post("/transfers", steps).await, 422, "invalid");

        for amount in [
            "0",
            "-1.00",
            "1.001",
            "1000000000000.00",
            "1e3",
            "",
            "NaN",
            "1,00",
        ] {
            let refused = bank
                .post(
                    &format!("/accounts/{alice}/credit"),
                    json!({ "amount": amount }),
                )
                .await;
            assert_problem(&refused, 422, "invalid");
        }
        for owner in [String::new(), "a\0b".into(), "x".repeat(201)] {
            assert_problem(
                &bank.post("/accounts", json!({ "owner": owner })).await,
                422,
                "invalid",
            );
        }
        for body in [
            json!({}),
            json!({ "owner": 7 }),
            json!({ "owner": "A", "colour": "red" }),
            json!([]),
        ] {
            assert_problem(&bank.post("/accounts", body).await, 422, "invalid");
        }
        let unknown = bank
            .post("/accounts", json!({ "owner": "A", "colour": "red" }))
            .await;
        assert!(
            unknown.json()["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("unknown field `colour`"))
        );

        let raw = async |headers: &[(&str, &str)], body: String| {
            send(&bank.router, "POST", "/api/accounts", headers, body).await
        };
        let as_json = ("content-type", "application/json");
        assert_problem(&raw(&[as_json], "{".into()).await, 400, "bad-request");
        assert_problem(
            &raw(&[], r#"{"owner":"A"}"#.into()).await,
            415,
            "unsupported-media-type",
        );
        assert_problem(
            &raw(&[("content-type", "text/plain")], "{}".into()).await,
            415,
            "unsupported-media-type",
        );
        assert_problem(
            &raw(
                &[as_json],
                format!("{{\"owner\":\"{}\"}}", "x".repeat(1 << 20)),
            )
            .await,
            413,
            "too-large",
        );
        assert_problem(
            &raw(
                &[as_json, ("idempotency-key", &"k".repeat(256))],
                "{}".into(),
            )
            .await,
            400,
            "bad-request",
        );
        assert_problem(
            &raw(&[as_json, ("idempotency-key", "")], "{}".into()).await,
            400,
            "bad-request",
        );
        let two = [as_json, ("idempotency-key", "a"), ("idempotency-key", "b")];
        assert_problem(
            &raw(&two, r#"{"owner":"A"}"#.into()).await,
            400,
            "bad-request",
        );
        assert_problem(
            &raw(&[as_json, ("if-match", "1")], r#"{"owner":"A"}"#.into()).await,
            400,
            "bad-request",
        );
        assert_problem(
            &raw(&[as_json, ("if-match", "*")], r#"{"owner":"A"}"#.into()).await,
            412,
            "precondition-failed",
        );
        assert_eq!(bank.events().await, events, "nothing was written");
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_reported_as_unavailable() {
    let never = FaultRates {
        unavailable: 1.0,
        ..FaultRates::default()
    };
    let store = Arc::new(FaultyStore::new(MemoryStore::new()).with_rates(Seed::from_env(), never));
    store.switch_off();
    let read_models = SqliteStore::in_memory().expect("a database");
    let bank = Served::on(Stores::shared(Arc::clone(&store)).with_read_models(read_models)).await;
    let alice = bank.open("Alice").await;
    let path = format!("/accounts/{alice}/credit");
    let amount = json!({ "amount": "1.00" });

    store.switch_on();
    for answer in [
        get(&bank.router, &format!("/api/accounts/{alice}")).await,
        get(&bank.router, "/api/log").await,
        bank.again(&path, "k", amount.clone()).await,
        bank.post(&path, amount.clone()).await,
    ] {
        assert_problem(&answer, 503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    store.switch_off();
    assert_eq!(
        bank.again(&path, "k", amount).await.json()["account"]["balance"],
        "1.00"
    );
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_before_the_api_answer_with_problems() {
    for place in Place::all() {
        assert_layers_answer_with_problems(&place).await;
    }
}

async fn assert_layers_answer_with_problems(place: &Place) {
    let bank = Served::at(place).await;
    let headers = [
        ("content-type", "application/json"),
        ("origin", "http://evil.example"),
    ];
    let foreign = send(
        &bank.router,
        "POST",
        "/api/accounts",
        &headers,
        r#"{"owner":"A"}"#,
    )
    .await;
    assert_problem(&foreign, 403, "forbidden");
    let elsewhere = Request::builder()
        .uri("/api/accounts")
        .header("host", "evil.example")
        .body(Body::empty());
    let elsewhere = bank
        .router
        .clone()
        .oneshot(elsewhere.expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(elsewhere.status(), 421);
    assert_eq!(
        elsewhere.headers()["content-type"],
        "application/problem+json"
    );

    let password = Password::new("correct horse battery").expect("it is long enough");
    let router = web::router(
        State::new(Arc::clone(&bank.bank)),
        &Settings::remote(password),
    );
    let unknown = get(&router, "/api/accounts").await;
    assert_problem(&unknown, 401, "unauthorized");
    assert!(
        unknown.header("www-authenticate").starts_with("Basic"),
        "{unknown:?}"
    );
    let known = [
        ("authorization", "Bearer correct horse battery"),
        ("content-type", "application/json"),
    ];
    let opened = send(&router, "POST", "/api/accounts", &known, r#"{"owner":"A"}"#).await;
    let id = opened.json()["account"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        bank.get(&format!("/accounts/{id}/history")).await["events"][0]["actor"],
        "token"
    );
    drop(router);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_resources_and_invalid_requests_are_problems() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let not_found = [
            format!("/accounts/{UNKNOWN_ID}"),
            format!("/accounts/{UNKNOWN_ID}/versions/1"),
            format!("/accounts/{UNKNOWN_ID}/history"),
            format!("/accounts/{alice}/versions/0"),
            format!("/accounts/{alice}/versions/18446744073709551615"),
            format!("/transfers/{UNKNOWN_ID}"),
            "/log/0".into(),
            "/log/18446744073709551615".into(),
            "/nothing".into(),
        ];
        for path in &not_found {
            assert_problem(
                &get(&bank.router, &format!("/api{path}")).await,
                404,
                "not-found",
            );
        }
        let beyond = get(&bank.router, &format!("/api/accounts/{alice}/versions/7")).await;
        assert_eq!(assert_problem(&beyond, 404, "not-found")["latest"], 1);
        let senseless = [
            "/accounts/x",
            "/accounts?colour=red",
            "/accounts?limit=x",
            "/log?from=yesterday",
            "/log/x",
            "/transfers?after=-1",
        ];
        for path in senseless {
            assert_problem(
                &get(&bank.router, &format!("/api{path}")).await,
                400,
                "bad-request",
            );
        }
        let long = format!("/accounts?owner={}", "x".repeat(201));
        let not_allowed = [
            "/accounts?limit=0",
            "/activity?limit=501",
            "/accounts?owner=%00",
            "/log?aggregate=%00",
            "/log?event=",
            &long,
        ];
        for path in not_allowed {
            assert_problem(
                &get(&bank.router, &format!("/api{path}")).await,
                422,
                "invalid",
            );
        }
        for path in [
            "/accounts?after=18446744073709551615",
            "/log?after=18446744073709551615",
            "/transfers?after=18446744073709551615",
            "/activity?before=18446744073709551615",
        ] {
            bank.get(path).await;
        }
        assert_problem(
            &send(&bank.router, "DELETE", "/api/accounts", &[], String::new()).await,
            405,
            "method-not-allowed",
        );
        let retry = |follower: &str| format!("/parked/{follower}/{alice}/retry");
        assert_problem(
            &bank.post(&retry("ledger"), json!({})).await,
            409,
            "not-parked",
        );
        assert_problem(
            &bank.post(&retry("no-such-follower"), json!({})).await,
            404,
            "not-found",
        );
        let reason = json!({ "reason": " " });
        assert_problem(
            &bank
                .post(&format!("/parked/ledger/{alice}/give-up"), reason)
                .await,
            422,
            "invalid",
        );
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_first_answer() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let opened = bank
            .again("/accounts", "open", json!({ "owner": "Alice" }))
            .await;
        let alice = opened.json()["account"]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let bob = bank.open("Bob").await;
        let requests = [
            ("/accounts".to_owned(), "open", json!({ "owner": "Alice" })),
            (
                format!("/accounts/{alice}/credit"),
                "credit",
                json!({ "amount": "20.00" }),
            ),
            (
                format!("/accounts/{alice}/debit"),
                "debit",
                json!({ "amount": "15.00" }),
            ),
            (
                format!("/accounts/{alice}/transfer"),
                "transfer \u{2603}",
                json!({ "to": bob, "amount": "5.00" }),
            ),
            (
                "/transfers".to_owned(),
                "steps",
                json!({ "from": bob, "to": alice, "amount": "1.00" }),
            ),
        ];
        let mut first = Vec::new();
        for (path, key, body) in &requests {
            let answer = bank.again(path, key, body.clone()).await;
            assert!((200..300).contains(&answer.status), "{answer:?}");
            first.push(answer);
        }
        assert_eq!(first[0].text, opened.text);
        let events = bank.events().await;
        for (answer, (path, key, body)) in first.iter().zip(&requests) {
            let again = bank.again(path, key, body.clone()).await;
            assert_eq!(
                (again.status, &again.text),
                (answer.status, &answer.text),
                "{path}"
            );
            assert_eq!(
                (again.header("etag"), again.header("location")),
                (answer.header("etag"), answer.header("location"))
            );
        }
        // The same amount with other digits is the same request; anything else is another one.
        let other_digits = bank
            .again(&requests[1].0, "credit", json!({ "amount": "20" }))
            .await;
        assert_eq!(other_digits.text, first[1].text);
        for (path, body) in [
            (requests[1].0.clone(), json!({ "amount": "21.00" })),
            (requests[2].0.clone(), json!({ "amount": "20.00" })),
            (
                format!("/accounts/{bob}/credit"),
                json!({ "amount": "20.00" }),
            ),
            (
                format!("/accounts/{UNKNOWN_ID}/credit"),
                json!({ "amount": "20.00" }),
            ),
            ("/accounts".to_owned(), json!({ "owner": "Alice" })),
            (
                "/transfers".to_owned(),
                json!({ "from": alice, "to": bob, "amount": "20.00" }),
            ),
        ] {
            assert_problem(&bank.again(&path, "credit", body).await, 422, "key-reused");
        }
        assert_eq!(bank.events().await, events, "nothing was written");
        assert_consistent(&bank.bank).await;
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_first_answer_after_a_restart_and_from_another_process() {
    for place in Place::all_durable() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let path = format!("/accounts/{alice}/credit");
        let first = bank.again(&path, "k", json!({ "amount": "20.00" })).await;
        // More events than the search for recent ones covers.
        for _ in 0..60 {
            bank.post(&path, json!({ "amount": "1.00" })).await;
        }
        bank.post(
            &format!("/accounts/{alice}/debit"),
            json!({ "amount": "80.00" }),
        )
        .await;
        let other = Served::at(&place).await;
        let there = other.again(&path, "k", json!({ "amount": "20.00" })).await;
        assert_eq!((there.status, &there.text), (200, &first.text));
        other.close().await;
        bank.close().await;

        let bank = Served::at(&place).await;
        let again = bank.again(&path, "k", json!({ "amount": "20.00" })).await;
        assert_eq!(
            (again.status, &again.text, again.header("etag")),
            (200, &first.text, "\"2\"")
        );
        assert_problem(
            &bank.again(&path, "k", json!({ "amount": "20.01" })).await,
            422,
            "key-reused",
        );
        assert_eq!(
            bank.get(&format!("/accounts/{alice}")).await["balance"],
            "0.00"
        );
        bank.close().await;
    }
}

/// Requests that the bank rejects, with their keys and kinds, while Alice has 20.00 and Bob nothing.
fn refused_requests(
    alice: &str,
    bob: &str,
) -> Vec<(String, &'static str, Value, u16, &'static str)> {
    let of = |account: &str, what: &str| format!("/accounts/{account}/{what}");
    let steps = json!({ "from": bob, "to": bob, "amount": "1.00" });
    vec![
        (
            of(alice, "debit"),
            "debit",
            json!({ "amount": "25.00" }),
            409,
            "insufficient-funds",
        ),
        (
            of(alice, "transfer"),
            "transfer",
            json!({ "to": bob, "amount": "25.00" }),
            409,
            "insufficient-funds",
        ),
        (
            of(alice, "transfer"),
            "to herself",
            json!({ "to": alice, "amount": "1.00" }),
            422,
            "invalid",
        ),
        (
            of(alice, "transfer"),
            "to an unknown account",
            json!({ "to": UNKNOWN_ID, "amount": "1.00" }),
            404,
            "not-found",
        ),
        (
            of(alice, "credit"),
            "nothing",
            json!({ "amount": "0" }),
            422,
            "invalid",
        ),
        (
            of(alice, "credit"),
            "mills",
            json!({ "amount": "1.001" }),
            422,
            "invalid",
        ),
        (
            of(UNKNOWN_ID, "credit"),
            "unknown account",
            json!({ "amount": "1.00" }),
            404,
            "not-found",
        ),
        (
            "/accounts".to_owned(),
            "nameless",
            json!({ "owner": "" }),
            422,
            "invalid",
        ),
        (
            "/transfers".to_owned(),
            "steps \u{2603}",
            steps,
            422,
            "invalid",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_bank_rejected_is_rejected_again() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let bob = bank.open("Bob").await;

        let credit = async |amount: &str| {
            let credited = bank
                .post(
                    &format!("/accounts/{alice}/credit"),
                    json!({ "amount": amount }),
                )
                .await;
            assert_eq!(credited.status, 200);
        };
        credit("20.00").await;
        let requests = refused_requests(&alice, &bob);
        let mut first = Vec::new();
        for (path, key, body, status, kind) in &requests {
            let answer = bank.again(path, key, body.clone()).await;
            assert_problem(&answer, *status, kind);
            first.push(answer);
        }
        // From here on the bank would decide otherwise.
        credit("80.00").await;
        let events = bank.events().await;
        for (answer, (path, key, body, ..)) in first.iter().zip(&requests) {
            let again = bank.again(path, key, body.clone()).await;
            assert_eq!(
                (again.status, &again.text),
                (answer.status, &answer.text),
                "{path}"
            );
            assert_eq!(again.header("content-type"), "application/problem+json");
        }
        assert_eq!(first[0].json()["balance"], "20.00", "as it was then");
        let debit = format!("/accounts/{alice}/debit");
        let other_digits = bank.again(&debit, "debit", json!({ "amount": "25" })).await;
        assert_eq!(
            (other_digits.status, other_digits.text),
            (409, first[0].text.clone())
        );
        for (path, key, body) in [
            (debit.clone(), "debit", json!({ "amount": "24.00" })),
            (
                format!("/accounts/{alice}/credit"),
                "debit",
                json!({ "amount": "25.00" }),
            ),
            (
                format!("/accounts/{alice}/credit"),
                "mills",
                json!({ "amount": "1.00" }),
            ),
            (
                "/accounts".to_owned(),
                "nameless",
                json!({ "owner": "Carol" }),
            ),
            ("/accounts".to_owned(), "debit", json!({ "owner": "Carol" })),
        ] {
            assert_problem(&bank.again(&path, key, body).await, 422, "key-reused");
        }
        assert_eq!(bank.events().await, events, "nothing was written");
        assert_eq!(
            bank.again(&debit, "another", json!({ "amount": "25.00" }))
                .await
                .status,
            200
        );
        assert_problem(
            &bank.post(&debit, json!({ "amount": "100.00" })).await,
            409,
            "insufficient-funds",
        );
        credit("100.00").await;
        assert_eq!(
            bank.post(&debit, json!({ "amount": "100.00" }))
                .await
                .status,
            200,
            "without a key nothing is kept"
        );
        assert_consistent(&bank.bank).await;
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_stored_through_a_restart_and_known_to_another_process() {
    for place in Place::all_durable() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let path = format!("/accounts/{alice}/debit");
        let amount = json!({ "amount": "5.00" });

        let first = bank.again(&path, "k", amount.clone()).await;
        assert_problem(&first, 409, "insufficient-funds");
        bank.post(
            &format!("/accounts/{alice}/credit"),
            json!({ "amount": "9.00" }),
        )
        .await;
        let other = Served::at(&place).await;
        let there = other.again(&path, "k", amount.clone()).await;
        assert_eq!((there.status, &there.text), (409, &first.text));
        other.close().await;
        bank.close().await;

        let bank = Served::at(&place).await;
        let again = bank.again(&path, "k", amount).await;
        assert_eq!((again.status, &again.text), (409, &first.text));
        assert_problem(
            &bank.again(&path, "k", json!({ "amount": "4.00" })).await,
            422,
            "key-reused",
        );
        assert_eq!(
            bank.get(&format!("/accounts/{alice}")).await["balance"],
            "9.00"
        );
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_the_bank_did_not_decide_are_not_stored() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let path = format!("/accounts/{alice}/credit");
        let send = async |headers: &[(&str, &str)], body: &str| {
            let headers: Vec<_> = [("idempotency-key", "k")]
                .iter()
                .chain(headers)
                .copied()
                .collect();
            send(
                &bank.router,
                "POST",
                &format!("/api{path}"),
                &headers,
                body.to_owned(),
            )
            .await
        };
        let as_json = ("content-type", "application/json");
        let amount = r#"{"amount":"1.00"}"#;

        assert_problem(&send(&[], amount).await, 415, "unsupported-media-type");
        assert_problem(&send(&[as_json], "{").await, 400, "bad-request");
        assert_problem(&send(&[as_json], r#"{"amount":1}"#).await, 422, "invalid");
        assert_problem(
            &send(&[as_json, ("origin", "http://evil.example")], amount).await,
            403,
            "forbidden",
        );
        assert_problem(
            &send(&[as_json, ("if-match", "1")], amount).await,
            400,
            "bad-request",
        );
        assert_problem(
            &send(&[as_json, ("if-match", "\"7\"")], amount).await,
            412,
            "precondition-failed",
        );
        assert_problem(
            &bank.again("/nothing", "k", json!({})).await,
            404,
            "not-found",
        );
        let done = send(&[as_json, ("if-match", "\"1\"")], amount).await;
        assert_eq!(
            (done.status, done.header("etag")),
            (200, "\"2\""),
            "the same key can still be used"
        );
        bank.close().await;
    }
}

/// Half of the requests come before the money, from two processes where the store allows two.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_are_all_carried_out_or_all_refused() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let other = if place.url() == "memory:" {
            None
        } else {
            Some(Served::at(&place).await)
        };
        let alice = bank.open("Alice").await;
        let debit = format!("/api/accounts/{alice}/debit");
        for round in 0..20 {
            let routers = [&bank, other.as_ref().unwrap_or(&bank)].map(|bank| bank.router.clone());
            let key = format!("round {round}");
            let ask = |number: usize| {
                let router = routers[number % 2].clone();
                let path = debit.clone();
                let key = key.clone();

                tokio::spawn(async move {
                    post_with_key(&router, &path, &key, json!({ "amount": "1.00" })).await
                })
            };
            let mut tasks: Vec<_> = (0..6).map(ask).collect();
            bank.post(
                &format!("/accounts/{alice}/credit"),
                json!({ "amount": "1.00" }),
            )
            .await;
            tasks.extend((6..12).map(ask));
            let mut answers = BTreeSet::new();
            for task in tasks {
                let answer = task.await.expect("an answer");
                answers.insert((answer.status, answer.text));
            }
            assert_eq!(answers.len(), 1, "{answers:?}");
            let (status, text) = answers.pop_first().expect("one");
            let balance = bank.get(&format!("/accounts/{alice}")).await["balance"].clone();
            match status {
                200 => assert_eq!(balance, "0.00"),
                409 => {
                    assert_eq!(balance, "1.00");
                    assert_eq!(
                        post(&bank.router, &debit, json!({ "amount": "1.00" }))
                            .await
                            .status,
                        200
                    );
                }
                _ => panic!("{text}"),
            }
        }
        assert_consistent(&bank.bank).await;
        if let Some(other) = other {
            other.close().await;
        }
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_requests_with_one_key_one_is_carried_out() {
    for place in Place::all() {
        let bank = Arc::new(Served::at(&place).await);
        let alice = bank.open("Alice").await;
        let credit = |number: usize| {
            let bank = Arc::clone(&bank);
            let path = format!("/accounts/{alice}/credit");

            // Three in four requests are the same, the others are not.
            let amount = if number % 4 == 3 { "2.00" } else { "1.00" };
            tokio::spawn(async move { bank.again(&path, "k", json!({ "amount": amount })).await })
        };
        let mut done = BTreeSet::new();
        let mut reused = 0;

        let tasks: Vec<_> = (0..32).map(credit).collect();
        for task in tasks {
            let answer = task.await.expect("an answer");
            match answer.status {
                200 => drop(done.insert(answer.text)),
                _ => drop((assert_problem(&answer, 422, "key-reused"), reused += 1)),
            }
        }
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(reused == 8 || reused == 24, "{reused}");
        assert_eq!(bank.get(&format!("/accounts/{alice}")).await["version"], 2);

        let opens: Vec<_> = (0..16)
            .map(|_| {
                let bank = Arc::clone(&bank);
                tokio::spawn(async move {
                    bank.again("/accounts", "bob", json!({ "owner": "Bob" }))
                        .await
                        .text
                })
            })
            .collect();
        let mut opened = BTreeSet::new();
        for open in opens {
            opened.insert(open.await.expect("an answer"));
        }
        assert_eq!(opened.len(), 1, "{opened:?}");
        Arc::into_inner(bank)
            .expect("the tasks have ended")
            .close()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_with_an_expected_version_changes_no_other_version() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        let bob = bank.open("Bob").await;

        let if_match = async |path: &str, tag: &str, key: &str, body: Value| {
            let headers = [
                ("content-type", "application/json"),
                ("if-match", tag),
                ("idempotency-key", key),
            ];
            send(
                &bank.router,
                "POST",
                &format!("/api/accounts/{alice}/{path}"),
                &headers,
                body.to_string(),
            )
            .await
        };
        let amount = json!({ "amount": "5.00" });
        let credited = if_match("credit", "\"1\"", "a", amount.clone()).await;
        assert_eq!((credited.status, credited.header("etag")), (200, "\"2\""));
        let stale = if_match("credit", "\"1\"", "b", amount.clone()).await;
        assert_eq!(
            assert_problem(&stale, 412, "precondition-failed")["latest"],
            2
        );
        let again = if_match("credit", "\"1\"", "a", amount.clone()).await;
        assert_eq!(
            (again.status, again.text),
            (200, credited.text),
            "it is the same request, and was carried out"
        );
        assert_eq!(
            if_match("credit", "\"7\", \"2\"", "c", amount.clone())
                .await
                .status,
            200
        );
        assert_eq!(
            if_match("credit", "*", "d", amount.clone()).await.status,
            200
        );
        assert_problem(
            &if_match("credit", "W/\"4\"", "e", amount.clone()).await,
            412,
            "precondition-failed",
        );
        assert_problem(
            &if_match("debit", "\"3\"", "f", amount.clone()).await,
            412,
            "precondition-failed",
        );
        let transfer = json!({ "to": bob, "amount": "1.00" });
        assert_problem(
            &if_match("transfer", "\"3\"", "g", transfer.clone()).await,
            412,
            "precondition-failed",
        );
        assert_eq!(
            if_match("transfer", "\"4\"", "h", transfer.clone())
                .await
                .status,
            200
        );
        let too_much = json!({ "to": bob, "amount": "100.00" });
        assert_problem(
            &if_match("transfer", "\"5\"", "i", too_much).await,
            409,
            "insufficient-funds",
        );
        let to_self = json!({ "to": alice, "amount": "1.00" });
        assert_problem(
            &if_match("transfer", "\"5\"", "j", to_self).await,
            422,
            "invalid",
        );

        let many = (0..16).map(|number| {
            let router = bank.router.clone();
            let path = format!("/api/accounts/{bob}/credit");

            let headers = [("content-type", "application/json"), ("if-match", "\"2\"")];
            let body = json!({ "amount": format!("{}.00", number + 1) }).to_string();
            tokio::spawn(async move { send(&router, "POST", &path, &headers, body).await })
        });
        let mut statuses = Vec::new();
        for task in many.collect::<Vec<_>>() {
            statuses.push(task.await.expect("an answer").status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![200], vec![412; 15]].concat());
        bank.close().await;
    }
}

/// Writes an event that cannot be decoded.
async fn write_garbage(bank: &Served, account: &str, version: Expected) {
    let stream = account.parse::<Id<Account>>().expect("an id").stream();
    let name = "Credited".into();
    let payload = b"{\"amount\":7}".to_vec();
    let metadata = b"{}".to_vec();

    let event = NewEvent {
        name,
        schema_version: 1,
        codec: CodecId(1),
        payload,
        metadata,
    };
    let append = Append::new(Timestamp::now()).with_events(stream, version, vec![event]);
    bank.bank
        .accounts
        .store()
        .append(append)
        .await
        .expect("it is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_listed_retried_and_discarded_once() {
    for place in Place::all() {
        let bank = Served::at(&place).await;
        let alice = bank.open("Alice").await;
        write_garbage(&bank, &alice, Expected::Any).await;
        write_garbage(&bank, &alice, Expected::Any).await;
        bank.bank
            .wait_until_caught_up()
            .await
            .expect("the parked events are processed");
        assert_eq!(bank.get("/followers").await["healthy"], false);
        let parked = bank.get("/parked").await["parked"].clone();
        let of_ledger = parked
            .as_array()
            .expect("a list")
            .iter()
            .find(|parked| parked["follower"] == "ledger");
        let of_ledger = of_ledger.expect("the ledger cannot read it");
        assert_eq!(
            (
                &of_ledger["id"],
                &of_ledger["waiting"],
                &of_ledger["version"]
            ),
            (&alice.as_str().into(), &1.into(), &2.into())
        );

        let retry = format!("/parked/ledger/{alice}/retry");
        let give_up = format!("/parked/ledger/{alice}/give-up");

        let edited = json!({ "by": "ann", "payload": { "amount": "7.00" } });
        let first = bank.again(&retry, "r", edited.clone()).await;
        assert_eq!(
            (first.status, &first.json()["events"]),
            (200, &1.into()),
            "{first:?}"
        );
        assert!(
            first.json()["failure"].is_string(),
            "the second one cannot be read either"
        );
        let again = bank.again(&retry, "r", edited).await;
        assert_eq!((again.status, again.text), (200, first.text));
        assert_problem(&bank.again(&retry, "r", json!({})).await, 422, "key-reused");

        let reason = json!({ "reason": "booked by hand" });
        let given_up = bank.again(&give_up, "g", reason.clone()).await;
        assert_eq!(
            (given_up.status, given_up.json()),
            (200, json!({ "events": 0 }))
        );
        assert_eq!(bank.again(&give_up, "g", reason.clone()).await.status, 200);
        assert_problem(&bank.post(&give_up, reason).await, 409, "not-parked");
        let records = bank.get("/parked/records").await["records"].clone();
        let records: Vec<_> = records.as_array().expect("a list").iter().collect();
        assert_eq!(records.len(), 3, "{records:?}");
        assert!(
            records[0]["by"]
                .as_str()
                .is_some_and(|by| by.starts_with("ann (key ")),
            "{records:?}"
        );
        assert_eq!(
            records[2]["action"],
            json!({ "dropped": { "reason": "booked by hand" } })
        );
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_has_stopped_is_resumed() {
    for place in Place::all() {
        let stores = bank_example::stores::open(place.url())
            .await
            .expect("the store opens");
        let bank = Served::with(stores, OnFailure::Stop).await;
        let order = an_answer_before_its_transfer(&bank.bank).await;
        let state = async || {
            let health = bank.get("/followers").await;
            let followers = health["followers"].as_array().expect("a list").clone();
            followers
                .into_iter()
                .find(|follower| follower["name"] == "transfers")
                .expect("it is declared")
        };
        let stopped = state().await;
        assert_eq!(stopped["state"], "stopped");
        assert!(
            stopped["failure"]
                .as_str()
                .is_some_and(|failure| failure.contains("does not exist")),
            "{stopped}"
        );
        let path = "/api/followers/transfers/resume";
        let resume =
            async || send(&bank.router, "POST", path, &[("idempotency-key", "r")], "").await;

        assert_eq!(
            (resume().await.status, resume().await.json()),
            (202, json!({ "follower": "transfers" }))
        );
        bank.bank
            .wait_until_caught_up()
            .await
            .expect_err("it stops again");
        assert_eq!(
            (
                &state().await["state"],
                bank.get("/followers").await["healthy"].as_bool()
            ),
            (&"stopped".into(), Some(false))
        );
        let foreign = [("origin", "http://evil.example")];
        assert_problem(
            &send(&bank.router, "POST", path, &foreign, "").await,
            403,
            "forbidden",
        );

        append_missing(&bank.bank, order).await;
        let first = resume().await;
        assert_eq!(first.status, 202);
        bank.bank.wait_until_caught_up().await.expect("it goes on");
        assert_eq!(state().await["state"], "running");
        let again = resume().await;
        assert_eq!(
            (again.status, again.text),
            (202, first.text),
            "nothing happens, and the answer is the same"
        );
        assert_problem(
            &send(
                &bank.router,
                "POST",
                "/api/followers/no-such-follower/resume",
                &[],
                "",
            )
            .await,
            404,
            "not-found",
        );
        let conditional = send(&bank.router, "POST", path, &[("if-match", "*")], "").await;
        assert_problem(&conditional, 412, "precondition-failed");
        bank.close().await;
    }
}

/// Fills in a request for `operation` from the examples in the document.
fn example(path: &str, operation: &Value) -> (String, Vec<(String, String)>, String) {
    let mut path = format!("/api{path}");
    let mut query = Vec::new();
    let mut headers = Vec::new();

    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().expect("a name");
        let example = &parameter["example"];

        let example = example
            .as_str()
            .map_or_else(|| example.to_string(), str::to_owned);
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
            Some("query") => query.push(format!("{name}={example}")),
            Some("header") if example != "null" => headers.push((name.to_owned(), example)),
            _ => {}
        }
    }
    assert!(
        !path.contains('{'),
        "{path}: a parameter of the path has no example"
    );
    let body = &operation["requestBody"]["content"]["application/json"]["example"];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    headers.extend(
        (!body.is_empty()).then(|| ("content-type".to_owned(), "application/json".to_owned())),
    );
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", query.join("&"))
    };
    (format!("{path}{query}"), headers, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_every_route_and_its_examples_work() {
    let place = &Place::all()[0];
    let bank = Served::at(place).await;
    let document = bank.get("/openapi.json").await;
    assert_eq!(
        document,
        serde_json::to_value(web::api::openapi()).expect("JSON")
    );
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        operations.extend(
            item.as_object()
                .expect("operations")
                .iter()
                .map(|(method, operation)| (path, method, operation)),
        );
    }
    let routes: BTreeSet<_> = operations
        .iter()
        .map(|(path, method, _)| format!("{method} {path}"))
        .collect();
    let known = [
        "get /accounts",
        "get /accounts/{id}",
        "get /accounts/{id}/history",
        "get /accounts/{id}/versions/{version}",
        "get /activity",
        "get /followers",
        "get /ledger",
        "get /log",
        "get /log/{position}",
        "get /parked",
        "get /parked/records",
        "get /system",
        "get /transfers",
        "get /transfers/{id}",
        "get /verify",
        "post /accounts",
        "post /accounts/{id}/credit",
        "post /accounts/{id}/debit",
        "post /accounts/{id}/transfer",
        "post /followers/{follower}/resume",
        "post /parked/{follower}/{id}/give-up",
        "post /parked/{follower}/{id}/retry",
        "post /transfers",
    ];
    assert_eq!(routes, known.map(str::to_owned).into());

    // The examples are tried in an order that begins with opening accounts and ends with parked events.
    let order = [
        "post /accounts",
        "post /accounts/{id}/credit",
        "post /transfers",
        "post /accounts/{id}/transfer",
    ];
    let is_parked = |path: &str| path.starts_with("/parked/{");
    operations.sort_by_key(|(path, method, _)| {
        let name = format!("{method} {path}");
        (
            is_parked(path),
            order
                .iter()
                .position(|first| *first == name)
                .unwrap_or(order.len()),
            *path == "/parked/{follower}/{id}/give-up",
        )
    });
    let mut tried = 0;
    for (path, method, operation) in operations {
        if is_parked(path) && tried == known.len() - 2 {
            let alice = bank.get("/accounts?owner=alice").await["accounts"][0]["id"]
                .as_str()
                .expect("an id")
                .to_owned();
            write_garbage(&bank, &alice, Expected::Any).await;
            write_garbage(&bank, &alice, Expected::Any).await;
        }
        bank.bank
            .wait_until_caught_up()
            .await
            .expect("all followers get there");
        let (uri, headers, body) = example(path, operation);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = send(&bank.router, &method.to_uppercase(), &uri, &headers, body).await;
        let status = answer.status.to_string();
        assert!(
            answer.status < 300 && operation["responses"][&status].is_object(),
            "{method} {uri}: {answer:?}"
        );
        if format!("{method} {path}") == "post /accounts" {
            assert_eq!(
                bank.again("/accounts", "open-bob", json!({ "owner": "Bob" }))
                    .await
                    .status,
                201
            );
        }
        tried += 1;
    }
    assert_eq!(tried, known.len());
    bank.close().await;
}
