//! A rolling upgrade: processes of the second and of the third release run on one PostgreSQL at the same time, and the
//! old ones are replaced one by one. All of them write, none stops, nothing is lost.
//!
//! The children are this test program itself. `BANK_UPGRADE_SECONDS` is the length of the upgrade: 5 unless given, 30
//! before a release.
#![allow(
    clippy::print_stdout,
    reason = "children report on it, and figures are for people"
)]

#[path = "releases/second.rs"]
mod second;
#[path = "releases/shared.rs"]
mod shared;
mod support;
#[path = "releases/third.rs"]
mod third;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bank_example::domain::{Money, ZERO};
use eventsourcing::store::StoreError;
use eventsourcing::{Application, ApplicationError, Id, Runner, Stores};
use shared::Write;
use support::{Place, money};
use uuid::Uuid;

const CHILD: &str = "BANK_UPGRADE_CHILD";
const LEASE: Duration = Duration::from_millis(500);
/// The number of accounts that all processes write to.
const SHARED: usize = 4;

fn seconds() -> u64 {
    std::env::var("BANK_UPGRADE_SECONDS")
        .map_or(5, |seconds| seconds.parse().expect("a number of seconds"))
}

/// The writes of a child that were acknowledged.
#[derive(Default)]
struct Written {
    /// The number of acknowledged credits by account.
    changes: BTreeMap<Uuid, Money>,
    /// Commands that were refused because a newer release has written to the account.
    refused: u64,
}

/// Writes to an account of its own and to the shared ones, until the parent closes the pipe.
async fn write_until<A: Write>(
    accounts: &Application,
    shared: &[Uuid],
    stop: &AtomicBool,
) -> Written {
    let mut written = Written::default();
    let mut own = eventsourcing::Root::<A>::create(A::open("a process"));
    accounts.save(&mut own).await.expect("an account");
    let own = own.id();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = match number % 3 {
            0 => Id::from_uuid(shared[number % shared.len()]),
            _ => own,
        };
        let amount = money("0.50") * Money::from(1 + number as u64 % 7);
        let event = std::sync::Mutex::new(None);
        let decide = |account: &A| {
            *event.lock().expect("no holder panics") =
                Some(A::change(&account.write(number, amount)).unwrap_or(ZERO));
            account.write(number, amount)
        };
        match accounts.update(id, decide).await {
            Ok(_) => {
                let change = event
                    .into_inner()
                    .expect("no holder panics")
                    .expect("it decided");
                *written.changes.entry(id.as_uuid()).or_default() += change;
            }
            Err(ApplicationError::Store(StoreError::Newer { .. })) if id != own => {
                written.refused += 1;
            }
            Err(error) => panic!("no other error reaches the user: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    written
}

/// True when the parent has closed the pipe.
fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    stop
}

fn report(release: &str, written: &Written) {
    for (id, change) in &written.changes {
        println!("\nwritten {id} {change}");
    }
    println!("\nrefused {}", written.refused);
    let events = written.changes.len();
    assert!(events > 0, "the {release} release wrote nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn child_of_a_release() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let mut words = told.split(' ');
    let mut word = || words.next().expect("a release, a store and accounts");
    let release = word();
    let url = word();

    let shared: Vec<Uuid> = words.map(|id| id.parse().expect("an id")).collect();
    let stores: Stores = bank_example::stores::open(url)
        .await
        .expect("the store opens");
    let runner = Runner::concurrent().with_leases(LEASE);
    let stop = stop_flag();

    let written = match release {
        "second" => {
            let bank = second::start(stores, runner).await;
            let written = write_until::<second::Account>(&bank.accounts, &shared, &stop).await;
            bank.stop().await.expect("no follower has stopped");
            written
        }
        _ => {
            let bank = third::start(stores, runner).await;
            let written = write_until::<third::Account>(&bank.accounts, &shared, &stop).await;
            bank.stop().await.expect("no follower has stopped");
            written
        }
    };
    report(release, &written);
}

/// A process of a release.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Option<JoinHandle<Vec<String>>>,
}

impl Process {
    fn start(release: &str, url: &str, shared: &[Uuid]) -> Self {
        let shared: Vec<_> = shared.iter().map(Uuid::to_string).collect();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child_of_a_release", "--nocapture"])
            .env(CHILD, format!("{release} {url} {}", shared.join(" ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = std::thread::spawn(move || stdout.lines().map_while(Result::ok).collect());
        Self {
            stdin: child.stdin.take(),
            lines: Some(lines),
            child,
        }
    }

    /// Ends the process as an operator would, and returns its writes.
    fn stop(mut self) -> Written {
        drop(self.stdin.take());
        assert!(
            self.child.wait().expect("the child ends").success(),
            "a process has failed"
        );
        let mut written = Written::default();
        for line in self
            .lines
            .take()
            .expect("it is stopped once")
            .join()
            .expect("lines")
        {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["written", id, change] => {
                    let id = id.parse().expect("an id");
                    *written.changes.entry(id).or_default() +=
                        change.parse::<Money>().expect("an amount");
                }
                ["refused", count] => written.refused = count.parse().expect("a number"),
                _ => {}
            }
        }
        written
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_run_at_once_while_one_replaces_the_other() {
    let place = Place::postgres();
    let began = Instant::now();

    let stores: Stores = bank_example::stores::open(place.url())
        .await
        .expect("the store opens");
    second::write(stores.clone()).await;
    let before = second::books(stores.clone()).await;
    let mut shared = Vec::new();
    let accounts = Application::new("accounts", stores.store());
    for _ in 0..SHARED {
        let mut account =
            eventsourcing::Root::<second::Account>::create(second::Account::open("Everybody"));
        accounts.save(&mut account).await.expect("an account");
        shared.push(account.id().as_uuid());
    }

    let step = Duration::from_millis(seconds() * 1_000 / 5);
    let start = |release| Process::start(release, place.url(), &shared);
    let old = [start("second"), start("second")];
    tokio::time::sleep(step).await;
    let new = start("third");
    tokio::time::sleep(step).await;
    let [first_old, second_old] = old;
    let mut ended = vec![first_old.stop()];
    let newest = start("third");
    tokio::time::sleep(step).await;
    // The operator hesitates: the new release is gone for a while, and comes back.
    ended.push(new.stop());
    let back = start("third");
    tokio::time::sleep(step).await;
    ended.push(second_old.stop());
    tokio::time::sleep(step).await;
    ended.extend([newest.stop(), back.stop()]);

    let mut expected = before.0;
    for (id, change) in ended.iter().flat_map(|written| &written.changes) {
        *expected.entry(*id).or_default() += *change;
    }
    let refused: u64 = ended.iter().map(|written| written.refused).sum();
    let books = third::books(stores.clone()).await;
    assert_eq!(
        books.0, expected,
        "what is in the accounts (left), and what was acknowledged"
    );
    assert!(
        refused > 0,
        "the old release has met no event of the new one, so nothing was shown"
    );
    let head = stores.store().head().await.expect("an answer");
    println!(
        "{} s, {head} positions, {refused} commands refused by the old release",
        began.elapsed().as_secs()
    );
}
