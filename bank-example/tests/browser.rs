//! The pages in a real Chromium: with the script, without it, and with the keyboard alone. Screenshots go to
//! `target/tmp/screenshots`; with `BANK_SCREENSHOTS=overwrite` the pictures of the README are made again.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

#[path = "support/chromium.rs"]
mod chromium;
mod support;

use std::path::Path;
use std::time::Duration;

use chromium::{Driver, Served, bank, bank_that, press, screenshot, submit, text, until_text};
use eventsourcing::OnFailure;
use fantoccini::{Client, Locator};
use serde_json::json;
use support::{
    Place, an_answer_before_its_transfer, append_missing, assert_consistent, money,
    record_unreadable_event,
};

/// The time within which a page must show a change by another user.
const LIVE: Duration = Duration::from_secs(1);

/// A browser uses all processors, and some tests measure how fast a page follows.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A file, so that another process can write to it.
fn place() -> Place {
    Place::all_durable()
        .into_iter()
        .next()
        .expect("SQLite is the first")
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_show_movements_of_this_and_other_users() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::start(place.url()).await;
    let client = driver.open(&[], json!({})).await;
    client.goto(&served.url("/")).await.expect("a page");
    submit(&client, "open", &[("owner", "Alice")]).await;
    until_text(&client, ".done", "The account is open").await;
    submit(&client, "open", &[("owner", "Bob")]).await;
    until_text(&client, "#accounts", "Bob").await;
    submit(&client, "credit", &[("account", "Alice"), ("amount", "20")]).await;
    until_text(&client, "#ledger-balance", "20.00").await;
    submit(&client, "debit", &[("account", "Alice"), ("amount", "5")]).await;
    until_text(&client, "#ledger-balance", "15.00").await;

    submit(
        &client,
        "debit",
        &[("account", "Alice"), ("amount", "15.01")],
    )
    .await;
    until_text(&client, "#debit-amount-error", "the balance of 15.00").await;
    let field = client
        .find(Locator::Css("#debit-amount"))
        .await
        .expect("the field");
    assert_eq!(
        field.prop("value").await.expect("a value").as_deref(),
        Some("15.01"),
        "what was typed is kept"
    );
    let focused = client
        .active_element()
        .await
        .expect("an element")
        .attr("id")
        .await
        .expect("an id");
    assert_eq!(
        focused.as_deref(),
        Some("debit-amount"),
        "the wrong field is where one goes on"
    );
    screenshot(&client, "overdraft").await;

    // A second tab, which is not touched.
    let first = client.window().await.expect("a tab");
    let second = client.new_window(true).await.expect("a tab").handle;
    client
        .switch_to_window(second.clone())
        .await
        .expect("it opens");
    client.goto(&served.url("/")).await.expect("a page");
    until_text(&client, "#live-state", "Live").await;
    client.switch_to_window(first).await.expect("it is there");
    client.goto(&served.url("/")).await.expect("a page");
    submit(
        &client,
        "transfer",
        &[("account", "Alice"), ("to", "Bob"), ("amount", "4")],
    )
    .await;
    until_text(&client, ".done", "The money has moved").await;
    client.switch_to_window(second).await.expect("it is there");
    until_text(&client, "#activity", "+4.00").await;

    // Another process writes.
    let other = bank(place.url()).await;
    let alice = other
        .summaries
        .list(bank_example::application::summaries::Listing::ALL)
        .await
        .expect("a list")[0]
        .account;
    let mut slowest = Duration::ZERO;
    for number in 1..=5_u32 {
        other
            .accounts
            .credit(alice, money("1"))
            .await
            .expect("a credit");
        slowest = slowest
            .max(until_text(&client, "#ledger-balance", &format!("{}.00", 15 + number)).await);
    }
    eprintln!("what another process wrote was shown after at most {slowest:?}");
    assert!(slowest < LIVE, "{slowest:?}");
    until_text(&client, "#ledger-check", "equal to the sum").await;
    screenshot(&client, "bank").await;

    client
        .goto(&served.url(&format!("/accounts/{alice}")))
        .await
        .expect("a page");
    travel(&client).await;
    screenshot(&client, "account").await;
    assert_eq!(assert_consistent(&other).await, (money("20"), 9));
    other.stop().await.expect("a graceful end");
    // The pages are still open and listen.
    served.stop().await;
    until_text(&client, "#live-state", "Not connected").await;
    client.close().await.expect("it closes");
}

