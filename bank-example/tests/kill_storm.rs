//! A hundred kills: four processes credit accounts and run the followers, and one after the other is killed at a random
//! moment and started again. In the end the ledger and the read models agree with the log.

#![allow(clippy::print_stderr, reason = "prints figures of the run")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use bank_example::domain::Money;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use eventsourcing::testing::Seed;
use eventsourcing::{Id, Runner, RunningSystem};
use futures_util::future::join_all;
use support::{Place, assert_consistent, money};

const CHILD: &str = "BANK_TEST_CHILD";
const LEASE: Duration = Duration::from_millis(300);

/// The parameters of a run.
#[derive(Clone, Copy)]
struct Storm {
    kills: u64,
    processes: u64,
    /// The number of concurrent credits of a process.
    hands: u64,
    accounts: usize,
}

async fn open(url: &str) -> RunningSystem<EventSourcedBank> {
    let store = bank_example::stores::open(url)
        .await
        .expect("the store opens");
    EventSourcedBank::start(store, Runner::concurrent().with_leases(LEASE))
        .await
        .expect("the bank starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_credits_and_follows_until_it_is_killed() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let [url, hands, accounts @ ..] = &*arguments.split(' ').collect::<Vec<_>>() else {
        panic!("unexpected arguments {arguments:?}")
    };
    let accounts: Vec<Id<Account>> = accounts
        .iter()
        .map(|id| id.parse().expect("an id"))
        .collect();
    let bank = open(url).await;
    let hand = async || loop {
        let account = accounts[fastrand::usize(..accounts.len())];
        bank.accounts
            .credit(account, money("0.01"))
            .await
            .expect("no error reaches the user");
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "acknowledged")
            .and_then(|()| stdout.flush())
            .expect("the parent listens");
    };
    let hands = hands.parse().expect("a number");
    join_all(std::iter::repeat_with(hand).take(hands)).await;
}

/// A child process, and a thread that counts its acknowledged credits. Killed when it is dropped.
struct Teller {
    child: Child,
    acknowledged: Option<JoinHandle<u64>>,
}

impl Teller {
    fn start(url: &str, hands: u64, accounts: &[Id<Account>]) -> Self {
        let ids: Vec<_> = accounts.iter().map(ToString::to_string).collect();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "child_credits_and_follows_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, format!("{url} {hands} {}", ids.join(" ")))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        // The test harness prints lines of its own, the first of which may share a line with the child's.
        let count = || {
            stdout
                .lines()
                .map_while(Result::ok)
                .filter(|line| line.ends_with("acknowledged"))
                .count() as u64
        };
        Self {
            child,
            acknowledged: Some(std::thread::spawn(count)),
        }
    }

    /// Kills the process, which must be alive, and returns the number of its acknowledged credits.
    fn kill(mut self) -> u64 {
        assert!(
            self.child.try_wait().expect("a child").is_none(),
            "the child ended by itself"
        );
        self.child.kill().expect("the child is killed");
        self.acknowledged
            .take()
            .expect("it is killed once")
            .join()
            .expect("a count")
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_100_kills_ledger_summaries_and_feed_agree_with_the_log() {
    Storm {
        kills: 100,
        processes: 4,
        hands: 1,
        accounts: 10,
    }
    .rage()
    .await;
}

/// Commands that wait for each other share an append.
#[tokio::test(flavor = "multi_thread")]
async fn commands_of_one_append_are_recorded_once_while_processes_are_killed() {
    Storm {
        kills: 30,
        processes: 2,
        hands: 8,
        accounts: 1,
    }
    .rage()
    .await;
}

impl Storm {
    async fn rage(self) {
        let Self {
            kills,
            processes,
            hands,
            accounts: count,
        } = self;
        let mut random = Seed::from_env().rng(0);
        for place in Place::all_durable() {
            let url = place.url();
            let bank = open(url).await;
            let mut accounts = Vec::new();
            for number in 0..count {
                accounts.push(
                    bank.accounts
                        .open(&format!("Owner {number}"))
                        .await
                        .expect("an account")
                        .id,
                );
            }
            bank.stop().await.expect("a graceful end");

            let mut tellers: Vec<_> = (0..processes)
                .map(|_| Teller::start(url, hands, &accounts))
                .collect();
            let mut acknowledged = 0;
            for _ in 0..kills {
                tokio::time::sleep(Duration::from_millis(random.u64(20..200))).await;
                let teller = tellers.swap_remove(random.usize(..tellers.len()));
                acknowledged += teller.kill();
                tellers.push(Teller::start(url, hands, &accounts));
            }
            acknowledged += tellers.into_iter().map(Teller::kill).sum::<u64>();

            let bank = open(url).await;
            let (balance, movements) = assert_consistent(&bank).await;
            assert_eq!(balance, money("0.01") * Money::from(movements));
            let unheard = movements.checked_sub(acknowledged);
            let unheard = unheard.unwrap_or_else(|| {
                panic!("{acknowledged} were acknowledged, {movements} are there")
            });
            // Each kill may have come between a commit and its acknowledgement, once for each concurrent credit.
            assert!(
                unheard <= (kills + processes) * hands,
                "{unheard} credits without a command"
            );
            assert!(
                acknowledged > kills,
                "the tellers hardly came to do anything: {acknowledged}"
            );
            eprintln!("{acknowledged} credits acknowledged, {movements} recorded");
            let verification = bank.verify().await.expect("the store answers");
            assert!(verification.agrees(), "{verification}");
            bank.stop().await.expect("a graceful end");
        }
    }
}
