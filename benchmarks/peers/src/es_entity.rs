//! [es-entity](https://docs.rs/es-entity) on PostgreSQL: `es-entity` 0.20.
//!
//! The derive writes the repository, its SQL checked while this is compiled: against a database, or against what it was
//! when `.sqlx` was written (the README says how). No columns besides the id, no snapshots. A command is `SELECT`,
//! `BEGIN`, one `INSERT` of all events, `COMMIT`; a unique index tells conflicts. A new account is written in one
//! statement with all of its events.
//!
//! There is no log to read: entities are read one by one or by a column. The outbox that has one is another crate.

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use es_entity::errlanes::{self, Fail, Fault};
use es_entity::{
    EntityEvents, EntityEventsBuilder, EntityHydrationError, EsEntity, EsEvent, EsRepo, FromCaller,
    IntoEvents, TryFromEvents,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::pool;

const TABLES: &str = include_str!("../migrations/es_entity.sql");

es_entity::entity_id! { AccountId }

#[derive(EsEvent, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[es_event(id = "AccountId")]
enum AccountEvent {
    Opened {
        id: AccountId,
        amount: u64,
        reference: String,
    },
    Credited {
        amount: u64,
        reference: String,
    },
}

#[derive(EsEntity)]
struct Account {
    id: AccountId,
    balance: u64,
    events: EntityEvents<AccountEvent>,
}

impl Account {
    fn credit(&mut self, amount: u64) {
        self.balance += amount;
        self.events.push(AccountEvent::Credited {
            amount,
            reference: REFERENCE.into(),
        });
    }
}

impl TryFromEvents<AccountEvent> for Account {
    fn try_from_events(events: EntityEvents<AccountEvent>) -> Result<Self, EntityHydrationError> {
        let mut hydrator = Self::hydrator();
        let mut balance = 0;

        for event in events.iter_all() {
            match event {
                AccountEvent::Opened { id, amount, .. } => {
                    hydrator.id(*id);
                    balance = *amount;
                }
                AccountEvent::Credited { amount, .. } => balance += amount,
            }
        }
        hydrator.balance(balance);
        hydrator.build(events)
    }
}

struct NewAccount {
    id: AccountId,
    amount: u64,
    /// The amount that is credited at once.
    credits: Vec<u64>,
}

impl IntoEvents<AccountEvent> for NewAccount {
    type IdSource = FromCaller;

    fn into_events(
        self,
        builder: EntityEventsBuilder<AccountEvent, FromCaller>,
    ) -> EntityEvents<AccountEvent> {
        let reference = || REFERENCE.to_owned();
        let opened = AccountEvent::Opened {
            id: self.id,
            amount: self.amount,
            reference: reference(),
        };
        let credits = self.credits.into_iter();
        let credits = credits.map(|amount| AccountEvent::Credited {
            amount,
            reference: reference(),
        });
        builder.initial_events(self.id, std::iter::once(opened).chain(credits))
    }
}

#[derive(EsRepo)]
#[es_repo(entity = "Account", id(source = caller))]
struct Accounts {
    pool: PgPool,
}

pub(crate) struct Bank {
    accounts: Accounts,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        let pool = pool::open_with_tables(place, "accounts", TABLES).await?;
        Ok(Self {
            accounts: Accounts { pool },
        })
    }
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        let id = AccountId::from(account);
        loop {
            match self.accounts.maybe_find_by_id(id).await? {
                Some(mut account) => {
                    account.credit(amount);
                    match self.accounts.update(&mut account).await {
                        // Another credited it.
                        Err(Fault::Transient(_)) => {}
                        done => return done.map(drop).map_err(Into::into),
                    }
                }
                None => match self
                    .accounts
                    .create(NewAccount {
                        id,
                        amount,
                        credits: Vec::new(),
                    })
                    .await
                {
                    // Another opened it.
                    Err(Fail::Rejected(_) | Fail::Transient(_)) => {}
                    done => return done.map(drop).map_err(Into::into),
                },
            }
        }
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        let credits = (1..events).map(amount).collect();
        self.accounts
            .create(NewAccount {
                id: account.into(),
                amount: 0,
                credits,
            })
            .await?;
        Ok(())
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        Ok(self
            .accounts
            .find_by_id(AccountId::from(account))
            .await?
            .balance)
    }
}
