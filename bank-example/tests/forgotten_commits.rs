//! Servers that forget commits: fail-over to a standby that lags behind, a crash that takes what was not flushed, the restore
//! of an earlier backup. And fail-over to a synchronous standby, which forgets nothing.
//!
//! Four processes command, follow, wait and subscribe, and live through all of it. After each accident: every event of the
//! history that survived was processed once; no wait returned early; nothing was decided on what the server has forgotten;
//! every subscription ended or went on without a gap; commands succeed within five seconds of the new primary.
//!
//! The number of accidents of each kind is 2; `EVENTSOURCING_TEST_ACCIDENTS` says another one, as 20.
//! `EVENTSOURCING_TEST_SEED` repeats the random moments of a run.

#![allow(clippy::print_stderr, reason = "figures for whoever reads along")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use bank_example::domain::account::{Account, AccountEvent};
use bank_example::domain::{BankError, Money, ZERO};
use bank_example::system::EventSourcedBank;
use eventsourcing_core::store::{CommandId, EventStore, LogQuery, Position, StoreError, StoredEvent};
use eventsourcing_core::testing::Seed;
use eventsourcing_core::{
    AppError, Id, Receipt, Recorded, Rejected, Runner, Running, Stores, Subscription, SystemError,
};
use eventsourcing_postgres::{Durability, PostgresOptions, PostgresStore};
use support::server::{self, DURABLE, Server};
use support::{assert_consistent, money};
use tokio::sync::{Mutex, RwLock};
use uuid::Uuid;

const CHILD: &str = "BANK_TEST_CHILD";
/// The number of accidents of each kind.
const ACCIDENTS: &str = "EVENTSOURCING_TEST_ACCIDENTS";
const PROCESSES: usize = 4;
/// Commands that a process gives at once.
const HANDS: usize = 2;
const ACCOUNTS: usize = 8;
const LEASE: Duration = Duration::from_millis(500);
/// From the moment when the new primary takes writes until every process has been served.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// A process that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(url: &str, durability: Durability) -> (Running<EventSourcedBank>, PostgresStore) {
    let options = PostgresOptions::new().with_durability(durability);
    let store = options.connect(url).await.expect("the store opens");
    let runner = Runner::concurrent().with_leases(LEASE);
    let bank = EventSourcedBank::start(Stores::shared(store.clone()), runner).await.expect("the bank starts");
    (bank, store)
}

// In a child process.

/// What a child does, and what it knows of the log.
struct Teller {
    bank: Running<EventSourcedBank>,
    store: PostgresStore,
    accounts: Vec<Id<Account>>,
    /// Held by each hand during a command, and by whoever wants silence.
    silence: RwLock<()>,
    /// The events of accounts that the subscription has delivered since it began.
    delivered: Mutex<Vec<StoredEvent>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_commands_follows_waits_and_subscribes() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [url, durability, accounts @ ..] = &*told.split(' ').collect::<Vec<_>>() else { panic!("told {told:?}") };
    let durability = if *durability == "normal" { Durability::Normal } else { Durability::Full };
    let accounts = accounts.iter().map(|id| id.parse().expect("an id")).collect();
    let (bank, store) = open(url, durability).await;
    let (silence, delivered) = (RwLock::default(), Mutex::default());
    let teller = Arc::new(Teller { bank, store, accounts, silence, delivered });
    for _ in 0..HANDS {
        tokio::spawn(Arc::clone(&teller).command_without_end());
    }
    tokio::spawn(Arc::clone(&teller).subscribe_without_end());
    tokio::task::spawn_blocking(move || obey(&teller)).await.expect("it ends with its standard input");
}

/// `silence`: nobody commands until `check`, which compares what the child knows with the log.
fn obey(teller: &Teller) {
    let runtime = tokio::runtime::Handle::current();
    let mut _silence = None;
    for order in std::io::stdin().lines().map_while(Result::ok) {
        match &*order {
            "silence" => _silence = Some(runtime.block_on(teller.silence.write())),
            "check" => runtime.block_on(teller.check()),
            "go on" => _silence = None,
            _ => panic!("told {order:?}"),
        }
        say(&format!("done {order}"));
    }
}

