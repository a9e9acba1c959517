//! The framework on its three stores.

pub mod busy;
mod domain;
mod system;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contest::{Contestant, Measured, Outcome, account, amount};
use eventsourcing_core::store::{FollowerStore, LogQuery, MemoryStore, Position};
use eventsourcing_core::{Application, ApplicationError, CommandError, Id, RecordedEvent, Root};
use eventsourcing_postgres::PostgresStore;
use eventsourcing_sqlite::SqliteStore;
use tokio::sync::mpsc;
use uuid::Uuid;

use domain::{Account, Ledger};
use system::{Arrivals, Bookkeeping, Watched};

/// The number of accounts of workload c.
const CACHED_AGGREGATES: usize = 100_000;
/// The number of events in one append while a store is filled.
const EVENTS_PER_FILLING: u64 = 5_000;
const EVENTS_PER_PAGE: usize = 4_000;

pub struct Ours {
    store: Arc<dyn FollowerStore>,
    app: Application,
}

impl Ours {
    pub fn in_memory() -> Self {
        Self::new(MemoryStore::new())
    }

    pub async fn on_sqlite(path: &str) -> Outcome<Self> {
        Ok(Self::new(SqliteStore::open(path).await?))
    }

    pub async fn on_postgres(url: &str) -> Outcome<Self> {
        Ok(Self::new(PostgresStore::connect(url).await?))
    }

    fn new(store: impl FollowerStore) -> Self {
        let store: Arc<dyn FollowerStore> = Arc::new(store);
        let app = Application::new("accounts", Arc::clone(&store)).with_cache(CACHED_AGGREGATES);
        Self { store, app }
    }
}

#[async_trait]
impl Contestant for Ours {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        let id = Id::<Account>::from_uuid(account);
        loop {
            match self.app.update(id, |account| account.credit(amount)).await {
                Ok(_) => return Ok(()),
                Err(CommandError::Application(ApplicationError::NotFound { .. })) => {}
                Err(error) => return Err(error.into()),
            }
            match self.app.save(&mut Root::with_id(id, Account::open())).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        self.app.save(&mut written(account, events)).await?;
        Ok(())
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        Ok(self
            .app
            .load(Id::<Account>::from_uuid(account))
            .await?
            .balance)
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let mut pages = self
            .app
            .log_pages(LogQuery::after(Position::ZERO).limit(EVENTS_PER_PAGE));
        let mut events = 0;
        loop {
            let page = pages.next().await?;
            if page.events.is_empty() {
                return Ok(Some(events));
            }
            let decoded: Vec<RecordedEvent<Account>> = page.decode()?;
            events += decoded.len() as u64;
        }
    }

    async fn fill(&self, accounts: u64, events: u64) -> Outcome<bool> {
        let per_account = events / accounts;
        let accounts_per_filling = (EVENTS_PER_FILLING / per_account).max(1);
        let app = self.app.clone().with_cache(0);
        for first in (0..accounts).step_by(accounts_per_filling as usize) {
            let filled = first..accounts.min(first + accounts_per_filling);
            let mut roots: Vec<_> = filled
                .map(|number| written(account("filling", number), per_account))
                .collect();
            app.save(roots.as_mut_slice()).await?;
        }
        Ok(true)
    }

    async fn pipeline(&self, events: u64) -> Outcome<Option<Measured>> {
        self.fill((events / 1_000).max(1), events).await?;
        let running = Bookkeeping::builder(Arc::clone(&self.store)).start();
        let start = Instant::now();
        let running = running.await?;
        running.wait_until_caught_up().await?;
        let within = start.elapsed();
        let ledger = running
            .ledger
            .app
            .load(Id::<Ledger>::named("General"))
            .await?;
        let expected = events - (events / 1_000).max(1);
        running.stop().await?;
        if ledger.transactions != expected {
            return Err(format!(
                "the ledger has {} transactions instead of {expected}",
                ledger.transactions
            )
            .into());
        }
        Ok(Some(Measured::new(events, within)))
    }

    async fn follow(&self, per_second: u32, time: Duration) -> Outcome<Option<Measured>> {
        let (seen, mut arrivals) = mpsc::unbounded_channel();
        let watched = Watched::builder(Arc::clone(&self.store));
        let running = watched
            .with_projection(Watched::ARRIVALS, Arrivals { seen })
            .start()
            .await?;
        let id = Id::<Account>::from_uuid(account("followed", 0));
        running
            .accounts
            .app
            .save(&mut Root::with_id(id, Account::open()))
            .await?;
        running.wait_until_caught_up().await?;

        let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
        let start = Instant::now();
        let mut returns = Vec::new();

        while start.elapsed() < time {
            ticks.tick().await;
            running
                .accounts
                .app
                .update(id, |account| account.credit(1))
                .await?;
            returns.push(Instant::now());
        }
        let mut latencies = Vec::with_capacity(returns.len());
        for returned in returns {
            let arrived = arrivals.recv().await.ok_or("the follower has stopped")?;
            latencies.push(arrived.saturating_duration_since(returned));
        }
        running.stop().await?;
        Ok(Some(
            Measured::new(latencies.len() as u64, start.elapsed()).with_latencies(latencies),
        ))
    }
}

/// Returns a new account with this number of events.
fn written(account: Uuid, events: u64) -> Root<Account> {
    let mut root: Root<Account> = Root::with_id(Id::from_uuid(account), Account::open());
    for number in 1..events {
        let Ok(()) = root.execute(|account: &Account| account.credit(amount(number)));
    }
    root
}
