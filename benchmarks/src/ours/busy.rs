//! Many commands at once on one busy account: alone, and each together with an account of its own.

use std::fmt;
use std::time::{Duration, Instant};

use contest::{Outcome, account};
use eventsourcing_core::store::CommandId;
use eventsourcing_core::{Application, Id, Root};
use tokio::task::JoinSet;

use super::Ours;
use super::domain::Account;

/// The number of commands that are given at once.
pub const TASKS: u64 = 512;
/// The number of turns of each kind, after one to warm up.
const ROUNDS: u32 = 7;

/// The quickest turn of each kind, and how many commands were given up in all.
pub struct Busy {
    pub with_ids: bool,
    pub update: Duration,
    pub update_all: Duration,
    pub given_up: u64,
}

impl Busy {
    /// Returns the time of `update_all` on pairs as a multiple of that of `update`.
    pub fn times(&self) -> f64 {
        self.update_all.as_secs_f64() / self.update.as_secs_f64()
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:11} update {:>8.1?}  update_all {:>8.1?}  {:.2} ×  {} given up",
            if self.with_ids {
                "with ids"
            } else {
                "without ids"
            },
            self.update,
            self.update_all,
            self.times(),
            self.given_up
        )
    }
}

/// Gives the commands in turns, all accounts in the cache.
///
/// # Errors
/// The accounts cannot be opened.
pub async fn measure(ours: &Ours, with_ids: bool) -> Outcome<Busy> {
    let name = if with_ids { "busy with ids" } else { "busy" };
    let ids: Vec<Id<Account>> = (0..=TASKS)
        .map(|number| Id::from_uuid(account(name, number)))
        .collect();
    let mut roots: Vec<_> = ids
        .iter()
        .map(|id| Root::with_id(*id, Account::open()))
        .collect();
    ours.app.save(roots.as_mut_slice()).await?;
    let mut busy = Busy {
        with_ids,
        update: Duration::MAX,
        update_all: Duration::MAX,
        given_up: 0,
    };
    for round in 0..=ROUNDS {
        for in_pairs in [false, true] {
            let (within, given_up) = turn(&ours.app, &ids, with_ids, in_pairs).await?;
            busy.given_up += given_up;
            let quickest = if in_pairs {
                &mut busy.update_all
            } else {
                &mut busy.update
            };
            if round > 0 {
                *quickest = within.min(*quickest);
            }
        }
    }
    Ok(busy)
}

async fn turn(
    app: &Application,
    ids: &[Id<Account>],
    with_ids: bool,
    in_pairs: bool,
) -> Outcome<(Duration, u64)> {
    let hot = ids[0];
    let mut commands = JoinSet::new();
    let start = Instant::now();
    for other in &ids[1..] {
        let other = *other;
        let app = match with_ids {
            true => app.command(CommandId::new()),
            false => app.clone(),
        };
        commands.spawn(async move {
            match in_pairs {
                false => app.update(hot, |account| account.credit(1)).await,
                true => {
                    app.update_all((hot, other), |(hot, other)| {
                        hot.execute(|account| account.credit(1))?;
                        other.execute(|account| account.credit(1))
                    })
                    .await
                }
            }
            .is_err()
        });
    }
    let mut given_up = 0;
    while let Some(is_given_up) = commands.join_next().await {
        given_up += u64::from(is_given_up?);
    }
    Ok((start.elapsed(), given_up))
}
