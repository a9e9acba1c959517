//! An aggregate gets another stored name, over two releases: one that reads both and writes the old name, and one that
//! writes the new one. Streams keep the name they were begun with, on every store.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use eventsourcing::store::{CommandId, EventStore, LogQuery, Position, Version};
use eventsourcing::{
    Aggregate, Application, ApplicationError, Id, Policy, Projection, RecordedEvent, Root, Runner,
    Stores, System, UnitOfWork, event,
};
use serde::{Deserialize, Serialize};
use support::Place;
use uuid::Uuid;

#[derive(Aggregate, Serialize, Deserialize)]
struct Ledger {
    cents: i64,
}

#[event]
impl Ledger {
    fn opened() -> Self {
        Self { cents: 0 }
    }
    fn changed(&mut self, by: i64) {
        self.cents += by;
    }
}

struct Accounts {
    app: Application,
}

impl From<Application> for Accounts {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

struct Ledgers {
    app: Application,
}

impl From<Application> for Ledgers {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

async fn count(by: i64, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
    let ledger = work
        .load_or_create(Id::<Ledger>::named("General"), || LedgerEvent::Opened)
        .await?;
    ledger.record(LedgerEvent::Changed { by });
    Ok(())
}

#[derive(Default)]
struct Count(AtomicU64);

impl<A: Aggregate> Projection<A> for Count {
    type Error = std::convert::Infallible;

