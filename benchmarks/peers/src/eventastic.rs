//! [eventastic](https://docs.rs/eventastic) on PostgreSQL: `eventastic` 0.5 with `eventastic_postgres` 0.5.
//!
//! A command is one transaction: `BEGIN`, `SELECT` of the snapshot, `SELECT` of what is after it, one `INSERT` of all
//! events, an upsert of the snapshot, `COMMIT`. It writes a snapshot with every command and nothing turns that off, so
//! commands never load more than one row, and a rebuild reads the stream as its `load` does where there is no snapshot.
//! Events are bytes of JSON, decoded without a detour. Ids of events are version 7, which is kinder to their unique
//! index than version 4.
//!
//! There is no log to read: it reads one aggregate at a time.

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use eventastic::aggregate::{Aggregate, Context, Root, SaveError, SideEffect};
use eventastic::event::DomainEvent;
use eventastic::repository::{RepositoryError, RepositoryReader};
use eventastic_postgres::{
    NoEncryption, PostgresRepository, SideEffectDbError, SideEffectStorage, TableConfig,
};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::pool;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum AccountEvent {
    Opened {
        event_id: Uuid,
        account_id: Uuid,
        amount: u64,
        reference: String,
    },
    Credited {
        event_id: Uuid,
        amount: u64,
        reference: String,
    },
}

impl AccountEvent {
    fn opened(account_id: Uuid, amount: u64) -> Self {
        Self::Opened {
            event_id: Uuid::now_v7(),
            account_id,
            amount,
            reference: REFERENCE.into(),
        }
    }

    fn credited(amount: u64) -> Self {
        Self::Credited {
            event_id: Uuid::now_v7(),
            amount,
            reference: REFERENCE.into(),
        }
    }
}

impl DomainEvent for AccountEvent {
    type EventId = Uuid;

    fn id(&self) -> &Uuid {
        match self {
            Self::Opened { event_id, .. } | Self::Credited { event_id, .. } => event_id,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Account {
    id: Uuid,
    balance: u64,
}

impl Aggregate for Account {
    const SNAPSHOT_VERSION: u64 = 1;
    type AggregateId = Uuid;
    type DomainEvent = AccountEvent;
    type ApplyError = &'static str;
    type SideEffect = Nothing;

    fn aggregate_id(&self) -> &Uuid {
        &self.id
    }

    fn apply_new(event: &AccountEvent) -> Result<Self, &'static str> {
        match event {
            AccountEvent::Opened {
                account_id, amount, ..
            } => Ok(Self {
                id: *account_id,
                balance: *amount,
            }),
            AccountEvent::Credited { .. } => Err("the account is not open"),
        }
    }

    fn apply(&mut self, event: &AccountEvent) -> Result<(), &'static str> {
        match event {
            AccountEvent::Opened { .. } => return Err("the account is open already"),
            AccountEvent::Credited { amount, .. } => self.balance += amount,
        }
        Ok(())
    }

    fn side_effects(&self, _event: &AccountEvent) -> Option<Vec<Nothing>> {
        None
    }
}

/// No side effect: the bank has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Nothing {}

impl SideEffect for Nothing {
    type SideEffectId = Uuid;

    fn id(&self) -> &Uuid {
        match *self {}
    }
}

/// The target of side effects, which are not used.
#[derive(Clone)]
struct Nowhere;

#[async_trait]
impl<E: Send + 'static> SideEffectStorage<E, Nothing> for Nowhere {
    async fn store_side_effects(
        &self,
        _transaction: &mut Transaction<'_, Postgres>,
        _items: Vec<Nothing>,
    ) -> Result<(), SideEffectDbError<E, serde_json::Error>> {
        Ok(())
    }
}

pub(crate) struct Bank {
    accounts: PostgresRepository<Account, Nowhere, NoEncryption>,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        let tables = TableConfig::new("events", "snapshots");
        let connection = pool::connection(place)?;
        let settings = pool::settings();

        let accounts =
            PostgresRepository::new(connection, settings, tables, Nowhere, NoEncryption).await?;
        accounts.run_migrations().await?;
        Ok(Self { accounts })
    }

    /// Returns `true` on success, and `false` if another command was faster.
    async fn credit_once(&self, id: Uuid, amount: u64) -> Outcome<bool> {
        let mut transaction = self.accounts.begin_transaction().await?;
        let mut account = match transaction.get(&id).await {
            Ok(mut account) => {
                account.record_that(AccountEvent::credited(amount))?;
                account
            }
            Err(RepositoryError::AggregateNotFound) => {
                Account::record_new(AccountEvent::opened(id, amount))?
            }
            Err(error) => return Err(error.to_string().into()),
        };
        match transaction.store(&mut account).await {
            Err(SaveError::OptimisticConcurrency(..)) => return Ok(false),
            stored => stored?,
        }
        transaction.commit().await?;
        Ok(true)
    }
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        while !self.credit_once(account, amount).await? {}
        Ok(())
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        let mut account: Context<Account> = Account::record_new(AccountEvent::opened(account, 0))?;
        for number in 1..events {
            account.record_that(AccountEvent::credited(amount(number)))?;
        }
        let mut transaction = self.accounts.begin_transaction().await?;
        transaction.store(&mut account).await?;
        Ok(transaction.commit().await?)
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        let mut reader = self.accounts.clone();
        let mut events = reader.stream_from(&account, 0).boxed();
        let opened = events.try_next().await?.ok_or("there is no such account")?;
        let mut account = Account::apply_new(&opened.event)?;
        while let Some(event) = events.try_next().await? {
            account.apply(&event.event)?;
        }
        Ok(account.balance)
    }
}
