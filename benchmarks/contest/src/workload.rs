//! [`Workload`]: what contestants are made to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{Contestant, Measured, Outcome, account, amount};

/// The work that a contestant does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Workload {
    /// Tasks give commands: load, decide, append one event.
    Commands {
        /// The number of tasks, each with one command at a time.
        tasks: u64,
        /// Over how many accounts.
        accounts: u64,
        /// Some accounts are asked for far more often than others, as in life; otherwise all equally.
        zipf: bool,
        /// Tells these accounts from those of other runs.
        group: String,
        /// For how long.
        seconds: f64,
    },
    /// One task appends new accounts with this many events each.
    Appends {
        /// Events in an append.
        events: u64,
        /// Tells these accounts from those of other runs.
        group: String,
        /// For how long.
        seconds: f64,
    },
    /// One task rebuilds an account of this many events again and again. It is written before, if it is not there.
    Rebuild {
        /// Events of the account.
        events: u64,
        /// For how long.
        seconds: f64,
    },
    /// Reads the log once.
    ReadLog,
    /// Fills an empty database; not measured.
    Fill {
        /// Accounts.
        accounts: u64,
        /// Events of all accounts.
        events: u64,
    },
    /// A ledger catches up with this many events.
    Pipeline {
        /// Events.
        events: u64,
    },
    /// The delay with which a follower sees events.
    Follow {
        /// Commands in a second.
        per_second: u32,
        /// For how long.
        seconds: f64,
    },
}

impl Workload {
    /// Makes `contestant` do it. `None`: the contestant has nothing for it.
    ///
    /// # Errors
    /// What the contestant fails with.
    pub async fn run(&self, contestant: Arc<dyn Contestant>) -> Outcome<Option<Measured>> {
        match *self {
            Self::Commands {
                tasks,
                accounts,
                zipf,
                ref group,
                seconds,
            } => {
                let choice = Choice {
                    accounts,
                    zipf,
                    group: group.as_str().into(),
                };
                commands(contestant, tasks, choice, seconds).await.map(Some)
            }
            Self::Appends {
                events,
                ref group,
                seconds,
            } => appends(&*contestant, events, group, seconds)
                .await
                .map(Some),
            Self::Rebuild { events, seconds } => {
                rebuild(&*contestant, events, seconds).await.map(Some)
            }
            Self::ReadLog => read_log(&*contestant).await,
            Self::Fill { accounts, events } => fill(&*contestant, accounts, events).await,
            Self::Pipeline { events } => contestant.pipeline(events).await,
            Self::Follow {
                per_second,
                seconds,
            } => {
                contestant
                    .follow(per_second, Duration::from_secs_f64(seconds))
                    .await
            }
        }
    }
}

/// The accounts that are loaded.
#[derive(Clone)]
struct Choice {
    accounts: u64,
    zipf: bool,
    group: Arc<str>,
}

async fn commands(
    contestant: Arc<dyn Contestant>,
    tasks: u64,
    choice: Choice,
    seconds: f64,
) -> Outcome<Measured> {
    let start = Instant::now();
    let done = Arc::new(AtomicU64::new(0));

    let end = start + Duration::from_secs_f64(seconds);
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let contestant = Arc::clone(&contestant);
        let choice = choice.clone();
        let done = Arc::clone(&done);

        running.spawn(async move {
            let mut numbers = choice.numbers(task, tasks);
            while Instant::now() < end {
                let number = numbers();
                contestant
                    .credit(account(&choice.group, number), amount(number))
                    .await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(Measured::new(done.load(Ordering::Relaxed), start.elapsed()))
}

impl Choice {
    /// The numbers of the accounts that `task` asks for, one after the other.
    fn numbers(&self, task: u64, tasks: u64) -> impl FnMut() -> u64 + Send + use<> {
        let accounts = self.accounts;
        let zipf = self.zipf;

        let skewed = Zipf::new(accounts as f64, 1.0).expect("there are accounts");
        let mut random = SmallRng::seed_from_u64(task);
        let mut next = task;
        move || {
            if zipf {
                return skewed.sample(&mut random) as u64 - 1;
            }
            let number = next % accounts;
            next += tasks;
            number
        }
    }
}

async fn appends(
    contestant: &dyn Contestant,
    events: u64,
    group: &str,
    seconds: f64,
) -> Outcome<Measured> {
    let start = Instant::now();
    let mut appended = 0;

    while start.elapsed().as_secs_f64() < seconds {
        contestant.append(account(group, appended), events).await?;
        appended += 1;
    }
    contestant.flush().await?;
    Ok(Measured::new(appended * events, start.elapsed()))
}

async fn rebuild(contestant: &dyn Contestant, events: u64, seconds: f64) -> Outcome<Measured> {
    let long = account("long", events);
    if contestant.rebuild(long).await.is_err() {
        contestant.append(long, events).await?;
        contestant.flush().await?;
    }
    let expected: u64 = (1..events).map(amount).sum();
    let start = Instant::now();
    let mut rebuilt = 0;

    while start.elapsed().as_secs_f64() < seconds {
        let balance = contestant.rebuild(long).await?;
        if balance != expected {
            return Err(
                format!("the account was rebuilt to {balance} instead of {expected}").into(),
            );
        }
        rebuilt += 1;
    }
    Ok(Measured::new(rebuilt * events, start.elapsed()))
}

async fn read_log(contestant: &dyn Contestant) -> Outcome<Option<Measured>> {
    let start = Instant::now();
    let events = contestant.read_log().await?;
    Ok(events.map(|events| Measured::new(events, start.elapsed())))
}

async fn fill(
    contestant: &dyn Contestant,
    accounts: u64,
    events: u64,
) -> Outcome<Option<Measured>> {
    let start = Instant::now();
    let can = contestant.fill(accounts, events).await?;
    Ok(can.then(|| Measured::new(events, start.elapsed())))
}