    async fn project(&self, _: &RecordedEvent<A>) -> Result<(), Self::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

macro_rules! release {
    ($name:ident, $(#[$options:meta])* $aggregate:ident, $event:ident) => {
        mod $name {
            #![allow(dead_code, reason = "not every release does everything")]
            use super::*;

            #[derive(Aggregate, Debug, Serialize, Deserialize)]
            $(#[$options])*
            pub(crate) struct $aggregate {
                pub(crate) cents: i64,
            }

            #[event]
            impl $aggregate {
                fn opened(cents: i64) -> Self {
                    Self { cents }
                }
                fn credited(&mut self, cents: i64) {
                    self.cents += cents;
                }
            }

            impl Policy<$aggregate> for Ledgers {
                type Error = ApplicationError;

                async fn react(&self, event: &RecordedEvent<$aggregate>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
                    let ($event::Opened { cents } | $event::Credited { cents }) = event.payload;
                    count(cents, work).await
                }
            }

            #[derive(System)]
            pub(crate) struct Bank {
                #[application(aggregates($aggregate))]
                pub(crate) accounts: Accounts,
                #[application(aggregates(Ledger), follows(accounts: $aggregate))]
                pub(crate) ledger: Ledgers,
                #[projection(follows(accounts: $aggregate))]
                pub(crate) count: Count,
            }

            pub(crate) async fn open(app: &Application, id: Uuid) -> Result<(), ApplicationError> {
                let mut root = Root::<$aggregate>::with_id(Id::from_uuid(id), $event::Opened { cents: 1 });
                app.save(&mut root).await.map(drop)
            }

            pub(crate) async fn credit(app: &Application, id: Uuid) -> Result<(), ApplicationError> {
                let credit = |_: &$aggregate| $event::Credited { cents: 10 };
                app.update(Id::from_uuid(id), credit).await.map(drop)
            }

            pub(crate) async fn load(app: &Application, id: Uuid) -> Root<$aggregate> {
                app.load(Id::from_uuid(id)).await.expect("it is there")
            }
        }
    };
}

release! { first, #[aggregate(snapshot = every(2))] Konto, KontoEvent }
release! { second, #[aggregate(name = "Konto", next_name = "Account", snapshot = every(2))] Account, AccountEvent }
release! { third, #[aggregate(former_names("Konto"), snapshot = every(2))] Account, AccountEvent }

async fn places() -> Vec<(Stores, Place)> {
    let mut places = Vec::new();
    for place in Place::all() {
        places.push((
            bank_example::stores::open(place.url())
                .await
                .expect("the store opens"),
            place,
        ));
    }
    places
}

/// An application of each release on one store.
fn applications(stores: &Stores) -> [Application; 3] {
    [(); 3].map(|()| Application::new("accounts", stores.store()))
}

async fn stored_under(stores: &Stores, id: Uuid) -> Vec<String> {
    let page = stores
        .store()
        .read_log(LogQuery::after(Position::ZERO).limit(10_000))
        .await
        .expect("the log");
    page.events
        .iter()
        .filter(|event| event.stream.id == id)
        .map(|event| event.stream.category.to_string())
        .collect()
}

#[test]
fn named_ids_are_the_same_in_all_releases() {
    let ids = [
        Id::<first::Konto>::named("General").as_uuid(),
        Id::<second::Account>::named("General").as_uuid(),
        Id::<third::Account>::named("General").as_uuid(),
    ];
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_under_the_name_it_was_begun_with_whichever_release_writes() {
    for (stores, place) in places().await {
        let [first, second, third] = applications(&stores);
        let old = Uuid::from_u128(1);
        let new = Uuid::from_u128(2);

        first::open(&first, old)
            .await
            .expect("an account of the first release");
        third::open(&third, new)
            .await
            .expect("an account of the third release");
        for _ in 0..3 {
            for id in [old, new] {
                second::credit(&second, id).await.expect("a credit");
                third::credit(&third, id).await.expect("a credit");
            }
            first::credit(&first, old).await.expect("a credit");
        }
        assert_eq!(
            stored_under(&stores, old).await,
            ["Konto"; 10],
            "{}",
            place.url()
        );
        assert_eq!(
            stored_under(&stores, new).await,
            ["Account"; 7],
            "{}",
            place.url()
        );
        for (id, cents, version) in [(old, 91, 10), (new, 61, 7)] {
            let by_second = second::load(&second, id).await;
            let by_third = third::load(&third, id).await;

            assert_eq!((by_second.cents, by_third.cents), (cents, cents));
            assert_eq!(
                (by_second.stream(), by_second.version()),
                (by_third.stream(), Version::new(version))
            );
        }
        let history = third
            .history(Id::<third::Account>::from_uuid(old))
            .await
            .expect("a history");
        assert_eq!(
            (
                history.len(),
                history[0].category,
                history[0].event_ref().category
            ),
            (10, "Konto", "Konto".into())
        );
        let at = third
            .load_at(Id::<third::Account>::from_uuid(old), Version::new(2))
            .await
            .expect("it was at 2");
        assert_eq!(at.cents, 11);
        let ids = third
            .ids::<third::Account>(Position::ZERO, 10)
            .await
            .expect("ids")
            .ids;
        assert_eq!(
            ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>(),
            [old, new]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_never_begin_two_streams_of_one_aggregate() {
    for (stores, place) in places().await {
        let [_, second, third] = applications(&stores);
        let mut begun = [0, 0];
        for number in 0..40 {
            let id = Uuid::from_u128(100 + number);
            let (old, new) = tokio::join!(second::open(&second, id), third::open(&third, id));
            let conflicts = [&old, &new]
                .into_iter()
                .filter(|outcome| outcome.as_ref().is_err_and(ApplicationError::is_conflict));
            assert_eq!(conflicts.count(), 1, "{old:?} {new:?}");
            begun[usize::from(new.is_ok())] += 1;
            assert_eq!(stored_under(&stores, id).await.len(), 1, "{}", place.url());
        }
        assert_eq!(begun[0] + begun[1], 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_repeated_by_the_next_release() {
    for (stores, _place) in places().await {
        let [_, second, third] = applications(&stores);
        let command = CommandId::new();
        let handle = second.command(command);
        let opened = handle
            .create(|| second::AccountEvent::Opened { cents: 5 })
            .await;
        let opened = opened.expect("an account").id.as_uuid();
        let handle = third.command(command);
        let mut again = Root::<third::Account>::with_id(
            handle.new_id(),
            third::AccountEvent::Opened { cents: 7 },
        );
        handle.save(&mut again).await.expect("the first receipt");
        assert_eq!(
            (
                again.id().as_uuid(),
                again.cents,
                again.stream().category.as_str()
            ),
            (opened, 5, "Konto")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_take_the_events_under_all_names_once() {
    for (stores, place) in places().await {
        let bank = first::Bank::start(stores.clone(), Runner::inline())
            .await
            .expect("the bank starts");
        first::open(&bank.accounts.app, Uuid::from_u128(1))
            .await
            .expect("an account");
        bank.stop().await.expect("a graceful end");
        let bank = second::Bank::start(stores.clone(), Runner::inline())
            .await
            .expect("the bank starts");
        let [_, _, third] = applications(&stores);
        third::open(&third, Uuid::from_u128(2))
            .await
            .expect("an account");
        third::credit(&third, Uuid::from_u128(1))
            .await
            .expect("a credit");
        second::credit(&bank.accounts.app, Uuid::from_u128(2))
            .await
            .expect("a credit");
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        assert_eq!(bank.count.0.load(Ordering::Relaxed), 4, "{}", place.url());
        bank.stop().await.expect("a graceful end");

        let bank = third::Bank::start(stores.clone(), Runner::inline())
            .await
            .expect("the bank starts");
        third::open(&bank.accounts.app, Uuid::from_u128(3))
            .await
            .expect("an account");
        bank.wait_until_caught_up()
            .await
            .expect("the followers catch up");
        let ledger = bank
            .ledger
            .app
            .load(Id::<Ledger>::named("General"))
            .await
            .expect("the ledger");
        assert_eq!(
            (ledger.cents, ledger.version()),
            (23, Version::new(6)),
            "{}",
            place.url()
        );
        assert!(bank.verify().await.expect("figures").agrees());
        bank.stop().await.expect("a graceful end");
    }
}
