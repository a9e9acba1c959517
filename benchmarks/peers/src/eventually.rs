//! [eventually](https://docs.rs/eventually) on PostgreSQL: `eventually` 0.4 with `eventually-postgres` 0.2, its newest
//! in the registry.
//!
//! It comes from 2020 and lives on tokio 0.2 and tokio-postgres 0.5. So whatever it does is a task of a runtime of its
//! own, as it would be in an application of its time; only the result comes over. Its store has one connection; the
//! bank has sixteen of them.
//!
//! A command is four round trips: it prepares its statements anew each time, and nothing turns that off. The append is
//! a function in the database, which writes all events, notifies about each and counts a row that all aggregates of a
//! type share: commits queue up. A conflict shows as what the database says, for the store never says there was one.
//! The count is read without a lock, so that under load several events get the same place in the log.
//!
//! The log is what its subscriptions catch up with: `EventStore::stream_all`.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use contest::{Contestant, Outcome, REFERENCE, amount};
use eventually::store::{EventStore as _, Select};
use eventually::{Aggregate, AggregateRootBuilder, Repository};
use eventually_postgres::store::Error;
use eventually_postgres::{EventStore, EventStoreBuilder};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_02::runtime::{Builder, Runtime};
use tokio_postgres_05::error::SqlState;
use tokio_postgres_05::{Client, NoTls};
use uuid::Uuid;

use crate::pool::CONNECTIONS;

/// The runtime that the peer lives on. It is never dropped, which would be forbidden to tasks.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new()
        .threaded_scheduler()
        .core_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started")
});

#[derive(Clone, Debug, Serialize, Deserialize)]
enum AccountEvent {
    Opened { amount: u64, reference: String },
    Credited { amount: u64, reference: String },
}

#[derive(Debug)]
enum AccountCommand {
    Credit {
        amount: u64,
    },
    /// Opens the account, and credits it for the rest.
    Write {
        events: u64,
    },
}

#[derive(Clone, Default)]
struct AccountState {
    open: bool,
    balance: u64,
}

#[derive(Clone)]
struct Account;

impl Aggregate for Account {
    type Id = String;
    type State = AccountState;
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = Infallible;

    fn apply(state: AccountState, event: AccountEvent) -> Result<AccountState, Infallible> {
        Ok(match event {
            AccountEvent::Opened { amount, .. } => AccountState {
                open: true,
                balance: amount,
            },
            AccountEvent::Credited { amount, .. } => AccountState {
                balance: state.balance + amount,
                ..state
            },
        })
    }

    fn handle<'a, 's: 'a>(
        &'a self,
        _id: &'s String,
        state: &'s AccountState,
        command: AccountCommand,
    ) -> BoxFuture<'a, Result<Option<Vec<AccountEvent>>, Infallible>> {
        Box::pin(async move { Ok(Some(decide(state, &command))) })
    }
}

fn decide(state: &AccountState, command: &AccountCommand) -> Vec<AccountEvent> {
    let reference = || REFERENCE.to_owned();
    let opened = |amount| AccountEvent::Opened {
        amount,
        reference: reference(),
    };
    let credited = |amount| AccountEvent::Credited {
        amount,
        reference: reference(),
    };
    match *command {
        AccountCommand::Credit { amount } if state.open => vec![credited(amount)],
        AccountCommand::Credit { amount } => vec![opened(amount)],
        AccountCommand::Write { events } => std::iter::once(opened(0))
            .chain((1..events).map(|number| credited(amount(number))))
            .collect(),
    }
}

type Store = EventStore<String, AccountEvent>;
type Accounts = Repository<Account, Store>;

pub(crate) struct Bank {
    stores: Vec<Store>,
    turn: AtomicUsize,
}

impl Bank {
    pub(crate) async fn open(place: &str) -> Outcome<Self> {
        let place = place.to_owned();
        let stores = on_its_runtime(async move {
            let mut stores = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut client = connect(&place).await?;
                let migrated = EventStoreBuilder::migrate_database(&mut client).await?;
                stores.push(migrated.builder(Arc::new(client)).build("account").await?);
            }
            Ok(stores)
        });
        Ok(Self {
            stores: stores.await?,
            turn: AtomicUsize::new(0),
        })
    }

    /// The connections take turns.
    fn store(&self) -> Store {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.stores[turn % self.stores.len()].clone()
    }

    fn accounts(&self) -> Accounts {
        Repository::new(AggregateRootBuilder::from(Account), self.store())
    }
}

#[async_trait]
impl Contestant for Bank {
    async fn credit(&self, account: Uuid, amount: u64) -> Outcome<()> {
        let accounts = self.accounts();
        on_its_runtime(credit(accounts, account.to_string(), amount)).await
    }

    async fn append(&self, account: Uuid, events: u64) -> Outcome<()> {
        let mut accounts = self.accounts();
        on_its_runtime(async move {
            let mut account = AggregateRootBuilder::from(Account).build(account.to_string());
            account.handle(AccountCommand::Write { events }).await?;
            accounts.add(account).await?;
            Ok(())
        })
        .await
    }

    async fn rebuild(&self, account: Uuid) -> Outcome<u64> {
        let accounts = self.accounts();
        on_its_runtime(async move {
            let account = accounts.get(account.to_string()).await?;
            if account.open {
                Ok(account.balance)
            } else {
                Err("there is no such account".into())
            }
        })
        .await
    }

    async fn read_log(&self) -> Outcome<Option<u64>> {
        let store = self.store();
        on_its_runtime(async move {
            let events = store.stream_all(Select::All).await?;
            Ok(Some(
                events
                    .try_fold(0, async |read, _event| Ok(read + 1))
                    .await?,
            ))
        })
        .await
    }
}

async fn credit(mut accounts: Accounts, id: String, amount: u64) -> Outcome<()> {
    loop {
        let mut account = accounts.get(id.clone()).await?;
        account.handle(AccountCommand::Credit { amount }).await?;
        match accounts.add(account).await {
            Err(eventually::repository::Error::Store(error)) if is_conflict(&error) => {}
            done => return done.map(drop).map_err(Into::into),
        }
    }
}

/// The version that the function in the database finds is another, or another got in between.
fn is_conflict(error: &Error) -> bool {
    let Error::Postgres(error) = error else {
        return false;
    };
    matches!(error.code(), Some(code) if *code == SqlState::UNIQUE_VIOLATION)
        || error
            .to_string()
            .contains("invalid aggregate version provided")
}

async fn connect(place: &str) -> Outcome<Client> {
    let (client, connection) = tokio_postgres_05::connect(place, NoTls).await?;
    tokio_02::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection is lost: {error}");
        }
    });
    Ok(client)
}

async fn on_its_runtime<T: Send + 'static>(
    work: impl Future<Output = Outcome<T>> + Send + 'static,
) -> Outcome<T> {
    RUNTIME.spawn(work).await?
}
