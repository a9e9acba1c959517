//! [cqrs-es](https://docs.rs/cqrs-es) on PostgreSQL: `cqrs-es` 0.5 with `postgres-es` 0.5.
//!
//! Events are the source of truth: no snapshots, no queries. A command is `SELECT`, `BEGIN`, one `INSERT` an event,
//! `COMMIT`; the primary key tells conflicts. So an append of 100 events is 102 round trips, and there is no way to
//! make it fewer. Payloads pass through `serde_json::Value` in both directions.
//!
//! The log is what its `QueryReplay` reads: all events of the type of aggregate, ordered by their number *within* the
//! aggregate. There is no order over aggregates.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventStore, QueryReplay};
use cqrs_es::{
    Aggregate, AggregateContext, AggregateError, DomainEvent, EventEnvelope, EventStore, Query,
};
use postgres_es::{PostgresCqrs, PostgresEventRepository, postgres_cqrs};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pool;

/// From the crate's `db/init.sql`.
const TABLES: &str = "
CREATE TABLE events (
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
)";

/// The number of events that the replay reads ahead of the decoder.
const EVENTS_AHEAD: usize = 2_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Opened { amount: u64, reference: String },
    Credited { amount: u64, reference: String },
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Opened { .. } => "Opened".into(),
            Self::Credited { .. } => "Credited".into(),
        }
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

enum AccountCommand {
    Credit {
        amount: u64,
    },
    /// Opens the account, and credits it for the rest.
    Write {
        events: u64,
    },
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    open: bool,
    balance: u64,
}

impl Account {
    fn next(&self, amount: u64) -> AccountEvent {
        let reference = REFERENCE.to_owned();
        if self.open {
            AccountEvent::Credited { amount, reference }
        } else {
            AccountEvent::Opened { amount, reference }
        }
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: AccountCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Infallible> {
        match command {
            AccountCommand::Credit { amount } => sink.write(self.next(amount), self).await,
            AccountCommand::Write { events } => {
                for number in 0..events {
                    let amount = if number == 0 { 0 } else { amount(number) };
                    sink.write(self.next(amount), self).await;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { amount, .. } => {
                self.open = true;
                self.balance = amount;
            }
            AccountEvent::Credited { amount, .. } => self.balance += amount,
        }
    }
}

/// A query that counts the events it is given.
struct Count(Arc<AtomicU64>);

#[async_trait]
impl Query<Account> for Count {
    async fn dispatch(&self, _account: &str, events: &[EventEnvelope<Account>]) {
        self.0.fetch_add(events.len() as u64, Ordering::Relaxed);
    }
}

pub(crate) struct Bank {
    pool: sqlx::PgPool,
    cqrs: PostgresCqrs<Account>,
    store: PersistedEventStore<PostgresEventRepository, Account>,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        let pool = pool::open_with_tables(place, "events", TABLES).await?;
        Ok(Self {
            cqrs: postgres_cqrs(pool.clone(), Vec::new(), ()),
            store: PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone())),
            pool,
        })
    }
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        let account = account.to_string();
        loop {
            match self
                .cqrs
                .execute(&account, AccountCommand::Credit { amount })
                .await
            {
                Err(AggregateError::AggregateConflict) => {}
                done => return Ok(done?),
            }
        }
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        Ok(self
            .cqrs
            .execute(&account.to_string(), AccountCommand::Write { events })
            .await?)
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        let mut loaded = self.store.load_aggregate(&account.to_string()).await?;
        let account = loaded.aggregate();
        if account.open {
            Ok(account.balance)
        } else {
            Err("there is no such account".into())
        }
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let repository = PostgresEventRepository::new(self.pool.clone())
            .with_streaming_channel_size(EVENTS_AHEAD);
        let read = Arc::new(AtomicU64::new(0));
        QueryReplay::new(repository, Count(Arc::clone(&read)))
            .replay_all()
            .await?;
        Ok(Some(read.load(Ordering::Relaxed)))
    }
}
