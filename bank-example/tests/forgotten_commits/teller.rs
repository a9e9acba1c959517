//! A child process that sends commands, follows, waits and subscribes, and reports what it sees.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bank_example::domain::BankError;
use bank_example::domain::account::Account;
use bank_example::system::EventSourcedBank;
use eventsourcing::postgres::Durability;
use eventsourcing::store::{
    CommandId, EventStore, FollowerStore, LogQuery, Position, StoreError, StoredEvent,
};
use eventsourcing::{
    ApplicationError, CommandError, Id, Receipt, RunningSystem, Subscription, SystemError,
};
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinSet;

use crate::checks::accounts_of;
use crate::support::money;
use crate::{CHILD, HANDS, TIMEOUT, connect, now, start};

/// The state of a child, and its knowledge of the log.
struct Teller {
    bank: RunningSystem<EventSourcedBank>,
    store: Arc<dyn FollowerStore>,
    accounts: Vec<Id<Account>>,
    /// Held for reading during each command, and for writing while no command may run.
    silence: RwLock<()>,
    /// The events of accounts that the subscription has delivered since it began.
    delivered: Mutex<Vec<StoredEvent>>,
    /// The loss of the store was reported.
    is_lost: AtomicBool,
}

/// The end of a command.
enum Answer {
    Recorded {
        receipt: Receipt,
        /// The time at which the attempt began that was answered.
        began: u128,
    },
    Rejected,
    /// The store can never be used again, for this reason.
    Lost(String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_commands_follows_waits_and_subscribes() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let [url, durability, accounts @ ..] = &*told.split(' ').collect::<Vec<_>>() else {
        panic!("told {told:?}")
    };
    let durability = if *durability == "normal" {
        Durability::Normal
    } else {
        Durability::Full
    };
    let accounts = accounts
        .iter()
        .map(|id| id.parse().expect("an id"))
        .collect();
    let (bank, store) = match open(url, durability).await {
        Ok(opened) => opened,
        Err(error) => return say(&format!("refused {}", one_line(&error))),
    };
    say("opened");
    let teller = Arc::new(Teller {
        bank,
        store,
        accounts,
        silence: RwLock::default(),
        delivered: Mutex::default(),
        is_lost: AtomicBool::default(),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..HANDS {
        tasks.spawn(Arc::clone(&teller).command_without_end());
    }
    tasks.spawn(Arc::clone(&teller).subscribe_without_end());
    let obeying = Arc::clone(&teller);
    tokio::task::spawn_blocking(move || obey(&obeying))
        .await
        .expect("it ends with its standard input");
    tasks.shutdown().await;
    let Teller { bank, store, .. } = Arc::into_inner(teller).expect("all tasks have ended");
    let stopped = tokio::time::timeout(TIMEOUT / 2, bank.stop()).await;
    drop(store);
    say(&format!("ended {stopped:?}"));
}

/// Opens the bank.
async fn open(
    url: &str,
    durability: Durability,
) -> Result<(RunningSystem<EventSourcedBank>, Arc<dyn FollowerStore>), SystemError> {
    let store = connect(url, durability).await?;
    let bank = start(Arc::clone(&store)).await?;
    Ok((bank, store))
}

/// Carries out the parent's orders. `silence` stops the commands until `go on`; `check` compares the child's knowledge
/// with the log.
fn obey(teller: &Teller) {
    let runtime = tokio::runtime::Handle::current();
    let mut _silence = None;
    for order in std::io::stdin().lines().map_while(Result::ok) {
        match &*order {
            "silence" => _silence = Some(runtime.block_on(teller.silence.write())),
            "check" => runtime.block_on(teller.check()),
            "go on" => _silence = None,
            _ => panic!("unexpected order {order:?}"),
        }
        say(&format!("done {order}"));
    }
}

/// Prints a line of its own, also beside the output of the test harness.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nteller {line}")
        .and_then(|()| stdout.flush())
        .expect("the parent listens");
}

fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text.replace('\n', " ")
}

impl Teller {
    async fn command_without_end(self: Arc<Self>) {
        loop {
            let quiet = self.silence.read().await;
            let command = CommandId::new();
            let account = self.accounts[fastrand::usize(..self.accounts.len())];
            match self.carry_out(command, account).await {
                Answer::Recorded { receipt, began } => {
                    say(&format!(
                        "acknowledged {} {} {began}",
                        command.as_uuid(),
                        receipt.position
                    ));
                    if fastrand::u8(..4) == 0 {
                        self.wait_for(command, &receipt).await;
                    }
                }
                Answer::Rejected => {}
                Answer::Lost(why) => return self.report_loss(&why).await,
            }
            drop(quiet);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A credit, or a debit of most of what the account has. The same command is repeated until it is answered.
    async fn carry_out(&self, command: CommandId, account: Id<Account>) -> Answer {
        let accounts = self.bank.accounts.command(command);
        let is_credit = fastrand::bool();
        loop {
            let decide = |account: &Account| match is_credit {
                true => account.credit(money("1.00")),
                false => account.debit((account.balance * money("0.75")).trunc_with_scale(2)),
            };
            let began = now();
            match accounts.update(account, decide).await {
                Ok(receipt) => return Answer::Recorded { receipt, began },
                Err(CommandError::Rejected(
                    BankError::InsufficientFunds { .. } | BankError::InvalidAmount { .. },
                )) => {
                    return Answer::Rejected;
                }
                Err(CommandError::Application(ApplicationError::Store(
                    StoreError::Unavailable { .. },
                ))) => {}
                Err(CommandError::Application(error)) if error.is_conflict() => {}
                // The account was opened before the first accident.
                Err(error) => match self.fault().await {
                    Some(why) => return Answer::Lost(why),
                    None => panic!("{account}: {error:?}"),
                },
            }
            if let Some(why) = self.store.fault() {
                return Answer::Lost(why);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the fault of the store, after a read has noticed it: a moment after an accident.
    async fn fault(&self) -> Option<String> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _refused = self.store.head().await;
        self.store.fault()
    }

    /// Requires that a lost store refuses everything, and reports the loss.
    async fn report_loss(&self, why: &str) {
        if self.is_lost.swap(true, Ordering::Relaxed) {
            return;
        }
        for account in &self.accounts {
            if let Ok(receipt) = self.bank.accounts.credit(*account, money("1.00")).await {
                say(&format!(
                    "BAD a lost store has acknowledged position {}",
                    receipt.position
                ));
            }
        }
        let reads = [
            self.store.head().await.is_ok(),
            self.bank.activity.newest(1).await.is_ok(),
        ];
        if reads.contains(&true) || self.bank.fault().is_none() {
            say(&format!("BAD a lost store is read: {reads:?}"));
        }
        say(&format!("lost {}", why.replace('\n', " ")));
    }

    /// Waits for the activity feed, and checks that it has the event.
    async fn wait_for(&self, command: CommandId, receipt: &Receipt) {
        match self
            .bank
            .wait_for(receipt, EventSourcedBank::ACTIVITY, TIMEOUT)
            .await
        {
            Ok(()) => {}
            // A wait can also end because the server is away; the caller may wait again.
            Err(SystemError::Store(
                StoreError::LogWentBack { .. } | StoreError::Unavailable { .. },
            )) => {
                return say("wait ended");
            }
            Err(_) if self.fault().await.is_some() => return say("wait ended"),
            Err(error) => {
                return say(&format!(
                    "BAD a wait for {} ended in {error:?}",
                    receipt.position
                ));
            }
        }
        let Ok(lines) = self
            .bank
            .activity
            .before(Position::new(receipt.position.as_u64() + 1), 1)
            .await
        else {
            return;
        };
        let is_there = lines
            .first()
            .is_some_and(|line| line.position == receipt.position);
        // The log may have lost events between the two reads.
        let still_known = self
            .store
            .receipt(command)
            .await
            .is_ok_and(|known| known.is_some_and(|known| known.position == receipt.position));
        match (is_there, still_known) {
            (true, _) => say("waited"),
            (false, false) => say("wait overtaken"),
            (false, true) if self.fault().await.is_some() => say("wait overtaken"),
            (false, true) => say(&format!(
                "BAD a wait for {} returned early",
                receipt.position
            )),
        }
    }

    async fn subscribe_without_end(self: Arc<Self>) {
        loop {
            let query = LogQuery::after(Position::ZERO).categories(["Account"]);
            let mut subscription = Subscription::new(Arc::clone(&self.store), query);
            self.delivered.lock().await.clear();
            loop {
                match subscription
                    .next()
                    .await
                    .expect("it ends only when told to")
                {
                    Ok(event) => self.delivered.lock().await.push(event),
                    Err(StoreError::LogWentBack { .. }) => break say("subscription ended"),
                    Err(_) if self.fault().await.is_some() => return say("subscription ended"),
                    Err(error) => return say(&format!("BAD a subscription ended in {error:?}")),
                }
            }
        }
    }

    /// Checks, while no command is sent, that the followers have caught up and that the subscription has delivered the
    /// events of the log.
    async fn check(&self) {
        let settled = tokio::time::timeout(TIMEOUT / 2, self.bank.wait_until_caught_up()).await;
        if !matches!(settled, Ok(Ok(()))) {
            let health = self.bank.health().await;
            say(&format!(
                "BAD the followers do not settle: {settled:?} {health:?}"
            ));
        }
        let log = accounts_of(&*self.store).await;
        for _ in 0..1_000 {
            if *self.delivered.lock().await == log {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let delivered = self.delivered.lock().await;
        let same = delivered
            .iter()
            .zip(&log)
            .take_while(|(one, other)| one == other)
            .count();
        say(&format!(
            "BAD the subscription has delivered {} events, the log has {}, the first {same} agree",
            delivered.len(),
            log.len()
        ));
    }
}