/// A line of its own, whatever the test harness prints.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nteller {line}").and_then(|()| stdout.flush()).expect("the parent listens");
}

impl Teller {
    async fn command_without_end(self: Arc<Self>) {
        loop {
            let quiet = self.silence.read().await;
            let command = CommandId::new();
            let account = self.accounts[fastrand::usize(..self.accounts.len())];
            if let Some(receipt) = self.carry_out(command, account).await {
                say(&format!("acknowledged {} {}", command.as_uuid(), receipt.position));
                if fastrand::u8(..4) == 0 {
                    self.wait_for(command, &receipt).await;
                }
            }
            drop(quiet);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A credit, or a debit of most of what the account has. The same command is repeated until it is answered.
    async fn carry_out(&self, command: CommandId, account: Id<Account>) -> Option<Receipt> {
        let accounts = self.bank.accounts.command(command);
        let is_credit = fastrand::bool();
        loop {
            let decide = |account: &Account| match is_credit {
                true => account.credit(money("1.00")),
                false => account.debit((account.balance * money("0.75")).trunc_with_scale(2)),
            };
            match accounts.update(account, decide).await {
                Ok(receipt) => return Some(receipt),
                Err(Rejected::Domain(BankError::InsufficientFunds { .. } | BankError::InvalidAmount { .. })) => {
                    return None;
                }
                Err(Rejected::App(AppError::Store(StoreError::Unavailable { .. }))) => {}
                Err(Rejected::App(error)) if error.is_conflict() => {}
                // The account itself was opened before the first accident.
                Err(error) => panic!("{account}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the activity feed, and looks whether it has the event.
    async fn wait_for(&self, command: CommandId, receipt: &Receipt) {
        match self.bank.after(receipt, "activity", PATIENCE).await {
            Ok(()) => {}
            // A wait ends with the server's absence too; the caller may wait again.
            Err(SystemError::Store(StoreError::LogWentBack { .. } | StoreError::Unavailable { .. })) => {
                return say("wait ended");
            }
            Err(error) => return say(&format!("BAD a wait for {} ended in {error:?}", receipt.position)),
        }
        let Ok(lines) = self.bank.activity.before(Position::new(receipt.position.as_u64() + 1), 1).await else {
            return;
        };
        let is_there = lines.first().is_some_and(|line| line.position == receipt.position);
        // The log may have gone back between the two.
        let still_known = self
            .store
            .receipt(command)
            .await
            .is_ok_and(|known| known.is_some_and(|known| known.position == receipt.position));
        match (is_there, still_known) {
            (true, _) => say("waited"),
            (false, false) => say("wait overtaken"),
            (false, true) => say(&format!("BAD a wait for {} returned early", receipt.position)),
        }
    }

    async fn subscribe_without_end(self: Arc<Self>) {
        loop {
            let query = LogQuery::after(Position::ZERO).categories(["Account"]);
            let mut subscription = Subscription::new(self.store.clone(), query);
            self.delivered.lock().await.clear();
            loop {
                match subscription.next().await.expect("it ends only when told to") {
                    Ok(event) => self.delivered.lock().await.push(event),
                    Err(StoreError::LogWentBack { .. }) => break say("subscription ended"),
                    Err(error) => return say(&format!("BAD a subscription ended in {error:?}")),
                }
            }
        }
    }

    /// While nobody commands: followers have caught up, and the subscription has delivered what the log says.
    async fn check(&self) {
        let settled = tokio::time::timeout(PATIENCE / 2, self.bank.settled()).await;
        if !matches!(settled, Ok(Ok(()))) {
            let health = self.bank.health().await;
            say(&format!("BAD the followers do not settle: {settled:?} {health:?}"));
        }
        let log = accounts_of(&self.store).await;
        for _ in 0..1_000 {
            if *self.delivered.lock().await == log {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let delivered = self.delivered.lock().await;
        let same = delivered.iter().zip(&log).take_while(|(one, other)| one == other).count();
        say(&format!(
            "BAD the subscription has delivered {} events, the log has {}, the first {same} agree",
            delivered.len(),
            log.len()
        ));
    }
}

/// The events of all accounts.
async fn accounts_of(store: &PostgresStore) -> Vec<StoredEvent> {
    let mut query = LogQuery::after(Position::ZERO).limit(1_000).categories(["Account"]);
    let mut log = Vec::new();
    loop {
        let page = store.read_log(query.clone()).await.expect("the log is read");
        if page.events.is_empty() && page.ceiling == query.after {
            return log;
        }
        query.after = page.ceiling;
        log.extend(page.events);
    }
}

/// The events of all accounts, as the bank reads them.
async fn history_of(bank: &Running<EventSourcedBank>) -> Vec<Recorded<Account>> {
    let mut query = LogQuery::after(Position::ZERO).limit(1_000).categories(["Account"]);
    let mut history = Vec::new();
    loop {
        let page = bank.accounts.log(query.clone()).await.expect("the log is read");
        if page.events.is_empty() && page.ceiling == query.after {
            return history;
        }
        query.after = page.ceiling;
        history.extend(page.decode::<Account>().expect("events of accounts"));
    }
}

// In the parent.

/// A child process and what it says.
struct Process {
    child: Child,
    orders: ChildStdin,
    lines: Receiver<(Instant, String)>,
    told: Told,
}

/// What the children have said so far.
#[derive(Debug, Default)]
struct Told {
    /// Since the last accident.
    acknowledged: Vec<(CommandId, Position)>,
    acknowledged_before: u64,
    last_acknowledged: Option<Instant>,
    waited: u64,
    waits_ended: u64,
    subscriptions_ended: u64,
    done: u64,
}

impl Process {
    fn start(url: &str, durability: &str, accounts: &[Id<Account>]) -> Self {
        let ids: Vec<_> = accounts.iter().map(ToString::to_string).collect();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child_commands_follows_waits_and_subscribes", "--nocapture"])
            .env(CHILD, format!("{url} {durability} {}", ids.join(" ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let orders = child.stdin.take().expect("a pipe");
        let (heard, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            for line in lines.filter_map(|line| line.strip_prefix("teller ").map(str::to_owned)) {
                let _ = heard.send((Instant::now(), line));
            }
        });
        Self { child, orders, lines, told: Told::default() }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the child listens");
    }

    /// Listens until `enough` has been said.
    fn listen(&mut self, enough: impl Fn(&Told) -> bool) {
        let begun = Instant::now();
        while !enough(&self.told) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let (at, line) = self.lines.recv_timeout(left).unwrap_or_else(|error| {
                panic!(
                    "a process says nothing ({error}); it has ended: {:?}; {:?}",
                    self.child.try_wait(),
                    self.told.done
                )
            });
            self.told.take_in(at, &line);
        }
        while let Ok((at, line)) = self.lines.try_recv() {
            self.told.take_in(at, &line);
        }
    }
}

impl Told {
    fn take_in(&mut self, at: Instant, line: &str) {
        match &*line.split(' ').collect::<Vec<_>>() {
            ["acknowledged", command, position] => {
                let command = CommandId::from_uuid(Uuid::parse_str(command).expect("an id"));
                self.acknowledged.push((command, Position::new(position.parse().expect("a position"))));
                self.last_acknowledged = Some(at);
            }
            ["waited"] => self.waited += 1,
            ["wait", ..] => self.waits_ended += 1,
            ["subscription", "ended"] => self.subscriptions_ended += 1,
            ["done", ..] => self.done += 1,
            _ => panic!("{line}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// How a server comes to forget commits, or not to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Accident {
    /// The standby was away when the primary died.
    AsynchronousStandby,
    /// Each commit waited for the standby.
    SynchronousStandby,
    /// The server crashes, and commits do not wait for the disk.
    CrashUnflushed,
    /// The server is stopped and goes on from an earlier backup.
    Restore,
}

/// The server, and a standby where there is one.
struct Servers {
    primary: Server,
    standby: Option<Server>,
}

impl Accident {
    fn settings(self) -> Vec<&'static str> {
        let unflushed = ["wal_writer_delay = 10s", "wal_writer_flush_after = 1GB"];
        let more = if self == Self::CrashUnflushed { &unflushed[..] } else { &[] };
        [DURABLE, more].concat()
    }

    fn has_standby(self) -> bool {
        matches!(self, Self::AsynchronousStandby | Self::SynchronousStandby)
    }

    fn rounds() -> u64 {
        std::env::var(ACCIDENTS).map_or(2, |rounds| rounds.parse().expect("a number"))
    }
}

impl Servers {
    fn start(accident: Accident) -> Self {
        let primary = Server::start(&accident.settings());
        server::execute(&primary.url("postgres"), "CREATE DATABASE bank");
        let standby = accident.has_standby().then(|| primary.standby(None));
        Self { primary, standby }
    }

    /// Names both servers; which one takes writes is found out by whoever connects.
    fn url(&self) -> String {
        match &self.standby {
            None => self.primary.url("bank"),
            Some(standby) => format!(
                "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/bank?target_session_attrs=read-write",
                self.primary.port(),
                standby.port()
            ),
        }
    }

    /// Before the accident, while commands are given.
    fn prepare(&self, accident: Accident) {
        match accident {
            Accident::SynchronousStandby => self.wait_for_each_commit("*"),
            Accident::Restore => self.primary.back_up(),
            Accident::AsynchronousStandby | Accident::CrashUnflushed => {}
        }
    }

    fn wait_for_each_commit(&self, standbys: &str) {
        let primary = self.primary.url("postgres");
        server::execute(&primary, &format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"));
        server::execute(&primary, "SELECT pg_reload_conf()");
    }

    /// The accident itself. Returns when the server takes writes again.
    async fn suffer(&mut self, accident: Accident, random: &mut fastrand::Rng) {
        let a_while = Duration::from_millis(random.u64(50..400));
        match accident {
            Accident::AsynchronousStandby => {
                let standby = self.standby.take().expect("a standby");
                standby.stop();
                tokio::time::sleep(a_while).await;
                self.primary.crash();
                standby.start_again();
                self.fail_over_to(standby);
            }
            Accident::SynchronousStandby => {
                tokio::time::sleep(a_while).await;
                self.primary.crash();
                let standby = self.standby.take().expect("a standby");
                self.fail_over_to(standby);
            }
            Accident::CrashUnflushed => {
                tokio::time::sleep(a_while).await;
                self.primary.crash();
                self.primary.start_again();
            }
            Accident::Restore => {
                tokio::time::sleep(a_while).await;
                self.primary.restore();
            }
        }
    }

    fn fail_over_to(&mut self, standby: Server) {
        standby.promote();
        self.primary = standby;
    }

    /// A new standby takes the place of the primary that is gone.
    fn replace_standby(&mut self, port: Option<u16>) {
        self.standby = port.map(|port| self.primary.standby(Some(port)));
    }
}

async fn accounts_opened(url: &str) -> Vec<Id<Account>> {
    let (bank, store) = open(url, Durability::Full).await;
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let id = bank.accounts.open(&format!("Owner {number}")).await.expect("an account");
        bank.accounts.credit(id, money("100.00")).await.expect("a credit");
        accounts.push(id);
    }
    bank.settled().await.expect("the followers settle");
    bank.stop().await.expect("a graceful end");
    store.close().await;
    accounts
}

/// No account was ever below zero: each debit was decided on what the log says.
fn assert_never_below_zero(log: &[Recorded<Account>]) {
    let mut balances: BTreeMap<Uuid, Money> = BTreeMap::new();
    for event in log {
        let balance = balances.entry(event.aggregate_id.as_uuid()).or_insert(ZERO);
        match event.payload {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Credited { amount } => *balance += amount,
            AccountEvent::Debited { amount } => *balance -= amount,
        }
        assert!(*balance >= ZERO, "{} is below zero at position {}", event.aggregate_id, event.position);
    }
}

/// Two storms at once would measure how busy the machine is.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn storm(accident: Accident) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut random = Seed::from_env().rng(accident as u64);
    let mut servers = Servers::start(accident);
    let (url, durability) = (servers.url(), if accident == Accident::CrashUnflushed { "normal" } else { "full" });
    let accounts = accounts_opened(&url).await;
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::start(&url, durability, &accounts)).collect();
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    for round in 0..Accident::rounds() {
        processes.iter_mut().for_each(|process| process.listen(|told| told.last_acknowledged.is_some()));
        servers.prepare(accident);
        let port = servers.standby.as_ref().map(|_| servers.primary.port());
        servers.suffer(accident, &mut random).await;
        let there = Instant::now();
        for process in &mut processes {
            process.listen(|told| told.last_acknowledged.is_some_and(|at| at > there));
            slowest = slowest.max(there.elapsed());
        }
        servers.replace_standby(port);
        lost += check(&url, &mut processes, accident, round).await;
    }
    let told = |count: fn(&Told) -> u64| processes.iter().map(|process| count(&process.told)).sum::<u64>();
    eprintln!(
        "{accident:?}: {} accidents, {} acknowledged, {lost} forgotten, {} waits true, {} ended, {} subscriptions ended, served again after {slowest:?} at most",
        Accident::rounds(),
        told(|told| told.acknowledged_before),
        told(|told| told.waited),
        told(|told| told.waits_ended),
        told(|told| told.subscriptions_ended),
    );
    assert!(slowest <= RECOVERY_MAX, "served again after {slowest:?}");
    match accident {
        Accident::SynchronousStandby => assert_eq!(lost, 0, "acknowledged commits are lost"),
        _ => assert!(lost > 0, "the server forgot nothing, so the storm has shown nothing"),
    }
}

/// Looks at everything in silence, and returns how many acknowledged commands the server has forgotten in this round.
async fn check(url: &str, processes: &mut [Process], accident: Accident, round: u64) -> u64 {
    for process in &mut *processes {
        process.order("silence");
    }
    let orders = round * 3;
    processes.iter_mut().for_each(|process| process.listen(|told| told.done > orders));
    processes.iter_mut().for_each(|process| process.order("check"));
    processes.iter_mut().for_each(|process| process.listen(|told| told.done > orders + 1));

    let (bank, store) = open(url, Durability::Full).await;
    assert_consistent(&bank).await;
    let verification = bank.verify().await.expect("the store answers");
    assert!(verification.agrees(), "{accident:?} {round}: {verification}");
    assert_never_below_zero(&history_of(&bank).await);
    let mut lost = 0;
    for process in &mut *processes {
        for (command, position) in &process.told.acknowledged {
            let known = store.receipt(*command).await.expect("the store answers");
            lost += u64::from(known.is_none_or(|known| known.position != *position));
        }
        process.told.acknowledged_before += process.told.acknowledged.drain(..).count() as u64;
        process.told.last_acknowledged = None;
    }
    bank.stop().await.expect("a graceful end");
    store.close().await;
    processes.iter_mut().for_each(|process| process.order("go on"));
    processes.iter_mut().for_each(|process| process.listen(|told| told.done > orders + 2));
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_that_lags_behind_takes_over() {
    storm(Accident::AsynchronousStandby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronous_standby_takes_over_and_nothing_is_lost() {
    storm(Accident::SynchronousStandby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_crashes_and_forgets_what_was_not_flushed() {
    storm(Accident::CrashUnflushed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_backup_is_restored() {
    storm(Accident::Restore).await;
}
