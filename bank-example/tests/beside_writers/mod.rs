//! Waits beside eight writing processes, some of which hold their appends open: after a wait its caller can read the
//! effects of its event.
//!
//! On PostgreSQL an acknowledged event lies beyond the head of the log while an append with a smaller position is open.
//! So half of the processes are `psql`, each with transactions that insert an event by hand and stay open for a while;
//! a third of these are rolled back and leave a gap.
//!
//! `EVENTSOURCING_WAITS` is the number of calls: 60 unless it is set, 10,000 in the long form.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use bank_example::application::accounts::AccountService;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use bank_example::web::{self, Settings, State};
use eventsourcing::postgres::PostgresStore;
use eventsourcing::store::{EventStore, FollowerStore, Name, Position};
use eventsourcing::testing::Seed;
use eventsourcing::{Application, FollowerName, Id, Receipt, RunningSystem};
use serde_json::json;

use crate::support::http::{get, post};
use crate::support::{Place, psql};
use crate::{CHILD, child, money, open};

const CALLS_VARIABLE: &str = "EVENTSOURCING_WAITS";
const CALLS: u64 = 60;
/// The largest number of concurrent calls.
const CALLERS_MAX: u64 = 200;
/// The number of processes that append by the framework, and of those that hold appends open.
const WRITERS: usize = 4;
const HOLDERS: usize = 4;
/// The longest time for which an append is held open.
const HELD_MILLISECONDS_MAX: u64 = 60;
/// The pause of a process between two appends, so that followers on a busy machine keep up.
const PAUSE: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(60);
/// The followers that are waited for: a policy and two read models.
const FOLLOWERS: [&str; 3] = ["ledger", "activity", "summaries"];

type Bank = RunningSystem<EventSourcedBank>;

/// A child process. Killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// `psql`, with transactions that insert an event and stay open for a while, until its input ends.
struct Holder(Process);

