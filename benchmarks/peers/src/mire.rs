//! [mire](https://docs.rs/mire) on PostgreSQL: `mire` 0.4.
//!
//! No snapshots. A command is `DomainRepository::send`: a `SELECT` of the stream's version, a `SELECT` of its events,
//! and one statement, which is its own transaction, that updates the stream's row and inserts all events. A new account
//! is such a statement too. What it reads, it reads in pages whose size it computes in the database, row by row, which
//! is most of what a rebuild costs.
//!
//! The log is read as its projections do, page by page, in the order of transactions:
//! `EventStore::read_category_after_bounded`. The same without bounds in bytes looks simpler, but each of its pages
//! walks from the start of the log.

use std::convert::Infallible;
use std::str::FromStr;

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use mire::{
    Aggregate, AggregateRoot, Command, CommandError, DomainRepository, EventData, EventStore,
    EventStoreError,
};
use serde::{Deserialize, Serialize};
use sqlx_09::ConnectOptions;
use sqlx_09::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::pool::CONNECTIONS;

/// The most events of a page of an aggregate or of the log, and the most bytes. Larger pages were no faster.
const PAGE_EVENTS: i64 = 2_000;
const PAGE_BYTES: i64 = 4 << 20;

#[derive(Clone, Debug, Serialize, Deserialize, EventData)]
#[serde(tag = "type")]
#[mire(entity = "account")]
enum AccountEvent {
    Opened { amount: u64, reference: String },
    Credited { amount: u64, reference: String },
}

#[derive(Default)]
struct Account {
    open: bool,
    balance: u64,
}

impl Aggregate for Account {
    type Event = AccountEvent;

    fn stream_category() -> &'static str {
        "account"
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { amount, .. } => {
                self.open = true;
                self.balance = *amount;
            }
            AccountEvent::Credited { amount, .. } => self.balance += amount,
        }
    }
}

struct Credit {
    amount: u64,
}

impl Command for Credit {
    type Aggregate = Account;
    type Error = Infallible;
    type Events = [AccountEvent; 1];

    fn handle(self, account: &Account) -> Result<[AccountEvent; 1], Infallible> {
        let amount = self.amount;
        let reference = REFERENCE.into();

        Ok([if account.open {
            AccountEvent::Credited { amount, reference }
        } else {
            AccountEvent::Opened { amount, reference }
        }])
    }
}

pub(crate) struct Bank {
    store: EventStore,
    accounts: DomainRepository<Account>,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        let connection = PgConnectOptions::from_str(place)?.disable_statement_logging();
        // The settings of the peers on the older sqlx.
        let settings = PgPoolOptions::new()
            .min_connections(CONNECTIONS)
            .max_connections(CONNECTIONS);
        let settings = settings
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None);
        let store = EventStore::new(settings.connect_with(connection).await?)
            .with_hydration_limits(PAGE_EVENTS, PAGE_BYTES);
        store.migrate().await?;
        Ok(Self {
            accounts: store.repository(),
            store,
        })
    }
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        let account = account.to_string();
        loop {
            match self.accounts.send(&account, Credit { amount }).await {
                Err(CommandError::Store(EventStoreError::ConcurrencyConflict { .. })) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        let mut account = AggregateRoot::<Account>::new(&account.to_string());
        account.record(AccountEvent::Opened {
            amount: 0,
            reference: REFERENCE.into(),
        });
        let credits = (1..events).map(amount);
        account.record_many(credits.map(|amount| AccountEvent::Credited {
            amount,
            reference: REFERENCE.into(),
        }));
        Ok(self.store.save(&mut account).await?)
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        let account = self
            .store
            .load::<Account>(&account.to_string())
            .await?
            .ok_or("there is no such account")?;
        Ok(account.state.balance)
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let mut read = 0;
        let mut after = (0, 0);

        loop {
            let account = Account::stream_category();
            let page = self.store.read_category_after_bounded(
                account,
                after.0,
                after.1,
                PAGE_EVENTS,
                PAGE_BYTES,
            );
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(Some(read));
            };
            after = (last.transaction_id, last.global_position);
            for recorded in page {
                let _event: AccountEvent = serde_json::from_value(recorded.data)?;
                read += 1;
            }
        }
    }
}
