//! [esrs](https://docs.rs/esrs) on PostgreSQL: `esrs` 0.18 with its `PgStore`.
//!
//! Optimistic, as its `AggregateManager` is unless it is told to lock; no event handlers. A command is `SELECT`,
//! `BEGIN`, one `INSERT` an event, `COMMIT`; a unique index tells conflicts. So an append of 100 events is 102 round
//! trips, and there is no way to make it fewer. Ids of events are version 7, which is kinder to the index than its
//! version 4.
//!
//! The log is what its `PgStore::stream_events` reads, "to rebuild read models": all events, ordered by the clock of
//! who wrote them.

use std::convert::Infallible;

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use esrs::manager::AggregateManager;
use esrs::store::postgres::{PgStore, PgStoreBuilder, PgStoreError, UuidFormat};
use esrs::{Aggregate, AggregateState};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pool;

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Opened { amount: u64, reference: String },
    Credited { amount: u64, reference: String },
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

#[derive(Default)]
struct AccountState {
    open: bool,
    balance: u64,
}

struct Account;

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type State = AccountState;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = Infallible;

    fn handle_command(
        state: &AccountState,
        command: AccountCommand,
    ) -> Result<Vec<AccountEvent>, Infallible> {
        let reference = || REFERENCE.to_owned();
        let opened = |amount| AccountEvent::Opened {
            amount,
            reference: reference(),
        };
        let credited = |amount| AccountEvent::Credited {
            amount,
            reference: reference(),
        };
        Ok(match command {
            AccountCommand::Credit { amount } if state.open => vec![credited(amount)],
            AccountCommand::Credit { amount } => vec![opened(amount)],
            AccountCommand::Write { events } => std::iter::once(opened(0))
                .chain((1..events).map(|number| credited(amount(number))))
                .collect(),
        })
    }

    fn apply_event(state: AccountState, event: AccountEvent) -> AccountState {
        match event {
            AccountEvent::Opened { amount, .. } => AccountState {
                open: true,
                balance: amount,
            },
            AccountEvent::Credited { amount, .. } => AccountState {
                balance: state.balance + amount,
                ..state
            },
        }
    }
}

pub(crate) struct Bank {
    pool: sqlx::PgPool,
    store: PgStore<Account>,
    accounts: AggregateManager<PgStore<Account>>,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        let pool = pool::open(place).await?;
        let store = PgStoreBuilder::new(pool.clone())
            .with_event_id_format(UuidFormat::V7)
            .try_build()
            .await?;
        Ok(Self {
            pool,
            accounts: AggregateManager::new(store.clone()),
            store,
        })
    }
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        loop {
            let loaded = self.accounts.load(account).await?;
            let state = loaded.unwrap_or_else(|| AggregateState::with_id(account));
            match self
                .accounts
                .handle_command(state, AccountCommand::Credit { amount })
                .await
            {
                Err(error) if is_conflict(&error) => {}
                done => return done?.map(drop).map_err(Into::into),
            }
        }
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        let state = AggregateState::with_id(account);
        self.accounts
            .handle_command(state, AccountCommand::Write { events })
            .await??;
        Ok(())
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        let state = self
            .accounts
            .load(account)
            .await?
            .ok_or("there is no such account")?;
        Ok(state.inner().balance)
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let events = self.store.stream_events(&self.pool);
        Ok(Some(
            events
                .try_fold(0, async |read, _event| Ok(read + 1))
                .await?,
        ))
    }
}

fn is_conflict(error: &PgStoreError) -> bool {
    matches!(error, PgStoreError::Sqlx(sqlx::Error::Database(error)) if error.is_unique_violation())
}
