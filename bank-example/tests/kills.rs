//! Timers and transfers in steps in processes that are killed again and again: everything happens once.
//!
//! The children are this test program itself; a variable names the store.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bank_example::application::accounts::AccountService;
use bank_example::application::transfers::TransferService;
use bank_example::domain::account::Account;
use bank_example::domain::transfer::{Order, State, Transfer};
use bank_example::domain::{Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing::store::{LogQuery, Position};
use eventsourcing::testing::Seed;
use eventsourcing::{
    Aggregate, Application, Due, Id, Policy, RecordedEvent, Root, Runner, RunningSystem, System,
    Timers, UnitOfWork, event,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use support::{Place, assert_consistent, assert_transfers_ended, money};

const CHILD: &str = "BANK_TEST_CHILD";
/// A short lease, so that another process takes over soon after a kill.
const LEASE: Duration = Duration::from_millis(100);

/// The number of kills after which no process is killed any more, so that the test ends.
const KILLS_MAX: usize = 12;

/// A process that runs `test` of this program. Killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(test: &str, url: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let command = command
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, format!("{test} {url}"));
        Self(
            command
                .stdout(Stdio::null())
                .spawn()
                .expect("a child process"),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Returns the store of a child process that runs `test`, or `None` in the parent.
fn in_child(test: &str) -> Option<String> {
    std::env::var(CHILD)
        .ok()?
        .strip_prefix(test)?
        .strip_prefix(' ')
        .map(str::to_owned)
}

/// Runs `test` in processes, two at a time, one of which is killed every now and then, until `is_done`. Returns the
/// number of kills.
async fn kill_until(
    test: &str,
    url: &str,
    random: &mut fastrand::Rng,
    mut is_done: impl AsyncFnMut() -> bool,
) -> usize {
    let mut processes = [Process::start(test, url), Process::start(test, url)];
    let mut kills = 0;
    let done = async {
        while !is_done().await {
            // A process takes a moment to start, and some shall live a moment longer.
            tokio::time::sleep(Duration::from_millis(random.u64(20..600))).await;
            if kills < KILLS_MAX {
                processes[random.usize(..2)] = Process::start(test, url);
                kills += 1;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done)
        .await
        .expect("everything happens in the end");
    kills
}

/// An egg in boiling water.
#[derive(Aggregate, Serialize, Deserialize)]
struct Egg {}

#[event]
impl Egg {
    fn boiled(_number: u64, _ready: Timestamp) -> Self {
        Self {}
    }
    fn eaten_raw(&mut self) {}
}

/// An egg that was taken out.
#[derive(Aggregate, Serialize, Deserialize)]
struct Breakfast {}

#[event]
impl Breakfast {
    fn served(_number: u64, _ready: Timestamp) -> Self {
        Self {}
    }
}

struct Eggs;

impl From<Application> for Eggs {
    fn from(_: Application) -> Self {
        Self
    }
}

struct Breakfasts(Application);

impl From<Application> for Breakfasts {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

impl Policy<Egg> for Breakfasts {
    type Error = Infallible;

    async fn react(
        &self,
        event: &RecordedEvent<Egg>,
        work: &mut UnitOfWork,
    ) -> Result<(), Infallible> {
        match event.payload {
            EggEvent::Boiled { number, ready } => work.schedule(ready, event.aggregate_id, &number),
            EggEvent::EatenRaw => work.cancel(event.aggregate_id),
        }
        Ok(())
    }
}

impl Timers for Breakfasts {
    type Timer = u64;
    type Error = Infallible;

    async fn due(&self, timer: &Due<u64>, work: &mut UnitOfWork) -> Result<(), Infallible> {
        let id = work.new_id::<Breakfast>();
        work.create(
            id,
            BreakfastEvent::Served {
                number: timer.payload,
                ready: timer.at,
            },
        );
        Ok(())
    }
}

#[derive(System)]
struct Kitchen {
    #[expect(dead_code, reason = "another process boils the eggs")]
    #[application(aggregates(Egg))]
    eggs: Eggs,

    #[application(aggregates(Breakfast), follows(eggs: Egg), timers)]
    breakfasts: Breakfasts,
}

async fn kitchen(url: &str, runner: Runner) -> RunningSystem<Kitchen> {
    let stores = bank_example::stores::open(url)
        .await
        .expect("the store opens");
    Kitchen::start(stores, runner)
        .await
        .expect("the kitchen starts")
}

/// Every eleventh is eaten raw.
const EGGS: u64 = 1_100;

#[tokio::test(flavor = "multi_thread")]
async fn child_serves_eggs_until_it_is_killed() {
    let Some(url) = in_child("child_serves_eggs_until_it_is_killed") else {
        return;
    };
    let _kitchen = kitchen(&url, Runner::concurrent().with_leases(LEASE)).await;
    std::future::pending::<()>().await;
}

/// Returns the served eggs, in the order of the log.
async fn served(eggs: &Application) -> Vec<RecordedEvent<Breakfast>> {
    let query = LogQuery::after(Position::ZERO)
        .categories([Breakfast::NAME])
        .limit(usize::MAX);
    eggs.log(query)
        .await
        .expect("the log is read")
        .decode()
        .expect("breakfasts")
}

/// 1,000 timers become due while processes are killed; 100 more are cancelled before that.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_1_000_timers_is_processed_once_while_processes_are_killed() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    for place in Place::all_durable() {
        let store = bank_example::stores::open(place.url())
            .await
            .expect("the store opens")
            .store();
        let eggs = Application::new("eggs", store);
        let begin = Timestamp::now();
        let last = begin + Duration::from_millis(6_000);
        let mut expected = BTreeSet::new();
        for numbers in (0..EGGS).collect::<Vec<_>>().chunks(50) {
            for number in numbers {
                // Due late enough that the cancelled timers are cancelled before.
                let is_raw = number % 11 == 0;
                let ready = begin
                    + Duration::from_millis(if is_raw {
                        60_000
                    } else {
                        random.u64(1_500..6_000)
                    });
                let mut egg = Root::<Egg>::create(EggEvent::Boiled {
                    number: *number,
                    ready,
                });
                if is_raw {
                    egg.record(EggEvent::EatenRaw);
                } else {
                    expected.insert(*number);
                }
                eggs.save(&mut egg).await.expect("an egg");
            }
        }
        let is_done =
            async || Timestamp::now() > last && served(&eggs).await.len() >= expected.len();
        let kills = kill_until(
            "child_serves_eggs_until_it_is_killed",
            place.url(),
            &mut random,
            is_done,
        )
        .await;
        let kitchen = kitchen(place.url(), Runner::concurrent().with_leases(LEASE)).await;
        kitchen
            .wait_until_caught_up()
            .await
            .expect("everything comes to rest");
        let health = kitchen.health().await.expect("health");
        assert_eq!(health.followers[0].timers, 0, "{seed}: none is left");
        let breakfasts = served(&kitchen.breakfasts.0).await;
        assert_eq!(breakfasts.len(), expected.len(), "{seed}: each once");
        let mut numbers = BTreeSet::new();
        for breakfast in breakfasts {
            let BreakfastEvent::Served { number, ready } = breakfast.payload;
            assert!(breakfast.recorded_at >= ready, "{seed}: {number} was early");
            numbers.insert(number);
        }
        assert_eq!(numbers, expected, "{seed}: none is lost");
        assert!(kills >= 5, "{seed}: only {kills} processes were killed");
        kitchen.stop().await.expect("a graceful end");
    }
}

async fn bank(url: &str, runner: Runner) -> RunningSystem<EventSourcedBank> {
    let stores = bank_example::stores::open(url)
        .await
        .expect("the store opens");
    EventSourcedBank::start(stores, runner)
        .await
        .expect("the bank starts")
}

const ACCOUNTS: u64 = 4;
const TRANSFERS: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn child_moves_money_until_it_is_killed() {
    let Some(url) = in_child("child_moves_money_until_it_is_killed") else {
        return;
    };
    let _bank = bank(&url, Runner::concurrent().with_leases(LEASE)).await;
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_ends_and_no_money_is_lost_however_often_processes_are_killed() {
    let seed = Seed::from_env();
    let mut random = seed.rng(0);
    for place in Place::all_durable() {
        let store = bank_example::stores::open(place.url())
            .await
            .expect("the store opens")
            .store();
        let accounts = AccountService::from(Application::new("accounts", store.clone()));
        let transfers = TransferService::from(Application::new("transfers", store));
        let mut ids = Vec::new();
        for _ in 0..ACCOUNTS {
            let id = accounts.open("Alice").await.expect("an account").id;
            accounts.credit(id, money("25")).await.expect("a credit");
            ids.push(id);
        }
        let mut requested = 0;
        let mut is_done = async |random: &mut fastrand::Rng| {
            for _ in 0..10 {
                if requested < TRANSFERS {
                    // Some transfers go to an unknown account, and some exceed the balance.
                    let from = random.usize(..4);
                    let to = if random.u8(..5) == 0 {
                        Id::new()
                    } else {
                        ids[(from + random.usize(1..4)) % 4]
                    };
                    let from = ids[from];
                    let order = Order {
                        from,
                        to,
                        bank: None,
                        amount: Money::from(random.u32(1..20)),
                    };
                    transfers.request(order).await.expect("a request");
                    requested += 1;
                }
            }
            requested == TRANSFERS && all_ended(&transfers).await
        };
        let mut requests = seed.rng(1);
        let is_done = async || is_done(&mut requests).await;
        let kills = kill_until(
            "child_moves_money_until_it_is_killed",
            place.url(),
            &mut random,
            is_done,
        )
        .await;
        let bank = bank(place.url(), Runner::concurrent().with_leases(LEASE)).await;
        let (balance, movements) = assert_consistent(&bank).await;
        let (completed, compensated) = assert_transfers_ended(&bank).await;
        assert_eq!(balance, money("100"), "{seed}: no money is made or lost");
        let expected = ACCOUNTS + 2 * (completed + compensated) as u64;
        assert_eq!(
            movements, expected,
            "{seed}: {completed} completed, {compensated} compensated"
        );
        assert!(
            completed > 0 && compensated > 0 && kills >= 5,
            "{seed}: {completed}, {compensated}, {kills} kills"
        );
        assert_each_is_moved_once(&bank).await;
        bank.stop().await.expect("a graceful end");
    }
}

async fn all_ended(transfers: &Application) -> bool {
    for id in transfers
        .ids::<Transfer>(Position::ZERO, usize::MAX)
        .await
        .expect("ids")
        .ids
    {
        if !transfers.load(id).await.expect("a transfer").has_ended() {
            return false;
        }
    }
    true
}

/// Requires that each account has what its transfers have moved.
async fn assert_each_is_moved_once(bank: &EventSourcedBank) {
    let mut expected: BTreeMap<Id<Account>, Money> = BTreeMap::new();
    for id in bank
        .transfers
        .ids::<Transfer>(Position::ZERO, usize::MAX)
        .await
        .expect("ids")
        .ids
    {
        let transfer = bank.transfers.load(id).await.expect("a transfer");
        let Order {
            from, to, amount, ..
        } = transfer.order;
        if transfer.state == State::Completed {
            *expected.entry(from).or_insert(ZERO) -= amount;
            *expected.entry(to).or_insert(ZERO) += amount;
        }
    }
    for id in bank
        .accounts
        .ids::<Account>(Position::ZERO, usize::MAX)
        .await
        .expect("ids")
        .ids
    {
        let moved = expected.remove(&id).unwrap_or(ZERO);
        assert_eq!(
            bank.accounts.load(id).await.expect("an account").balance,
            money("25") + moved
        );
    }
    assert!(
        expected.is_empty(),
        "money went to accounts that do not exist"
    );
}
