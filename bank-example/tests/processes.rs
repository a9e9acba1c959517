//! The bank in several processes at once, and in one that is killed.
//!
//! The children are this test program itself; a variable names the account and the store.

mod beside_writers;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bank_example::application::accounts::AccountService;
use bank_example::domain::Money;
use bank_example::domain::account::Account;
use bank_example::domain::ledger::{GENERAL, Ledger};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{CommandId, Version};
use eventsourcing::testing::Seed;
use eventsourcing::{Application, Id, Runner, RunningSystem};
use support::{Place, assert_consistent, money};

const CHILD: &str = "BANK_TEST_CHILD";
const CREDITS: u64 = 500;
const KILLS: usize = 15;

async fn open(url: &str) -> RunningSystem<EventSourcedBank> {
    let store = bank_example::stores::open(url)
        .await
        .expect("the store opens");
    EventSourcedBank::start(store, Runner::concurrent().without_leases())
        .await
        .expect("the bank starts")
}

/// A child process that runs `test` of this program on the store and account given.
fn child(test: &str, url: &str, account: Id<Account>) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, format!("{account} {url}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process")
}

/// Returns the bank and the account of a child process, or `None` in the parent.
async fn in_child() -> Option<(RunningSystem<EventSourcedBank>, Id<Account>)> {
    let told = std::env::var(CHILD).ok()?;
    let (account, url) = told.split_once(' ').expect("an account and a store");
    Some((open(url).await, account.parse().expect("an id")))
}

#[tokio::test(flavor = "multi_thread")]
async fn child_credits_500_times() {
    let Some((bank, account)) = in_child().await else {
        return;
    };
    for _ in 0..CREDITS {
        bank.accounts
            .credit(account, money("0.10"))
            .await
            .expect("no error reaches the user");
    }
    bank.wait_until_caught_up()
        .await
        .expect("the ledger catches up");
    bank.stop().await.expect("a graceful end");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_credit_one_account_500_times_each_at_once() {
    for place in Place::all_durable() {
        let bank = open(place.url()).await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        let bob = bank.accounts.open("Bob").await.expect("an account").id;
        bank.accounts
            .credit(bob, money("7"))
            .await
            .expect("a credit");
        let children = [0, 1].map(|_| child("child_credits_500_times", place.url(), alice));
        for mut child in children {
            assert!(child.wait().expect("the child ends").success());
        }
        let account = bank.accounts.load(alice).await.expect("Alice");
        assert_eq!(
            (account.balance, account.version()),
            (money("100"), Version::new(1 + 2 * CREDITS))
        );
        assert_eq!(
            assert_consistent(&bank).await,
            (money("107"), 1 + 2 * CREDITS)
        );
        bank.stop().await.expect("a graceful end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn child_credits_until_it_is_killed() {
    let Some((bank, account)) = in_child().await else {
        return;
    };
    loop {
        bank.accounts
            .credit(account, money("0.01"))
            .await
            .expect("a credit");
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "acknowledged")
            .and_then(|()| stdout.flush())
            .expect("the parent listens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_everything_agrees_and_nothing_acknowledged_is_lost() {
    let mut random = Seed::from_env().rng(0);
    for place in Place::all_durable() {
        let bank = open(place.url()).await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        bank.stop().await.expect("a graceful end");
        let mut credits = 0;
        for _ in 0..KILLS {
            let acknowledged = killed_after(
                Duration::from_millis(random.u64(20..250)),
                place.url(),
                alice,
            );
            let bank = open(place.url()).await;
            let (balance, movements) = assert_consistent(&bank).await;
            // The last credit may have been written without being acknowledged.
            let new = movements - credits;
            assert!(
                (acknowledged..=acknowledged + 1).contains(&new),
                "{acknowledged} were acknowledged, {new} are there"
            );
            assert_eq!(balance, money("0.01") * Money::from(movements));
            bank.stop().await.expect("a graceful end");
            credits = movements;
        }
        assert!(credits > 0, "no child lived long enough to credit anything");
    }
}

/// Returns how many credits a child acknowledged before it was killed, `delay` after its start.
fn killed_after(delay: Duration, url: &str, account: Id<Account>) -> u64 {
    let mut child = child("child_credits_until_it_is_killed", url, account);
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let killer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        child
            .kill()
            .and_then(|()| child.wait())
            .expect("the child is killed")
    });
    // The test harness prints lines of its own, the first of which may share a line with the child's.
    let acknowledged = stdout
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.ends_with("acknowledged"))
        .count();
    killer.join().expect("the killer ends");
    acknowledged as u64
}

const LEASE: Duration = Duration::from_millis(200);
const PAUSES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn child_follows_until_its_parent_ends() {
    let Some(url) = following_child() else { return };
    let store = bank_example::stores::open(&url)
        .await
        .expect("the store opens");
    let runner = Runner::concurrent().with_leases(LEASE);
    let bank = EventSourcedBank::start(store, runner)
        .await
        .expect("the bank starts");
    let mut rest = String::new();
    tokio::task::block_in_place(|| std::io::stdin().read_to_string(&mut rest))
        .expect("the parent says nothing");
    bank.stop().await.expect("a graceful end");
}

fn following_child() -> Option<String> {
    std::env::var(CHILD)
        .ok()?
        .strip_prefix("follow ")
        .map(str::to_owned)
}

/// A child process that runs the bank's followers. Killed when it is dropped, also while it is stopped.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn follower(url: &str) -> Follower {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "child_follows_until_its_parent_ends",
            "--nocapture",
        ])
        .env(CHILD, format!("follow {url}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child process");
    Follower(child)
}

fn signal(name: &str, process: &Child) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", process.id())])
        .status();
    assert!(sent.expect("a shell").success());
}

/// Stops the process at a moment when other processes can still credit the account, and credits it once. A process that
/// is stopped in the middle of a commit to SQLite holds the lock of the file, and no process can write.
async fn pause(process: &Child, accounts: &AccountService, account: Id<Account>) {
    let request = accounts.command(CommandId::new());
    loop {
        signal("STOP", process);
        let credit = request.update(account, |account| account.credit(money("1")));
        match tokio::time::timeout(Duration::from_secs(2), credit).await {
            Ok(credited) => {
                credited.expect("a credit");
                return;
            }
            Err(_) => signal("CONT", process),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The process that runs the ledger is stopped for longer than its lease, another one takes over, and the first one
/// continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_and_resumed_process_does_nothing_twice() {
    for place in Place::all_durable() {
        let url = place.url();
        let store = bank_example::stores::open(url)
            .await
            .expect("the store opens")
            .store();
        let accounts = AccountService::from(Application::new("accounts", store.clone()));
        let ledger = Application::new("ledger", store);
        let alice = accounts.open("Alice").await.expect("an account").id;
        let mut followers = [follower(url), follower(url)];
        for round in 0..PAUSES {
            let paused = &followers[round % 2].0;
            pause(paused, &accounts, alice).await;
            let movements = round as u64 + 1;
            let taken_over = async {
                while ledger
                    .find(Id::<Ledger>::named(GENERAL))
                    .await
                    .expect("a ledger")
                    .is_none_or(|ledger| ledger.transactions < movements)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(30), taken_over).await;
            assert!(in_time.is_ok(), "no process took over in round {round}");
            signal("CONT", paused);
        }
        for Follower(child) in &mut followers {
            drop(child.stdin.take());
            assert!(child.wait().expect("the child ends").success());
        }
        let bank = open(url).await;
        assert_eq!(
            assert_consistent(&bank).await,
            (Money::from(PAUSES), PAUSES as u64)
        );
        bank.stop().await.expect("a graceful end");
    }
}
