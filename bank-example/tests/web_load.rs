//! The bank is served to many clients at once: no movement is lost or doubled, and no request fails but by a rejection;
//! also when the bank is killed.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bank_example::domain::{Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing::testing::Seed;
use eventsourcing::{Runner, RunningSystem};
use serde_json::{Value, json};
use support::serving::{Client, Server};
use support::{Place, assert_consistent, money};

const CLIENTS: u64 = 64;
const ACCOUNTS: usize = 40;
/// The length of the load in seconds, unless `BANK_LOAD_SECONDS` is set.
const SECONDS: u64 = 5;
const SECONDS_VARIABLE: &str = "BANK_LOAD_SECONDS";
const TELLERS: usize = 8;
const KILLS: u64 = 3;

async fn open(url: &str) -> RunningSystem<EventSourcedBank> {
    let stores = bank_example::stores::open(url)
        .await
        .expect("the store opens");
    EventSourcedBank::start(stores, Runner::concurrent().without_leases())
        .await
        .expect("the bank starts")
}

fn open_accounts(client: &mut Client, accounts: usize, amount: &str) -> Vec<String> {
    let open = |number: usize| {
        let owner = json!({ "owner": format!("Owner {number}") });
        let opened = client
            .post("/api/accounts", &format!("open-{number}"), &owner)
            .expect("an answer")
            .json();
        let id = opened["account"]["id"].as_str().expect("an id").to_owned();
        if amount != "0" {
            let amount = json!({ "amount": amount });
            let credited = client.post(
                &format!("/api/accounts/{id}/credit"),
                &format!("first-{number}"),
                &amount,
            );
            assert_eq!(credited.expect("an answer").status, 200);
        }
        id
    };
    (0..accounts).map(open).collect()
}

fn amount_of(value: &Value) -> Money {
    money(value.as_str().expect("an amount as a string"))
}

/// The observations of the clients.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    refusals: u64,
    /// The money that has come into the bank, and the number of movements.
    gained: Money,
    movements: u64,
}