/// Goes back through all versions of an account with the arrow keys.
async fn travel(client: &Client) {
    let slider = client.find(Locator::Css("#at")).await.expect("a slider");
    until_text(client, "#then-version", "9 of 9").await;
    for (version, balance) in [
        (8, "15.00"),
        (7, "14.00"),
        (6, "13.00"),
        (5, "12.00"),
        (4, "11.00"),
    ] {
        slider.send_keys("\u{E012}").await.expect("a key");
        until_text(client, "#then-version", &format!("{version} of 9")).await;
        until_text(client, "#then-balance", balance).await;
    }
    slider.send_keys("\u{E012}").await.expect("a key");
    until_text(client, "#then-version", "3 of 9").await;
    assert!(
        text(client, "#then-change")
            .await
            .contains("from 20.00 to 15.00"),
        "what the event changed"
    );
    assert_eq!(
        text(client, "#account-balance").await,
        "16.00",
        "now is now"
    );
    let url = client.current_url().await.expect("an address");
    assert!(
        url.query().is_some_and(|query| query.contains("at=3")),
        "the moment can be linked to: {url}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_without_a_script() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::start(place.url()).await;
    let no_script =
        json!({ "prefs": { "profile.managed_default_content_settings.javascript": 2 } });
    let client = driver.open(&[], no_script).await;
    client.goto(&served.url("/")).await.expect("a page");
    submit(&client, "open", &[("owner", "Alice")]).await;
    submit(&client, "credit", &[("account", "Alice"), ("amount", "20")]).await;
    submit(&client, "debit", &[("account", "Alice"), ("amount", "21")]).await;
    until_text(&client, "#debit-amount-error", "the balance of 20.00").await;
    submit(&client, "debit", &[("account", "Alice"), ("amount", "2")]).await;
    until_text(&client, "#ledger-balance", "18.00").await;
    let live = client
        .find(Locator::Css("#live-state"))
        .await
        .expect("the place for it");
    assert!(
        !live.is_displayed().await.expect("an answer"),
        "no script has run"
    );

    client
        .find(Locator::LinkText("Alice"))
        .await
        .expect("a link")
        .click()
        .await
        .expect("it leads on");
    until_text(&client, "#account-balance", "18.00").await;
    client
        .find(Locator::LinkText("One event earlier"))
        .await
        .expect("a link")
        .click()
        .await
        .expect("it leads back");
    until_text(&client, "#then-balance", "20.00").await;
    client
        .find(Locator::Css("#at ~ button, .slider + button"))
        .await
        .expect("a button")
        .click()
        .await
        .expect("it shows");
    until_text(&client, "#then-version", "2 of 3").await;
    screenshot(&client, "account-without-script").await;
    for (link, css, shown) in [
        ("System", "#followers", "summaries"),
        ("Log", "#events", "TransactionAdded"),
    ] {
        client
            .find(Locator::LinkText(link))
            .await
            .expect("a link")
            .click()
            .await
            .expect("it leads on");
        until_text(&client, css, shown).await;
    }
    client
        .find(Locator::LinkText("TransactionAdded"))
        .await
        .expect("a link")
        .click()
        .await
        .expect("it opens");
    until_text(&client, "#cause", "Credited").await;
    client.close().await.expect("it closes");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::start(place.url()).await;
    let client = driver.open(&[], json!({})).await;
    client.goto(&served.url("/")).await.expect("a page");
    tab_to(&client, "open-owner").await;
    type_keys(&client, "Alice\u{E007}").await;
    until_text(&client, ".done", "The account is open").await;
    tab_to(&client, "credit-account").await;
    type_keys(&client, "Alice").await;
    tab_to(&client, "credit-amount").await;
    type_keys(&client, "7.25\u{E007}").await;
    until_text(&client, "#ledger-balance", "7.25").await;
    // The first stop of the Tab key on every page skips the navigation.
    client.goto(&served.url("/system")).await.expect("a page");
    type_keys(&client, "\u{E004}").await;
    let skip = client.active_element().await.expect("an element");
    assert_eq!(
        skip.attr("class").await.expect("a class").as_deref(),
        Some("skip")
    );
    client.close().await.expect("it closes");
    served.stop().await;
}

/// Presses Tab until the field has the focus, and requires that every stop on the way is visible.
async fn tab_to(client: &Client, id: &str) {
    for _ in 0..60 {
        type_keys(client, "\u{E004}").await;
        let script = "const at = document.activeElement; const style = getComputedStyle(at); \
                      return [at.id, at === document.body || (style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2)]";
        let state = client.execute(script, vec![]).await.expect("an answer");
        assert_eq!(state[1], json!(true), "the focus on {} is seen", state[0]);
        if state[0] == json!(id) {
            return;
        }
    }
    panic!("{id} is not reached");
}

async fn type_keys(client: &Client, keys: &str) {
    client
        .active_element()
        .await
        .expect("an element")
        .send_keys(keys)
        .await
        .expect("keys");
}

/// A script that lists the visible texts whose contrast with the background is too low (WCAG 2.2, AA).
const FAINT: &str = r#"
const rgb = (text) => { const n = text.match(/[\d.]+/g).map(Number); return { r: n[0], g: n[1], b: n[2], a: n[3] ?? 1 }; };
const light = ({ r, g, b }) => { const f = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
const behind = (element) => { for (let at = element; at; at = at.parentElement) {
  const c = rgb(getComputedStyle(at).backgroundColor); if (c.a > 0.99) return c; } return { r: 255, g: 255, b: 255 }; };
const faint = []; let count = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || element.closest("svg, datalist, [hidden], .out-of-sight, .skip")) continue;
  const style = getComputedStyle(element); const size = parseFloat(style.fontSize);
  const [a, b] = [light(rgb(style.color)), light(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); count += 1;
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) faint.push(`${walker.currentNode.textContent.trim()} ${ratio.toFixed(2)}`);
}
return [count, faint];
"#;

