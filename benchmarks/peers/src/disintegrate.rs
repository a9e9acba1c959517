//! [disintegrate](https://docs.rs/disintegrate) on PostgreSQL: `disintegrate` 4 with `disintegrate-postgres` 4.
//!
//! There are no aggregates: a decision names the events it rests on, here those of one account, and the append is
//! refused if there are new ones. No snapshots. A command is a `SELECT` of the events, below a horizon that a look at
//! the locks gives, then `BEGIN`, `SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`, an advisory lock, a `SELECT` of
//! whether there are new events, one `INSERT` of all events, `COMMIT`. Queries carry the account and the position in
//! their text, so that each is a new statement to be prepared, and soon closed. PostgreSQL refuses serializable
//! transactions also when they only might conflict; with many tasks most work is done again.
//!
//! The log is what its listeners follow: `EventStore::stream` of a query for all events.

use std::convert::Infallible;

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use disintegrate::serde::json::Json;
use disintegrate::{
    Decision, DecisionError, Event, EventSourcedStateStore, EventStore, LoadState, NoSnapshot,
    StateMutate, StateQuery, StreamItem, StreamQuery, query,
};
use disintegrate_postgres::{
    Error, Migrator, PgDecisionMaker, PgEventId, PgEventStore, decision_maker,
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::Executor;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::pool;

#[derive(Clone, Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
enum AccountEvent {
    AccountOpened {
        #[id]
        account_id: Uuid,
        amount: u64,
        reference: String,
    },
    AccountCredited {
        #[id]
        account_id: Uuid,
        amount: u64,
        reference: String,
    },
}

#[derive(Clone, Default, StateQuery, Serialize, Deserialize)]
#[state_query(AccountEvent)]
struct Account {
    #[id]
    account_id: Uuid,
    open: bool,
    balance: u64,
}

impl Account {
    fn new(account_id: Uuid) -> Self {
        Self {
            account_id,
            ..Self::default()
        }
    }
}

impl StateMutate for Account {
    fn mutate(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::AccountOpened { amount, .. } => {
                self.open = true;
                self.balance = amount;
            }
            AccountEvent::AccountCredited { amount, .. } => self.balance += amount,
        }
    }
}

struct Credit {
    account_id: Uuid,
    amount: u64,
}

impl Decision for Credit {
    type Event = AccountEvent;
    type StateQuery = Account;
    type Error = Infallible;

    fn state_query(&self) -> Account {
        Account::new(self.account_id)
    }

    fn process(&self, account: &Account) -> Result<Vec<AccountEvent>, Infallible> {
        let written = if account.open { credited } else { opened };
        Ok(vec![written(self.account_id, self.amount)])
    }
}

/// Opens the account, and credits it for the rest.
struct Write {
    account_id: Uuid,
    events: u64,
}

impl Decision for Write {
    type Event = AccountEvent;
    type StateQuery = Account;
    type Error = Infallible;

    fn state_query(&self) -> Account {
        Account::new(self.account_id)
    }

    fn process(&self, _account: &Account) -> Result<Vec<AccountEvent>, Infallible> {
        let credits = (1..self.events).map(|number| credited(self.account_id, amount(number)));
        Ok(std::iter::once(opened(self.account_id, 0))
            .chain(credits)
            .collect())
    }
}

fn opened(account_id: Uuid, amount: u64) -> AccountEvent {
    AccountEvent::AccountOpened {
        account_id,
        amount,
        reference: REFERENCE.into(),
    }
}

fn credited(account_id: Uuid, amount: u64) -> AccountEvent {
    AccountEvent::AccountCredited {
        account_id,
        amount,
        reference: REFERENCE.into(),
    }
}

type Events = PgEventStore<AccountEvent, Json<AccountEvent>>;

pub(crate) struct Bank {
    events: Events,
    states: EventSourcedStateStore<PgEventId, AccountEvent, Events, NoSnapshot>,
    decisions: PgDecisionMaker<AccountEvent, Json<AccountEvent>, NoSnapshot>,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        make_tables(place).await?;
        let events = PgEventStore::new_uninitialized(pool::open(place).await?, Json::default());
        Ok(Self {
            states: EventSourcedStateStore::new(events.clone(), NoSnapshot),
            decisions: decision_maker(events.clone(), NoSnapshot),
            events,
        })
    }
}

/// Creates the tables as `PgEventStore::try_new` does, also before PostgreSQL 16, which does not know the `0xFFFFFFFF` in a
/// function of the library. The function is created unchecked, and then again with the number in decimal.
async fn make_tables(place: &str) -> Outcome<()> {
    let unchecked = pool::connection(place)?.options([("check_function_bodies", "off")]);
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(unchecked)
        .await?;
    let events: Events = PgEventStore::new_uninitialized(pool.clone(), Json::default());
    Migrator::new(events).init_event_store().await?;
    let body: String =
        sqlx::query_scalar("SELECT pg_get_functiondef('event_store_begin_epoch'::regproc)")
            .fetch_one(&pool)
            .await?;
    pool.execute(
        body.replace("0xFFFFFFFF", &0xFFFF_FFFF_u32.to_string())
            .as_str(),
    )
    .await?;
    Ok(())
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account_id: Uuid, amount: u64) -> Outcome<()> {
        loop {
            match self.decisions.make(Credit { account_id, amount }).await {
                Err(DecisionError::StateStore(error)) if is_conflict(&*error) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
    }

    async fn append(&self, account_id: Uuid, events: u64) -> Outcome<()> {
        loop {
            match self.decisions.make(Write { account_id, events }).await {
                Err(DecisionError::StateStore(error)) if is_conflict(&*error) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
    }

    async fn rebuild(&self, account_id: Uuid) -> Outcome<u64> {
        let loaded = self.states.load(Account::new(account_id)).await?;
        let account = loaded.state();
        if account.open {
            Ok(account.balance)
        } else {
            Err("there is no such account".into())
        }
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let all: StreamQuery<PgEventId, AccountEvent> = query!(AccountEvent);
        let items = self.events.stream(&all);
        let read = items.try_fold(0, async |read, item| {
            Ok(read + u64::from(matches!(item, StreamItem::Event(_))))
        });
        Ok(Some(read.await?))
    }
}

/// There are new events, or PostgreSQL could not put the transactions in an order: it says so at any statement, and
/// only at `COMMIT` does the library translate it.
fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref() {
        Some(Error::Concurrency) => true,
        Some(Error::Database(sqlx::Error::Database(error))) => {
            matches!(error.code().as_deref(), Some("40001" | "40P01"))
        }
        _ => false,
    }
}