/// Runs one client, which reads pages and the API and sends commands until the time is over.
fn ask(mut client: Client, accounts: &[String], mut random: fastrand::Rng, until: Instant) -> Seen {
    let mut seen = Seen {
        gained: ZERO,
        ..Seen::default()
    };
    while Instant::now() < until {
        let [account, other] = [(); 2].map(|()| &accounts[random.usize(..accounts.len())]);
        let amount = Money::new(random.i64(1..5_000), 2);
        let key = format!("{:x}", random.u128(..));
        let body = json!({ "amount": amount.to_string() });

        let begin = Instant::now();
        let (answer, gained, movements) = match random.u8(..100) {
            0..25 => (client.get(&format!("/api/accounts/{account}")), ZERO, 0),
            25..35 => (
                client.get("/api/accounts?limit=20&owner=owner%201"),
                ZERO,
                0,
            ),
            35..45 => (client.get("/api/activity?limit=20"), ZERO, 0),
            45..50 => (client.get("/api/ledger"), ZERO, 0),
            50..55 => (client.get("/"), ZERO, 0),
            55..60 => (client.get(&format!("/accounts/{account}")), ZERO, 0),
            60..75 => (
                client.post(&format!("/api/accounts/{account}/credit"), &key, &body),
                amount,
                1,
            ),
            75..90 => (
                client.post(&format!("/api/accounts/{account}/debit"), &key, &body),
                -amount,
                1,
            ),
            _ => {
                let body = json!({ "to": other, "amount": amount.to_string() });
                (
                    client.post(&format!("/api/accounts/{account}/transfer"), &key, &body),
                    ZERO,
                    2,
                )
            }
        };
        seen.latencies.push(begin.elapsed());
        let answer = answer.unwrap_or_else(|error| panic!("no answer: {error}"));
        match answer.status {
            200 => {
                (seen.gained, seen.movements) = (seen.gained + gained, seen.movements + movements);
            }
            409 if answer.text.contains("insufficient-funds") => seen.refusals += 1,
            422 if account == other && answer.text.contains("two different accounts") => {
                seen.refusals += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    seen
}

/// Requires that the numbers of the server agree, after its followers have caught up.
fn assert_adds_up(client: &mut Client, accounts: &[String]) -> Money {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut sum = ZERO;
        for account in accounts {
            sum += amount_of(
                &client
                    .get(&format!("/api/accounts/{account}"))
                    .expect("an answer")
                    .json()["balance"],
            );
        }
        let ledger = client.get("/api/ledger").expect("an answer").json();
        if amount_of(&ledger["balance"]) == sum {
            return sum;
        }
        assert!(
            Instant::now() < deadline,
            "the ledger has {}, the accounts {sum}",
            ledger["balance"]
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() - 1) * hundredths / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_clients_none_sees_an_error_and_the_ledger_is_the_sum_of_the_accounts() {
    let seed = Seed::from_env();
    let seconds = std::env::var(SECONDS_VARIABLE)
        .map_or(SECONDS, |text| text.parse().expect("whole seconds"));
    for place in Place::all_durable() {
        let server = Server::start(place.url());
        let accounts = Arc::new(open_accounts(&mut server.client(), ACCOUNTS, "100.00"));
        let until = Instant::now() + Duration::from_secs(seconds);
        let clients = (0..CLIENTS).map(|number| {
            let client = server.client();
            let accounts = Arc::clone(&accounts);
            let random = seed.rng(number);

            std::thread::spawn(move || ask(client, &accounts, random, until))
        });
        let mut all = Seen {
            gained: money("100.00") * Money::from(ACCOUNTS),
            ..Seen::default()
        };
        all.movements = ACCOUNTS as u64;
        for client in clients.collect::<Vec<_>>() {
            let seen = client
                .join()
                .unwrap_or_else(|_| panic!("{seed}: a client saw an error"));
            all.latencies.extend(seen.latencies);
            all.refusals += seen.refusals;
            all.gained += seen.gained;
            all.movements += seen.movements;
        }
        assert_eq!(
            assert_adds_up(&mut server.client(), &accounts),
            all.gained,
            "{seed}: what was acknowledged"
        );
        server.stop();
        let bank = open(place.url()).await;
        assert_eq!(
            assert_consistent(&bank).await,
            (all.gained, all.movements),
            "{seed}"
        );
        bank.stop().await.expect("a graceful end");

        all.latencies.sort_unstable();
        let requests = all.latencies.len();
        let [p50, p99] = [50, 99].map(|part| percentile(&all.latencies, part));

        let store = place.url().split(':').next().unwrap_or_default();
        eprintln!(
            "{store}: {CLIENTS} clients for {seconds} s: {requests} requests, {} refused by the bank, {} movements, \
             p50 {p50:.1?}, p99 {p99:.1?}",
            all.refusals, all.movements
        );
        assert!(
            all.refusals > 0 && requests > 2 * CLIENTS as usize,
            "{seed}: {requests} requests, {} refused",
            all.refusals
        );
    }
}

/// A movement that was requested, and its answer if there was one.
struct Asked {
    key: String,
    /// The amount to credit. `TOO_MUCH` is a debit instead, which the bank rejects.
    amount: Money,
    answer: Option<(u16, String)>,
}

/// An amount that no account has.
const TOO_MUCH: Money = Money::from_parts(99_999_999, 0, 0, false, 0);

impl Asked {
    fn path(&self) -> &'static str {
        if self.amount == TOO_MUCH {
            "debit"
        } else {
            "credit"
        }
    }

    /// Returns the amount that the movement adds to the account.
    fn adds(&self) -> Money {
        if self.amount == TOO_MUCH {
            ZERO
        } else {
            self.amount
        }
    }
}

/// Credits one account until the server is gone, with a rejected debit now and then. Only the last request may be
/// without an answer.
fn credit(
    mut client: Client,
    account: &str,
    mut random: fastrand::Rng,
    acknowledged: &AtomicU64,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    loop {
        let amount = if random.u8(0..4) == 0 {
            TOO_MUCH
        } else {
            Money::new(random.i64(1..5_000), 2)
        };
        let mut ask = Asked {
            key: format!("{:x}", random.u128(..)),
            amount,
            answer: None,
        };
        let path = format!("/api/accounts/{account}/{}", ask.path());
        let body = json!({ "amount": amount.to_string() });

        ask.answer = match client.post(&path, &ask.key, &body) {
            Ok(answer) if answer.status == if amount == TOO_MUCH { 409 } else { 200 } => {
                Some((answer.status, answer.text))
            }
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => None,
        };
        let is_over = ask.answer.is_none();
        asked.push(ask);
        if is_over {
            return asked;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requires that the account has every acknowledged movement, then repeats the request without an answer.
fn assert_shown(
    client: &mut Client,
    account: &str,
    asked: &[Asked],
    before: Money,
    seed: Seed,
) -> Money {
    let path = format!("/api/accounts/{account}");
    let acknowledged = asked
        .iter()
        .filter(|asked| asked.answer.is_some())
        .map(Asked::adds);
    let acknowledged = before + acknowledged.sum::<Money>();
    let open = asked.last().expect("one got no answer");

    let shown = amount_of(&client.get(&path).expect("an answer").json()["balance"]);
    assert!(
        [acknowledged, acknowledged + open.adds()].contains(&shown),
        "{seed}: {shown}, {acknowledged} acknowledged"
    );
    let page = client
        .get(&format!("/accounts/{account}"))
        .expect("a page")
        .text
        .replace(',', "");
    assert!(
        page.contains(&shown.to_string()),
        "{seed}: the page shows {shown}"
    );
    for ask in asked {
        let body = json!({ "amount": ask.amount.to_string() });
        let again = client
            .post(&format!("{path}/{}", ask.path()), &ask.key, &body)
            .expect("an answer");
        assert_eq!(
            again.status,
            if ask.amount == TOO_MUCH { 409 } else { 200 },
            "{seed}: {again:?}"
        );
        let again = (again.status, again.text);
        assert!(
            ask.answer.as_ref().is_none_or(|first| *first == again),
            "{seed}: not the first answer: {again:?}"
        );
    }
    let shown = amount_of(&client.get(&path).expect("an answer").json()["balance"]);
    assert_eq!(
        shown,
        acknowledged + open.adds(),
        "{seed}: each credit once"
    );
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_exactly_what_was_acknowledged_is_shown() {
    let seed = Seed::from_env();
    let mut random = seed.rng(1_000);
    for place in Place::all_durable() {
        let mut server = Server::start(place.url());
        let accounts = open_accounts(&mut server.client(), TELLERS, "0");
        let mut balances = vec![ZERO; TELLERS];
        let mut credits = 0;

        for _ in 0..KILLS {
            let acknowledged = Arc::new(AtomicU64::new(0));
            let tellers = accounts.iter().map(|account| {
                let client = server.client();
                let account = account.clone();
                let random = random.fork();

                let acknowledged = Arc::clone(&acknowledged);
                std::thread::spawn(move || credit(client, &account, random, &acknowledged))
            });
            let tellers: Vec<_> = tellers.collect();
            while acknowledged.load(Ordering::Relaxed) < 20 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(random.u64(1..300)));
            server.kill();
            server = Server::start(place.url());
            let mut client = server.client();
            for ((teller, account), balance) in
                tellers.into_iter().zip(&accounts).zip(&mut balances)
            {
                let asked = teller
                    .join()
                    .unwrap_or_else(|_| panic!("{seed}: a teller saw an error"));
                *balance = assert_shown(&mut client, account, &asked, *balance, seed);
                credits += asked
                    .iter()
                    .filter(|asked| asked.amount != TOO_MUCH)
                    .count() as u64;
            }
        }
        server.stop();
        let bank = open(place.url()).await;
        assert_eq!(
            assert_consistent(&bank).await,
            (balances.iter().sum(), credits),
            "{seed}"
        );
        eprintln!("{credits} credits, {KILLS} kills: each is there once");
        bank.stop().await.expect("a graceful end");
    }
}