const NAMELESS: &str = r#"
return [...document.querySelectorAll("input:not([type=hidden]), select, button, a")]
  .filter((control) => !(control.labels?.length || control.textContent.trim() || control.getAttribute("aria-label")))
  .map((control) => control.outerHTML);
"#;

/// A script that lists the elements that reach beyond the padding of their container and do not scroll.
const SPILLED: &str = r#"
const end = (element) => { const around = element.parentElement.closest(".card, .hero, main");
  return around.getBoundingClientRect().right - parseFloat(getComputedStyle(around).paddingRight); };
return [...document.querySelectorAll("main *")]
  .filter((element) => !element.closest(".wide, svg, datalist, .out-of-sight, thead"))
  .filter((element) => element.getBoundingClientRect().right > end(element) + 1)
  .map((element) => element.outerHTML.slice(0, 200));
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_on_a_phone_and_are_readable_by_day_and_by_night() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::start(place.url()).await;
    let other = bank(place.url()).await;
    let id = other
        .accounts
        .open("Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh the Third")
        .await
        .expect("an account")
        .id;
    other
        .accounts
        .credit(id, money("999999999999.99"))
        .await
        .expect("a credit");
    other
        .wait_until_caught_up()
        .await
        .expect("the followers catch up");
    let unlucky = other.accounts.open("Unlucky").await.expect("an account").id;
    record_unreadable_event(&other, unlucky).await;
    let phone = json!({ "mobileEmulation": { "deviceMetrics": { "width": 360, "height": 740, "pixelRatio": 2.0 } } });
    let by_day = driver
        .open(&["--blink-settings=preferredColorScheme=1"], phone.clone())
        .await;
    let by_night = driver
        .open(&["--blink-settings=preferredColorScheme=0"], phone)
        .await;
    for (client, when) in [(&by_day, "day"), (&by_night, "night")] {
        for (name, path) in [
            ("bank", "/".to_owned()),
            ("account", format!("/accounts/{id}")),
            ("system", "/system".into()),
            ("log", "/log".into()),
            ("event", "/log/2".into()),
        ] {
            client.goto(&served.url(&path)).await.expect("a page");
            screenshot(client, &format!("phone-{name}-{when}")).await;
            let width = client
                .execute("return document.documentElement.scrollWidth", vec![])
                .await
                .expect("an answer");
            assert!(
                width.as_u64().is_some_and(|width| width <= 360),
                "{name} is {width} wide"
            );
            let dark = client
                .execute(
                    "return matchMedia('(prefers-color-scheme: dark)').matches",
                    vec![],
                )
                .await;
            assert_eq!(dark.expect("an answer"), json!(when == "night"));
            let texts = client.execute(FAINT, vec![]).await.expect("an answer");
            assert!(
                texts[0].as_u64().is_some_and(|count| count > 10),
                "{name}: {texts}"
            );
            assert_eq!(
                texts[1],
                json!([]),
                "{name} by {when}: texts that are too faint"
            );
            let spilled = client.execute(SPILLED, vec![]).await.expect("an answer");
            assert_eq!(spilled, json!([]), "{name}: what does not fit");
            let nameless = client.execute(NAMELESS, vec![]).await.expect("an answer");
            assert_eq!(nameless, json!([]), "{name}: controls without a name");
        }
    }
    by_day.close().await.expect("it closes");
    by_night.close().await.expect("it closes");
    other.stop().await.expect("a graceful end");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_shown_and_can_be_discarded() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::start(place.url()).await;
    let client = driver.open(&[], json!({})).await;
    let other = bank(place.url()).await;
    let id = other.accounts.open("Alice").await.expect("an account").id;
    other
        .wait_until_caught_up()
        .await
        .expect("the followers catch up");
    client.goto(&served.url("/system")).await.expect("a page");
    until_text(&client, "#trouble", "All followers work").await;
    until_text(&client, "#live-state", "Live").await;
    screenshot(&client, "system").await;

    record_unreadable_event(&other, id).await;
    until_text(&client, "#trouble", "has parked events of 1 aggregate").await;
    until_text(&client, "#parked", "version 2 of Account").await;
    screenshot(&client, "parked").await;
    for _ in 0..3 {
        client
            .find(Locator::Css("#parked input[name=reason]"))
            .await
            .expect("a field")
            .send_keys("a test")
            .await
            .expect("keys");
        client
            .find(Locator::Css("#parked button.danger"))
            .await
            .expect("a button")
            .click()
            .await
            .expect("it is pressed");
        until_text(&client, ".done", "The event is discarded").await;
    }
    until_text(&client, "#trouble", "All followers work").await;
    client.close().await.expect("it closes");
    other.stop().await.expect("a graceful end");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_follower_is_shown_and_can_be_resumed() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::of(bank_that(OnFailure::Stop, place.url()).await).await;
    let other = bank_that(OnFailure::Stop, place.url()).await;
    let client = driver.open(&[], json!({})).await;
    client.goto(&served.url("/system")).await.expect("a page");
    until_text(&client, "#trouble", "All followers work").await;
    until_text(&client, "#live-state", "Live").await;

    let missing = an_answer_before_its_transfer(&other).await;
    until_text(&client, "#trouble", "transfers has stopped before position").await;
    until_text(&client, "#follower-transfers .error", "does not exist").await;
    screenshot(&client, "stopped").await;
    press(&client, "#resume-transfers").await;
    until_text(&client, ".done", "has retried, failed, and stopped").await;
    append_missing(&other, missing).await;
    press(&client, "#resume-transfers").await;
    until_text(&client, ".done", "continues where it had stopped").await;
    until_text(&client, "#trouble", "All followers work").await;
    client.close().await.expect("it closes");
    other
        .stop()
        .await
        .expect_err("it has stopped in this process too");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pictures_of_the_readme_show_a_bank_at_work() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let place = place();
    let driver = Driver::start();

    let served = Served::start(place.url()).await;
    let bank = bank(place.url()).await;
    let mut ids = Vec::new();
    for owner in [
        "Ada Lovelace",
        "Grace Hopper",
        "Edsger Dijkstra",
        "Barbara Liskov",
        "Tony Hoare",
    ] {
        ids.push(bank.accounts.open(owner).await.expect("an account").id);
    }
    for (index, amount) in ["1815.12", "1906.09", "59.83", "2008", "19.80"]
        .into_iter()
        .enumerate()
    {
        bank.accounts
            .credit(ids[index], money(amount))
            .await
            .expect("a credit");
    }
    bank.accounts
        .debit(ids[1], money("99.95"))
        .await
        .expect("a debit");
    bank.accounts
        .transfer(ids[0], ids[2], money("250"))
        .await
        .expect("a transfer");
    bank.accounts
        .transfer(ids[3], ids[4], money("42"))
        .await
        .expect("a transfer");
    bank.wait_until_caught_up()
        .await
        .expect("the followers catch up");
    let client = driver.open(&["--window-size=1200,1240"], json!({})).await;
    for (name, path, css, shown) in [
        (
            "bank",
            "/",
            "#ledger-check",
            "equal to the sum of all accounts",
        ),
        ("system", "/system", "#trouble", "All followers work"),
    ] {
        client.goto(&served.url(path)).await.expect("a page");
        until_text(&client, css, shown).await;
        until_text(&client, "#live-state", "Live").await;
        keep(&client, name).await;
    }
    client.close().await.expect("it closes");
    bank.stop().await.expect("a graceful end");
    served.stop().await;
}

/// Keeps a screenshot, and replaces that of the README if this is requested.
async fn keep(client: &Client, name: &str) {
    let png = screenshot(client, &format!("readme-{name}")).await;
    if std::env::var("BANK_SCREENSHOTS").is_ok_and(|value| value == "overwrite") {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/images/{name}.png"));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, png).expect("a file");
    }
}
