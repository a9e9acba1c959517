//! The parts that the releases share, independent of their events.

use std::collections::BTreeMap;

use bank_example::domain::{Money, ZERO};
use derive_more::{Deref, From};
use eventsourcing::sql::SqlError;
use eventsourcing::{
    Aggregate, Application, ReadModel, RecordedEvent, SqlReadModel, Table, Tx, values,
};
use uuid::Uuid;

#[derive(Debug, Deref, From)]
pub(crate) struct Accounts(Application);

#[derive(Debug, Deref, From)]
pub(crate) struct Ledgers(Application);

/// A read model with every movement, by its event and its part of the event.
#[derive(Debug, Deref, From)]
pub(crate) struct Movements(ReadModel);

/// The change of the balance, if the event has one.
pub(crate) type Change = Option<Money>;

/// An account of any release.
pub(crate) trait Write: Aggregate {
    /// The number of kinds of events besides the first.
    const VARIETY: usize;

    fn open(owner: &str) -> Self::Event;
    fn write(&self, number: usize, amount: Money) -> Self::Event;
    fn change(event: &Self::Event) -> Change;
    fn balance(&self) -> Money;
}

impl SqlReadModel for Movements {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[Table::new(
        "movements",
        "position BIGINT, part BIGINT, cents BIGINT NOT NULL, PRIMARY KEY (position, part)",
    )];
}

impl Movements {
    pub(crate) async fn insert<A: Aggregate>(
        event: &RecordedEvent<A>,
        change: Change,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        let Some(mut amount) = change else {
            return Ok(());
        };
        amount.rescale(2);
        let cents = i64::try_from(amount.mantissa()).expect("a small amount");
        let sql = "INSERT INTO {movements} (position, part, cents) VALUES ($1, $2, $3)";
        tx.execute(sql, &values![event.position, i64::from(event.part), cents])
            .await?;
        Ok(())
    }

    pub(crate) async fn sum(&self) -> Money {
        let rows = self
            .query(
                "SELECT CAST(coalesce(sum(cents), 0) AS BIGINT) AS cents FROM {movements}",
                &[],
            )
            .await;
        Money::new(rows.expect("a sum")[0].get("cents").expect("cents"), 2)
    }
}

/// The balances of a bank.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Books(pub(crate) BTreeMap<Uuid, Money>);

impl Books {
    pub(crate) fn sum(&self) -> Money {
        self.0.values().fold(ZERO, |sum, balance| sum + balance)
    }
}

/// The functions that a test calls for a release, which has `Bank`, `Account` and `Ledger`.
macro_rules! release {
    () => {
        pub(crate) async fn start(
            stores: impl Into<eventsourcing::Stores>,
            runner: eventsourcing::Runner,
        ) -> eventsourcing::RunningSystem<Bank> {
            Bank::start(stores, runner)
                .await
                .expect("the release starts")
        }

        /// Opens three accounts and writes to them all kinds of events that the release has, and to those that are there.
        #[allow(dead_code, reason = "not every test writes with every release")]
        pub(crate) async fn write(stores: impl Into<eventsourcing::Stores>) {
            let bank = start(stores, eventsourcing::Runner::inline()).await;
            for owner in ["Alice", "Bob", "Carol"] {
                let mut account = eventsourcing::Root::<Account>::create(Account::open(owner));
                bank.accounts.save(&mut account).await.expect("an account");
            }
            let page = bank
                .accounts
                .ids::<Account>(Default::default(), 100)
                .await
                .expect("ids");
            for (id, amount) in page.ids.into_iter().zip(1_u8..) {
                for number in 0..2 * Account::VARIETY {
                    let amount = Money::from(amount) + Money::new(50, 2);
                    let write = |account: &Account| account.write(number, amount);
                    bank.accounts.update(id, write).await.expect("an event");
                }
            }
            bank.wait_until_caught_up()
                .await
                .expect("the followers catch up");
            bank.stop().await.expect("a graceful end");
        }

        /// Returns the balances of the accounts, after comparing the ledger and the read model with them, and after
        /// checking that every follower has processed every event once.
        pub(crate) async fn books(
            stores: impl Into<eventsourcing::Stores>,
        ) -> super::shared::Books {
            let bank = start(stores, eventsourcing::Runner::inline()).await;
            bank.wait_until_caught_up()
                .await
                .expect("the followers catch up");
            let mut books = super::shared::Books::default();
            let page = bank
                .accounts
                .ids::<Account>(Default::default(), 100)
                .await
                .expect("ids");
            for id in page.ids {
                let account = bank.accounts.load(id).await.expect("an account");
                let history = bank.accounts.history(id).await.expect("its history");
                let replayed = history
                    .iter()
                    .filter_map(|event| Account::change(&event.payload));
                let replayed = replayed.fold(ZERO, |balance, change| balance + change);
                assert_eq!(
                    replayed,
                    account.balance(),
                    "the history and what snapshots have led to"
                );
                books.0.insert(id.as_uuid(), account.balance());
            }
            let ledger = bank
                .ledger
                .find(Id::<Ledger>::named("General"))
                .await
                .expect("a ledger");
            assert_eq!(
                ledger.map_or(ZERO, |ledger| ledger.balance),
                books.sum(),
                "the ledger and the accounts"
            );
            assert_eq!(
                bank.movements.sum().await,
                books.sum(),
                "the read model and the accounts"
            );
            let verification = bank.verify().await.expect("figures");
            assert!(verification.agrees(), "{verification:?}");
            bank.stop().await.expect("a graceful end");
            books
        }
    };
}

pub(crate) use release;
