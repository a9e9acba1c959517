//! The pages through the router, without a socket and without a script, on every store.

mod support;
#[path = "support/browser.rs"]
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode, header};
use bank_example::domain::account::AccountEvent;
use bank_example::domain::transfer;
use bank_example::stores;
use bank_example::system::EventSourcedBank;
use bank_example::web::{Password, Settings, State, router};
use eventsourcing::{Application, FollowerName, OnFailure, Runner, RunningSystem};
use futures_util::StreamExt as _;
use support::{
    Place, an_answer_before_its_transfer, append_missing, assert_consistent, money,
    record_event_of_newer_release, record_unreadable_event, schedule_unreadable_timer,
};
use tower::ServiceExt as _;
use window::{Browser, encode};

type Bank = Arc<RunningSystem<EventSourcedBank>>;

async fn start(place: &Place) -> (Bank, Browser) {
    let (bank, router) = start_with(place, &Settings::loopback()).await;
    (bank, Browser::new(router))
}

async fn start_with(place: &Place, settings: &Settings) -> (Bank, Router) {
    start_as(place, settings, OnFailure::Park).await
}

/// Starts a bank with this reaction to events that the transfers fail to process.
async fn start_as(place: &Place, settings: &Settings, transfers: OnFailure) -> (Bank, Router) {
    let stores = stores::open(place.url()).await.expect("a store");
    let builder = EventSourcedBank::builder(stores).with_runner(Runner::concurrent());
    let builder = builder
        .with_on_failure_default(OnFailure::Park)
        .with_on_failure(EventSourcedBank::TRANSFERS, transfers);
    let bank = Arc::new(builder.start().await.expect("the bank starts"));
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
        browser
            .submit("/credit", &[("account", "alice"), ("amount", "1234.5")])
            .await;
        assert!(
            browser.page.shows("The money is on the account.") && browser.page.shows("+1,234.50")
        );
        browser
            .submit("/debit", &[("account", "Alice"), ("amount", "0.50")])
            .await;
        browser
            .submit(
                "/transfer",
                &[
                    ("account", "Alice"),
                    ("to", "Bob <b>&\"'"),
                    ("amount", "34"),
                ],
            )
            .await;
        assert!(
            browser.page.shows("1,200.00") && browser.page.shows("34.00"),
            "{}",
            browser.page.html
        );
        assert_eq!(browser.page.text("ledger-balance"), "1,234.00");
        assert_eq!(browser.page.text("ledger-transactions"), "4");
        assert_eq!(
            browser.page.text("ledger-check"),
            "equal to the sum of all accounts"
        );
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
        browser
            .submit("/credit", &[("account", "Alice"), ("amount", "10")])
            .await;
        let missing = "00000000-0000-7000-8000-000000000000";
        let too_long = "x".repeat(201);
        let cases = [
            (
                "/open",
                "open-owner",
                vec![("owner", too_long.as_str())],
                "1 to 200 characters",
            ),
            (
                "/open",
                "open-owner",
                vec![("owner", "a\u{7}b")],
                "no control characters",
            ),
            (
                "/credit",
                "credit-amount",
                vec![("account", "Alice"), ("amount", "ten")],
                "is not an amount",
            ),
            (
                "/credit",
                "credit-amount",
                vec![("account", "Alice"), ("amount", "-1")],
                "must be positive",
            ),
            (
                "/credit",
                "credit-amount",
                vec![("account", "Alice"), ("amount", "1e99")],
                "is not an amount",
            ),
            (
                "/credit",
                "credit-account",
                vec![("account", "Carol"), ("amount", "1")],
                "“Carol” has no account",
            ),
            (
                "/credit",
                "credit-account",
                vec![("account", "Twin"), ("amount", "1")],
                "“Twin” has several accounts",
            ),
            (
                "/credit",
                "credit-account",
                vec![("account", missing), ("amount", "1")],
                "no account with this id",
            ),
            (
                "/debit",
                "debit-amount",
                vec![("account", "Alice"), ("amount", "10.01")],
                "exceeds the balance of 10.00",
            ),
            (
                "/debit",
                "debit-account",
                vec![("account", ""), ("amount", "1")],
                "Enter the id",
            ),
            (
                "/transfer",
                "transfer-to",
                vec![("account", "Alice"), ("to", "Alice"), ("amount", "1")],
                "two different",
            ),
            (
                "/transfer",
                "transfer-to",
                vec![("account", "Alice"), ("to", missing), ("amount", "1")],
                "no account with",
            ),
            (
                "/transfer",
                "transfer-amount",
                vec![("account", "Alice"), ("to", missing), ("amount", "")],
                "Enter an amount",
            ),
        ];
        for (action, field, fields, why) in cases {
            let page = browser.submit(action, &fields).await;
            assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
            assert!(
                page.text(&format!("{field}-error")).contains(why),
                "{}",
                page.text(&format!("{field}-error"))
            );
            assert!(page.shows(&format!("aria-describedby=\"{field}-error\"")));
            assert_eq!(page.html.matches("aria-invalid").count(), 1, "{fields:?}");
            for (_, value) in fields {
                assert!(page.shows(&format!("value=\"{value}\"")), "{value} is kept");
            }
        }
        assert_eq!(
            assert_consistent(&bank).await,
            (money("10.00"), 1),
            "nothing refused was written"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_twice_is_carried_out_once() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        browser.get("/").await;
        browser.submit("/open", &[("owner", "Alice")]).await;
        let page = browser.page.clone();
        browser
            .submit("/credit", &[("account", "Alice"), ("amount", "10")])
            .await;
        browser.page = page.clone();
        browser
            .submit("/credit", &[("account", "Alice"), ("amount", "10")])
            .await;
        assert_eq!(browser.page.text("ledger-balance"), "10.00");
        browser.page = page;
        browser
            .submit("/credit", &[("account", "Alice"), ("amount", "11")])
            .await;
        assert_eq!(
            browser.page.text("ledger-balance"),
            "21.00",
            "another amount is another command"
        );
        assert_consistent(&bank).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_are_searched_and_paged() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        for number in 0..45 {
            bank.accounts
                .open(&format!("Owner {number:02}"))
                .await
                .expect("an account");
        }
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        let mut seen = Vec::new();
        let mut path = "/?owner=OWNER".to_owned();
        loop {
            let page = browser.get(&path).await;
            let rows = page.html.split("<th scope=\"row\">").skip(1).count();
            seen.push(rows);
            let Some(next) = page
                .html
                .split("rel=\"next\"")
                .next()
                .filter(|_| page.shows("rel=\"next\""))
            else {
                break;
            };
            let href = next.rsplit_once("href=\"").expect("a link").1;
            path = href
                .split_once('"')
                .expect("an end")
                .0
                .replace("&#38;", "&")
                .replace("&amp;", "&");
        }
        assert_eq!(seen, [20, 20, 5]);
        let page = browser.get("/?owner=ner%2004").await;
        assert!(page.shows("Owner 04</a>") && page.html.split("<th scope=\"row\">").count() == 2);
        for nothing in ["%25", "%00", "%5C", "'", "no%0Asuch"] {
            assert!(
                browser
                    .get(&format!("/?owner={nothing}x&after=nonsense"))
                    .await
                    .shows("No account has an owner")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_shown_as_it_was_at_every_version() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        let id = bank.accounts.open("Alice").await.expect("an account").id;
        for _ in 0..120 {
            bank.accounts
                .credit(id, money("1"))
                .await
                .expect("a credit");
        }
        let page = browser.get(&format!("/accounts/{id}")).await;
        assert_eq!(
            (page.text("account-balance"), page.text("account-version")),
            ("120.00".into(), "121".into())
        );
        assert!(
            page.shows("<svg class=\"chart\"") && page.shows("Earlier events"),
            "a page of the history"
        );
        assert_eq!(page.html.matches("data-position").count(), 100);
        for at in [1, 2, 60, 121] {
            let page = browser.get(&format!("/accounts/{id}?at={at}")).await;
            assert_eq!(page.text("then-version"), format!("{at} of 121"));
            assert_eq!(page.text("then-balance"), format!("{}.00", at - 1));
            let change = if at == 1 {
                "was opened".into()
            } else {
                format!("from {}.00 to {}.00", at - 2, at - 1)
            };
            assert!(
                page.text("then-change").contains(&change),
                "{}",
                page.text("then-change")
            );
            assert!(
                page.shows(&format!("?at={at}\">{at}</a>")),
                "the version is listed"
            );
        }
        for nonsense in ["0", "99999", "-1", "x", "18446744073709551616"] {
            let page = browser
                .get(&format!("/accounts/{id}?at={nonsense}&to={nonsense}"))
                .await;
            assert_eq!(page.status, StatusCode::OK, "{nonsense}");
        }
        // A form on the page of an account stays there, with its errors.
        browser.get(&format!("/accounts/{id}")).await;
        let page = browser.submit("/debit", &[("amount", "500")]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            page.text("debit-amount-error")
                .contains("the balance of 120.00")
                && page.shows("then-version")
        );
        browser.submit("/debit", &[("amount", "20")]).await;
        assert_eq!(browser.page.text("account-balance"), "100.00");
        assert!(
            browser.page.shows("The money has left the account.")
                && browser.page.shows(">&nbsp; web</td>")
        );
        for missing in [
            "missing",
            "00000000-0000-7000-8000-000000000000",
            "..%2f..%2fetc%2fpasswd",
            "%00",
        ] {
            assert_eq!(
                browser.get(&format!("/accounts/{missing}")).await.status,
                StatusCode::NOT_FOUND,
                "{missing}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_shown_retried_and_discarded() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        let id = bank.accounts.open("Alice").await.expect("an account").id;
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        let page = browser.get("/system").await;
        assert!(
            page.shows("All followers work, and nothing is parked.")
                && page.shows("Nothing is parked:")
        );
        for follower in ["accounts", "transfers", "ledger", "activity", "summaries"] {
            assert!(
                page.shows(&format!("<tr id=\"follower-{follower}\">")),
                "{follower}"
            );
        }
        assert_eq!(
            page.html.matches("class=\"edge\"").count(),
            5,
            "an arrow for each thing followed"
        );

        record_unreadable_event(&bank, id).await;
        bank.wait_until_caught_up()
            .await
            .expect("the followers go on");
        let page = browser.get("/system").await;
        assert!(
            page.shows("ledger has parked events of 1 aggregate")
                && page.shows("class=\"box failed\"")
        );
        assert!(page.shows("cannot be read"), "the reason is shown");
        assert_eq!(page.html.matches("<article").count(), 3);
        assert!(
            browser
                .submit("/system/retry", &[])
                .await
                .shows("The retry failed")
        );
        let refused = browser.submit("/system/give-up", &[("reason", " ")]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        for left in (0..3).rev() {
            browser.get("/system").await;
            let page = browser
                .submit("/system/give-up", &[("reason", "a test")])
                .await;
            assert!(page.shows("The event is discarded."));
            assert_eq!(page.html.matches("<article").count(), left);
        }
        assert!(
            browser
                .page
                .shows("All followers work, and nothing is parked.")
        );
        let records = bank
            .parking(EventSourcedBank::LEDGER)
            .expect("a follower")
            .records()
            .await
            .expect("records");
        assert_eq!(
            records
                .iter()
                .map(|record| record.by.as_str())
                .collect::<Vec<_>>(),
            ["web", "web"]
        );
        let unknown = [
            ("follower", "missing"),
            ("id", "00000000-0000-7000-8000-000000000000"),
        ];
        assert_eq!(
            browser.post("/system/retry", &unknown).await.status,
            StatusCode::FORBIDDEN,
            "without a token"
        );
        // The account cannot be read any more, and its page says so.
        let page = browser.get(&format!("/accounts/{id}")).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(page.shows("A stored event cannot be read"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_timer_is_shown_retried_and_discarded() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        schedule_unreadable_timer(&*bank.stores()[0], "tea").await;
        bank.accounts.open("Alice").await.expect("an account");
        bank.wait_until_caught_up()
            .await
            .expect("the followers go on");
        let page = browser.get("/system").await;
        assert!(
            page.shows("transfers has parked 1 timer") && page.shows("transfers: timer tea"),
            "{}",
            page.html
        );
        assert!(
            browser
                .submit("/system/timers/retry", &[])
                .await
                .shows("The retry failed")
        );
        let refused = browser
            .submit("/system/timers/discard", &[("reason", " ")])
            .await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        browser.get("/system").await;
        let page = browser
            .submit("/system/timers/discard", &[("reason", "a test")])
            .await;
        assert!(
            page.shows("The timer is discarded.") && page.shows("nothing is parked"),
            "{}",
            page.html
        );
        let records = bank
            .parking(EventSourcedBank::TRANSFERS)
            .expect("a follower")
            .timer_records()
            .await
            .expect("records");
        assert_eq!(
            records
                .iter()
                .map(|record| record.by.as_str())
                .collect::<Vec<_>>(),
            ["web", "web"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_filtered_and_each_event_opens() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        let alice = bank.accounts.open("Alice").await.expect("one").id;
        let bob = bank.accounts.open("Bob").await.expect("two").id;

        bank.accounts
            .credit(alice, money("20"))
            .await
            .expect("a credit");
        bank.accounts
            .transfer(alice, bob, money("5"))
            .await
            .expect("a transfer");
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        let rows = |page: &window::Page| page.html.matches("<tr data-position").count();
        for (filter, events) in [
            ("", 9),
            ("?after=0", 9),
            ("?category=Account", 5),
            ("?category=Ledger", 4),
            ("?name=Credited", 2),
            ("?category=Ledger&name=Credited", 0),
            (&format!("?id={bob}"), 2),
            (&format!("?id={alice}&name=Debited"), 1),
            ("?to=2020-01-01T00:00", 0),
            ("?from=2020-01-01T00:00", 9),
            ("?from=2020-01-01T00:00:30&to=2099-12-31T23:59", 9),
            ("?name=%00%0A'%22%3Cscript%3E", 0),
        ] {
            let page = browser.get(&format!("/log{filter}")).await;
            assert_eq!(
                (page.status, rows(&page)),
                (StatusCode::OK, events),
                "{filter}"
            );
            assert!(!page.shows("<script>"), "{filter}");
        }
        for wrong in ["?id=x", "?from=x", "?to=2020-13-01T00:00"] {
            assert!(
                browser
                    .get(&format!("/log{wrong}"))
                    .await
                    .shows("The filter is ignored."),
                "{wrong}"
            );
        }
        let page = browser.get("/log?name=Debited").await;
        let position = page
            .html
            .split("<tr data-position=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a row");
        let event = browser.get(&format!("/log/{position}")).await;
        assert!(
            event.shows("&#34;5.00&#34;") || event.shows("&quot;5.00&quot;"),
            "{}",
            event.html
        );
        assert!(event.text("cause").contains("no event caused it"));
        assert_eq!(
            event.html.matches("<li class=\"depth-0").count(),
            2,
            "both sides of the transfer"
        );
        assert_eq!(
            event.html.matches("<li class=\"depth-1").count(),
            2,
            "and what the ledger made of them"
        );
        let caused = event.html.split_once("id=\"caused\"").expect("a list").1;
        let next = caused
            .split_once("href=\"")
            .expect("a link")
            .1
            .split_once('"')
            .expect("an end")
            .0
            .to_owned();
        let consequence = browser.get(&next).await;
        assert!(consequence.html.contains("TransactionAdded"));
        assert!(consequence.html.contains(&format!(
            "<p id=\"cause\"><a href=\"/log/{position}\">Debited</a>"
        )));
        for nowhere in ["0", "999999", "x", "-1", "18446744073709551616"] {
            assert_eq!(
                browser.get(&format!("/log/{nowhere}")).await.status,
                StatusCode::NOT_FOUND,
                "{nowhere}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_has_pages_and_says_how_far_it_looked() {
    let (bank, mut browser) = start(&Place::all()[0]).await;
    let id = bank.accounts.open("Alice").await.expect("an account").id;
    let event = || AccountEvent::Credited {
        amount: money("0.01"),
    };
    bank.accounts
        .update(id, |_| (0..9_999).map(|_| event()).collect::<Vec<_>>())
        .await
        .expect("an append");
    bank.accounts
        .credit(id, money("1"))
        .await
        .expect("a credit");
    let mut path = "/log?after=0&category=Account".to_owned();
    let mut events = 0;

    for _ in 0..3 {
        let page = browser.get(&path).await;
        events += page.html.matches("<tr data-position").count();
        let before = page
            .html
            .split_once("\" rel=\"next\"")
            .expect("a next page")
            .0;
        path = before
            .rsplit_once("href=\"")
            .expect("a link")
            .1
            .replace("&#38;", "&")
            .replace("&amp;", "&");
    }
    assert_eq!(events, 150);
    let page = browser
        .get("/log?after=0&category=Account&to=2020-01-01T00:00")
        .await;
    assert!(
        page.shows("Searched ten thousand events, up to position 10000"),
        "{}",
        page.html
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_of_a_read_model_are_retried_on_the_system_page() {
    let place = &Place::all_durable()[0];
    let (bank, mut browser) = start(place).await;
    let id = bank.accounts.open("Alice").await.expect("an account").id;
    bank.wait_until_caught_up()
        .await
        .expect("the followers catch up");
    let file =
        rusqlite::Connection::open(place.url().trim_start_matches("sqlite:")).expect("the file");
    file.busy_timeout(Duration::from_secs(5))
        .expect("it is set");
    file.execute("ALTER TABLE account_summaries_1 RENAME TO elsewhere", [])
        .expect("a mistake");
    bank.accounts
        .credit(id, money("20"))
        .await
        .expect("a credit");
    bank.accounts.debit(id, money("5")).await.expect("a debit");
    bank.wait_until_caught_up()
        .await
        .expect("the followers go on");
    let page = browser.get("/system").await;
    assert!(
        page.shows("summaries has parked events of 1 aggregate") && page.shows("no such table"),
        "{}",
        page.html
    );
    assert!(page.shows("1 later events of the same aggregate waiting behind it"));
    file.execute("ALTER TABLE elsewhere RENAME TO account_summaries_1", [])
        .expect("the table is created again");
    let page = browser.submit("/system/retry", &[]).await;
    assert!(page.shows("The follower has processed the event and all events behind it."));
    assert!(page.shows("All followers work, and nothing is parked."));
    assert_eq!(
        browser.get("/").await.text("ledger-check"),
        "equal to the sum of all accounts"
    );
    assert_consistent(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_has_stopped_tries_again_when_that_is_asked_for() {
    for place in Place::all() {
        let (bank, router) = start_as(&place, &Settings::loopback(), OnFailure::Stop).await;
        let mut browser = Browser::new(router);
        assert!(
            !browser.get("/system").await.shows("Try again"),
            "nothing has stopped"
        );
        let (transfer, order) = an_answer_before_its_transfer(&bank).await;
        let page = browser.get("/system").await;
        assert!(
            page.shows("transfers has stopped before position")
                && page.shows("class=\"box failed\"")
        );
        assert!(
            page.shows("does not exist"),
            "the reason is shown: {}",
            page.html
        );
        assert_eq!(
            page.html.matches("Try again</button>").count(),
            1,
            "beside the one that has stopped"
        );
        let early = page.clone();

        let fields = [("follower", "transfers")];
        assert_eq!(
            browser.post("/system/resume", &fields).await.status,
            StatusCode::FORBIDDEN,
            "without a token"
        );
        assert!(
            browser.get("/system").await.shows("transfers has stopped"),
            "nothing was done"
        );
        let page = browser.submit("/system/resume", &[]).await;
        assert!(
            page.shows("The follower has retried, failed, and stopped again; the reason is below."),
            "{}",
            page.html
        );
        assert!(
            page.shows("transfers has stopped before position") && page.shows("does not exist")
        );
        assert_eq!(
            browser
                .submit("/system/resume", &[("follower", "missing")])
                .await
                .status
                .as_u16(),
            422
        );

        append_missing(&bank, (transfer, order)).await;
        browser.get("/system").await;
        let page = browser.submit("/system/resume", &[]).await;
        assert!(
            page.shows("The follower continues where it had stopped."),
            "{}",
            page.html
        );
        bank.wait_until_caught_up()
            .await
            .expect("all followers get there");
        let page = browser.get("/system").await;
        assert!(
            page.shows("All followers work, and nothing is parked.") && !page.shows("Try again")
        );
        let transfer = bank.transfers.load(transfer).await.expect("the transfer");
        assert!(
            matches!(transfer.state, transfer::State::Refused { .. }),
            "it came to its end"
        );
        // The button of a page that was not reloaded.
        browser.page = early;
        assert!(
            browser
                .submit("/system/resume", &[])
                .await
                .shows("was running again already")
        );
        assert_consistent(&bank).await;
    }
}

/// Returns the next message of a stream.
async fn heard(body: &mut BodyDataStream) -> String {
    let chunk = tokio::time::timeout(Duration::from_secs(10), body.next())
        .await
        .expect("something is heard");
    String::from_utf8(chunk.expect("it goes on").expect("no error").to_vec()).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_told_within_a_second_of_changes_by_another_process() {
    for place in Place::all() {
        let (bank, router) = start_with(&place, &Settings::loopback()).await;
        let id = bank.accounts.open("Alice").await.expect("an account").id;
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        let response = router
            .clone()
            .oneshot(
                Request::get("/live")
                    .body(Body::empty())
                    .expect("a request"),
            )
            .await;
        let response = response.expect("an answer");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        let mut stream = response.into_body().into_data_stream();
        assert!(
            heard(&mut stream).await.contains("event: tick"),
            "at once, to say that it is connected"
        );
        // A store in memory has no other process.
        let other = match place.url() {
            "memory:" => None,
            url => Some(Application::new(
                "accounts",
                stores::open(url).await.expect("a store").store(),
            )),
        };
        let other = other.as_ref().unwrap_or(&bank.accounts);
        let mut browser = Browser::new(router);
        for amount in 1..=3 {
            let begin = Instant::now();
            other
                .update(id, |account| account.credit(money("1")))
                .await
                .expect("a credit");
            let shown = format!("{amount}.00");
            while browser.get("/").await.text("ledger-balance") != shown
                || browser.page.text("ledger-check").contains("catching up")
            {
                while !heard(&mut stream).await.contains("event: changed") {}
            }
            assert!(
                begin.elapsed() < Duration::from_secs(1),
                "{}: {:?}",
                place.url(),
                begin.elapsed()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites_are_refused() {
    for place in Place::all() {
        refuses_forms_of_other_sites(&place).await;
    }
}

async fn refuses_forms_of_other_sites(place: &Place) {
    let (bank, mut browser) = start(place).await;
    browser.get("/").await;
    let token = browser
        .page
        .html
        .split("name=\"token\" value=\"")
        .nth(1)
        .expect("a token")[..64]
        .to_owned();
    let fields = [("owner", "Mallory"), ("token", &token)];

    for path in [
        "/open",
        "/credit",
        "/debit",
        "/transfer",
        "/system/retry",
        "/system/give-up",
        "/system/resume",
    ] {
        let outdated = browser
            .post(path, &[("owner", "Mallory"), ("follower", "ledger")])
            .await;
        assert_eq!(outdated.status, StatusCode::FORBIDDEN, "{path}");
        assert!(outdated.shows("The form is out of date"), "{path}");
    }
    let mut stranger = Browser::new(router(State::new(Arc::clone(&bank)), &Settings::loopback()));
    stranger.get("/").await;
    assert_eq!(
        stranger.post("/open", &fields).await.status,
        StatusCode::FORBIDDEN,
        "a token of another session"
    );

    let kind = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (name, value) in [
        (header::ORIGIN, "http://evil.example"),
        (header::ORIGIN, "null"),
        (header::ORIGIN, "http://localhost:8001"),
        (
            header::HeaderName::from_static("sec-fetch-site"),
            "cross-site",
        ),
        (
            header::HeaderName::from_static("sec-fetch-site"),
            "same-site",
        ),
    ] {
        let request = Request::post("/open")
            .header(kind.0.clone(), kind.1)
            .header(name, value);
        let answer = browser.send(request, Body::from(encode(&fields))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{value}");
    }
    let rebound = browser
        .send(
            Request::get("/").header(header::HOST, "evil.example:8000"),
            Body::empty(),
        )
        .await;
    assert_eq!(rebound.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(
        browser.post("/open", &fields).await.status,
        StatusCode::SEE_OTHER,
        "our own form is taken"
    );
    let too_large = "x".repeat(100 * 1024);
    let answer = browser
        .post("/open", &[("owner", &too_large), ("token", &token)])
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_consistent(&bank).await;
    assert_eq!(bank.summaries.totals().await.expect("sums").accounts, 1);
}

/// Any process of the same bank accepts a form, and one with another password shows it again with its values.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_goes_to_any_process_and_what_was_typed_is_never_lost() {
    for place in Place::all_durable() {
        let protected =
            |password: &str| Settings::remote(Password::new(password).expect("long enough"));
        let (_first, made_by) = start_with(&place, &protected("correct horse")).await;
        let (_second, sent_to) = start_with(&place, &protected("correct horse")).await;
        let (_third, another) = start_with(&place, &protected("wrong horse, at first")).await;
        let mut browser = Browser::new(made_by).with_password("correct horse");
        browser.get("/").await;
        let page = browser.page.clone();
        browser.router = sent_to;
        browser.submit("/open", &[("owner", "Alice")]).await;
        assert!(
            browser.page.shows("The account is open."),
            "{}",
            browser.page.html
        );

        browser.page = page;
        browser.router = another;
        let mut browser = browser.with_password("wrong horse, at first");
        for (form, fields, field) in [
            ("/open", &[("owner", "Bob <b>")][..], "open-owner"),
            (
                "/credit",
                &[("account", "Alice"), ("amount", "12.34")],
                "credit-amount",
            ),
            (
                "/transfer",
                &[("account", "Alice"), ("to", "Zoe"), ("amount", "5")],
                "transfer-to",
            ),
        ] {
            let fresh = browser.page.clone();
            let outdated = browser.submit(form, fields).await;
            assert_eq!(outdated.status, StatusCode::FORBIDDEN, "{form}");
            assert!(
                outdated.shows("The form is out of date")
                    && outdated.shows(&format!("id=\"{field}\"")),
                "{form}"
            );
            for (_, value) in fields {
                let escaped = value.replace('<', "&#60;").replace('>', "&#62;");
                assert!(
                    outdated.shows(&format!("value=\"{escaped}\"")),
                    "{value} is kept: {}",
                    outdated.html
                );
            }
            browser.page = fresh;
        }
        // Sent once more, it is carried out.
        browser
            .submit("/credit", &[("account", "Alice"), ("amount", "12.34")])
            .await;
        browser
            .submit("/credit", &[("account", "Alice"), ("amount", "12.34")])
            .await;
        assert_eq!(browser.page.text("ledger-balance"), "12.34");
    }
}

/// On the page of an account, and where an event is discarded: the reason stays.
#[tokio::test(flavor = "multi_thread")]
async fn outdated_forms_of_other_pages_are_shown_again_where_they_stood() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        record_unreadable_event(&bank, alice).await;
        bank.wait_until_caught_up()
            .await
            .expect("the followers have put it aside");
        let id = alice.to_string();
        let fields = [
            ("follower", "ledger"),
            ("category", "Account"),
            ("id", &id),
            ("reason", "a test"),
            ("token", "old"),
        ];
        let page = browser.post("/system/give-up", &fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(
            page.shows("value=\"a test\"") && page.shows("The form is out of date"),
            "{}",
            page.html
        );
        assert_eq!(
            page.html.matches("value=\"a test\"").count(),
            1,
            "beside the event it was typed for"
        );
        assert_eq!(
            bank.parking(EventSourcedBank::LEDGER)
                .expect("a follower")
                .list()
                .await
                .expect("a list")
                .len(),
            1,
            "nothing was done"
        );
        let bob = bank
            .accounts
            .open("Bob")
            .await
            .expect("an account")
            .id
            .to_string();
        let fields = [
            ("account", &*bob),
            ("on", &*bob),
            ("amount", "3.21"),
            ("token", "old"),
        ];
        let page = browser.post("/credit", &fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(
            page.shows("value=\"3.21\"") && page.shows("Bob"),
            "{}",
            page.html
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_browsers_must_not_do() {
    for place in Place::all() {
        says_what_browsers_must_not_do(&place).await;
    }
}

async fn says_what_browsers_must_not_do(place: &Place) {
    let (_bank, mut browser) = start(place).await;
    for path in [
        "/",
        "/system",
        "/log",
        "/assets/live.js",
        "/assets/style.css",
        "/healthz",
        "/readyz",
        "/nothing",
    ] {
        let page = browser.get(path).await;
        let header = |name: &str| {
            page.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"),
            "{path}"
        );
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
    for place in Place::all() {
        asks_for_the_password(&place, &settings).await;
    }
}

async fn asks_for_the_password(place: &Place, settings: &Settings) {
    let (bank, router) = start_with(place, settings).await;
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
    assert_eq!(
        browser.send(admitted, Body::empty()).await.status,
        StatusCode::OK
    );
    assert!(bank.health().await.expect("an answer").is_healthy());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_waits_for_a_newer_release_and_the_pages_say_so() {
    for place in Place::all() {
        let (bank, mut browser) = start(&place).await;
        let account = bank.accounts.open("Alice").await.expect("an account").id;
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        record_event_of_newer_release(&bank, account).await;
        let began = Instant::now();
        while !browser
            .get("/system")
            .await
            .shows("ledger is waiting for a newer release")
        {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{}",
                browser.page.html
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(
            browser.page.shows("waiting for a newer release")
                && browser.page.shows("unknown event")
        );
        assert!(
            browser
                .get("/api/followers")
                .await
                .shows("\"waiting for a newer release\""),
            "{}",
            browser.page.html
        );
        for name in ["ledger", "activity", "summaries"] {
            assert!(
                bank.parking(FollowerName::new(name))
                    .expect("a follower")
                    .list()
                    .await
                    .expect("notes")
                    .is_empty(),
                "{name}"
            );
        }
        let page = browser.get(&format!("/api/accounts/{account}")).await;
        assert_eq!(
            page.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            page.html
        );
        assert!(
            browser
                .get(&format!("/accounts/{account}"))
                .await
                .shows("cannot be read"),
            "{}",
            browser.page.html
        );
    }
}