impl Holder {
    fn start(place: &Place) -> Self {
        let mut command = Command::new(psql());
        let command = command
            .arg(place.url())
            .args(["-qX", "-v", "ON_ERROR_STOP=1"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        Self(Process(command.spawn().expect("psql runs")))
    }

    fn tell(&mut self, what: &str) {
        let stdin = self.0.0.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{what}")
            .and_then(|()| stdin.flush())
            .expect("psql listens");
    }

    fn begin(&mut self) {
        self.tell(
            "BEGIN; INSERT INTO eventsourcing.events \
             (version, recorded_at, stream_id, schema_version, codec, category, name, metadata, payload) \
             VALUES (1, now(), gen_random_uuid(), 1, 1, 'Noise', 'Made', '', '{}');",
        );
    }

    fn sleep(&mut self, milliseconds: u64) {
        self.tell(&format!(
            "SELECT pg_sleep({});",
            milliseconds as f64 / 1_000.0
        ));
    }
}

/// Holds appends open, one after the other, until it is told to stop.
fn hold_appends(
    place: &Place,
    mut random: fastrand::Rng,
    stop: &Arc<AtomicU64>,
) -> std::thread::JoinHandle<u64> {
    let mut holder = Holder::start(place);
    let stop = Arc::clone(stop);

    std::thread::spawn(move || {
        let mut held = 0;
        while stop.load(Ordering::SeqCst) == 0 {
            let milliseconds = random.u64(0..HELD_MILLISECONDS_MAX);
            holder.begin();
            holder.sleep(milliseconds);
            holder.tell(if random.u8(0..3) == 0 {
                "ROLLBACK;"
            } else {
                "COMMIT;"
            });
            held += 1;
            // Statements are sent ahead of their answers, but not far.
            std::thread::sleep(Duration::from_millis(milliseconds + random.u64(0..20)));
        }
        held
    })
}

/// Runs in a child process, which writes and follows nothing.
#[tokio::test]
async fn child_credits_until_the_parent_has_enough() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let (account, url) = told.split_once(' ').expect("an account and a store");
    let account = account.parse().expect("an id");
    let store = PostgresStore::connect(url).await.expect("the store opens");
    let accounts = AccountService::from(Application::new("accounts", store));
    loop {
        accounts
            .credit(account, money("0.01"))
            .await
            .expect("a credit");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns `true` if a read model or a policy shows the event of a receipt at once, without waiting.
async fn shows(bank: &Bank, follower: &str, account: Id<Account>, receipt: &Receipt) -> bool {
    match follower {
        "activity" => {
            let lines = bank
                .activity
                .before(Position::new(receipt.position.as_u64() + 1), 1)
                .await
                .expect("the feed");
            lines
                .first()
                .is_some_and(|line| line.position == receipt.position && line.account == account)
        }
        "summaries" => {
            let version = bank
                .accounts
                .load(account)
                .await
                .expect("the account")
                .version();
            let shown = bank.summaries.find(account).await.expect("the summaries");
            shown.is_some_and(|shown| shown.version == version)
        }
        ledger => {
            let store = bank.stores().first().expect("one store");
            let reached = store
                .tracking(&Name::from(ledger), store.log_id())
                .await
                .expect("a position");
            reached >= receipt.position
        }
    }
}

/// Returns how many of the calls ended although the follower did not show the event.
async fn early_of(bank: &Arc<Bank>, calls: u64) -> u64 {
    let left = Arc::new(AtomicU64::new(calls));
    let early = Arc::new(AtomicU64::new(0));

    let callers = (0..(calls / 5).clamp(1, CALLERS_MAX)).map(|caller| {
        let bank = Arc::clone(bank);
        let left = Arc::clone(&left);
        let early = Arc::clone(&early);

        tokio::spawn(async move {
            let account = bank
                .accounts
                .open(&format!("Caller {caller}"))
                .await
                .expect("an account")
                .id;
            while left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            {
                let number = left.load(Ordering::SeqCst) as usize;
                let receipt = bank
                    .accounts
                    .credit(account, money("0.01"))
                    .await
                    .expect("a credit");
                let follower = FOLLOWERS[number % FOLLOWERS.len()];
                if number.is_multiple_of(29) {
                    bank.wait_until_caught_up()
                        .await
                        .expect("all followers get there");
                } else {
                    bank.wait_for(&receipt, FollowerName::new(follower), TIMEOUT)
                        .await
                        .expect("it gets there");
                }
                early.fetch_add(
                    u64::from(!shows(&bank, follower, account, &receipt).await),
                    Ordering::SeqCst,
                );
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller");
    }
    early.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wait_ends_early_beside_eight_writing_processes() {
    let calls = std::env::var(CALLS_VARIABLE)
        .map_or(CALLS, |text| text.parse().expect("a number of calls"));
    let seed = Seed::from_env();
    let place = Place::postgres();
    let bank = Arc::new(open(place.url()).await);
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let account = bank
            .accounts
            .open(&format!("Writer {number}"))
            .await
            .expect("an account")
            .id;
        writers.push(Process(child(
            "beside_writers::child_credits_until_the_parent_has_enough",
            place.url(),
            account,
        )));
    }
    let stop = Arc::new(AtomicU64::new(0));
    let holders: Vec<_> = (0..HOLDERS)
        .map(|number| hold_appends(&place, seed.rng(number as u64), &stop))
        .collect();

    let begun = Instant::now();
    let early = early_of(&bank, calls).await;
    let elapsed = begun.elapsed();
    stop.store(1, Ordering::SeqCst);
    let held: u64 = holders
        .into_iter()
        .map(|holder| holder.join().expect("a holder"))
        .sum();
    for mut writer in writers {
        assert!(
            writer.0.try_wait().expect("its state").is_none(),
            "all have written to the end"
        );
    }
    report(&format!(
        "{early} of {calls} waits ended early, beside {held} appends held open, in {elapsed:?}"
    ));
    assert_eq!(early, 0, "of {calls} waits; seed {seed:?}");
    assert!(held > 0, "some appends were held open");
}

#[expect(
    clippy::print_stderr,
    reason = "the harness keeps it back unless asked"
)]
fn report(line: &str) {
    eprintln!("{line}");
}

/// A request that waits for read models beside one append that is held open is answered after that append has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_read_models_is_not_answered_before_they_show_it() {
    let place = Place::postgres();
    let bank = Arc::new(open(place.url()).await);
    let account = bank.accounts.open("Alice").await.expect("an account").id;
    bank.wait_until_caught_up()
        .await
        .expect("all followers get there");
    let router: Router = web::router(State::new(Arc::clone(&bank)), &Settings::default());
    let mut holder = Holder::start(&place);
    holder.begin();
    holder.sleep(1_500);
    holder.tell("COMMIT;");
    let is_open = async || {
        let sql =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1163067393";
        let answer = Command::new(psql())
            .arg(place.url())
            .args(["-qAtc", sql])
            .output()
            .expect("psql runs");
        String::from_utf8_lossy(&answer.stdout).trim() != "0"
    };
    while !is_open().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = format!("/api/accounts/{account}/credit?wait=read-models");
    let answer = post(&router, &path, json!({ "amount": "3.00" })).await;
    let activity = get(&router, "/api/activity?limit=1").await.json();
    let position = answer.json()["position"].clone();
    match answer.header("read-models") {
        "caught-up" => assert_eq!(activity["activity"][0]["position"], position, "{activity}"),
        other => panic!("the append was held for 1.5 s, which is no reason to be {other}"),
    }
}
