//! Several connections to one file: locks, and notifications between processes.

mod fixture;

use std::time::{Duration, Instant};

use eventsourcing_core::store::{
    Acknowledged, EventStore, FollowerStore, LogQuery, Position, StoreError,
};
use eventsourcing_core::{Aggregate, Application, Runner, Stores, System, event as events};
use eventsourcing_sqlite::{Durability, SqliteOptions, SqliteStore};
use fixture::{Place, append, one_line};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

/// Opens a connection outside the store.
fn outsider(place: &Place) -> Connection {
    Connection::open(place.file()).expect("a connection")
}

#[tokio::test]
async fn readers_do_not_wait_for_a_writer() {
    let place = Place::new();
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    let mut outsider = outsider(&place);
    let lock = outsider
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock");
    lock.execute("DELETE FROM eventsourcing_events", [])
        .expect("a write");
    let page = timeout(SOON, store.read_log(LogQuery::after(Position::ZERO)))
        .await
        .expect("no waiting");
    assert_eq!(
        page.expect("a page").events.len(),
        1,
        "what is not committed is not seen"
    );
    lock.rollback().expect("the lock is given back");
}

#[tokio::test]
async fn writer_does_not_wait_for_readers() {
    let place = Place::new();
    let store = place.store().await;
    store.append(append()).await.expect("a receipt");
    let outsider = outsider(&place);
    let moment = outsider
        .unchecked_transaction()
        .expect("a read transaction");
    let count = || {
        moment.query_row("SELECT count(*) FROM eventsourcing_events", [], |row| {
            row.get::<_, i64>(0)
        })
    };
    assert_eq!(count(), Ok(1));
    timeout(SOON, store.append(append()))
        .await
        .expect("no waiting")
        .expect("a receipt");
    assert_eq!(count(), Ok(1), "the reader still sees its moment");
}

#[tokio::test]
async fn lock_held_too_long_is_unavailable_and_passes() {
    let place = Place::new();
    let options = SqliteOptions::new().with_busy_timeout(Duration::from_millis(50));
    let store = options.open(place.file()).await.expect("a store");
    let mut outsider = outsider(&place);
    let lock = outsider
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock");
    let error = store.append(append()).await.expect_err("the lock is taken");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        one_line(&error).ends_with("busy timeout; this attempt wrote nothing"),
        "{error}"
    );
    lock.rollback().expect("the lock is given back");

    assert_eq!(store.head().await.expect("a head"), Position::ZERO);
    store.append(append()).await.expect("the store works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn append_waits_for_a_lock_that_is_given_back_in_time() {
    let place = Place::new();
    let store = place.store().await;
    let mut outsider = outsider(&place);
    let lock = outsider
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock");
    let waiting = tokio::spawn(async move { store.append(append()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    lock.rollback().expect("the lock is given back");
    waiting.await.expect("a task").expect("a receipt");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_write_without_a_pause_leave_each_other_room() {
    const STORES: usize = 6;
    const APPENDS: usize = 150;
    let place = Place::new();
    let mut tasks = Vec::new();
    for _ in 0..STORES {
        let store = place.store().await;
        tasks.extend((0..4).map(|_| tokio::spawn(hammer(store.clone(), APPENDS))));
    }
    let writers = tasks.len();
    for task in tasks {
        task.await.expect("a task");
    }
    assert_eq!(
        place.store().await.head().await.expect("a head"),
        Position::new((writers * APPENDS) as u64)
    );
}

async fn hammer(store: SqliteStore, appends: usize) {
    for _ in 0..appends {
        store.append(append()).await.expect("its turn comes");
    }
}

#[tokio::test]
async fn waiting_hears_of_another_connection_within_the_poll_interval() {
    let place = Place::new();
    let store = place.store().await;
    let other = place.store().await;
    let mut slowest = Duration::ZERO;
    for round in 0..5 {
        let heard = async {
            let head = store
                .wait_beyond(Position::new(round), None)
                .await
                .expect("a head");
            (head, Instant::now())
        };
        let committed = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let position = other
                .append(append())
                .await
                .expect("a receipt")
                .receipt
                .position;
            (position, Instant::now())
        };
        let ((head, heard), (position, committed)) = tokio::join!(heard, committed);
        assert_eq!(head, position);
        slowest = slowest.max(heard.saturating_duration_since(committed));
    }
    assert!(
        slowest < 5 * SqliteOptions::POLL_INTERVAL_DEFAULT,
        "heard after {slowest:?}"
    );
}

#[tokio::test]
async fn waiting_hears_of_this_process_without_polling() {
    let place = Place::new();
    let store = SqliteOptions::new()
        .with_poll_interval(Duration::from_secs(3600))
        .open(place.file())
        .await;
    let store = store.expect("a store");
    let waiting = timeout(SOON, store.wait_beyond(Position::ZERO, None));
    let (head, appended) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        store.append(append()).await
    });
    let head = head.expect("no polling is needed").expect("a head");
    assert_eq!(head, appended.expect("a receipt").receipt.position);
}

#[tokio::test]
async fn dropped_waiting_passes_the_looking_on() {
    let place = Place::new();
    let store = place.store().await;
    let other = place.store().await;
    let first = store.wait_beyond(Position::ZERO, None);
    let second = store.wait_beyond(Position::ZERO, None);
    tokio::pin!(second);
    assert!(timeout(Duration::from_millis(20), first).await.is_err());
    assert!(
        timeout(Duration::from_millis(20), &mut second)
            .await
            .is_err()
    );
    other.append(append()).await.expect("a receipt");
    assert_eq!(
        timeout(SOON, second)
            .await
            .expect("it looks")
            .expect("a head"),
        Position::new(1)
    );
}

#[tokio::test]
async fn events_that_are_there_already_need_no_waiting() {
    let place = Place::new();
    let store = SqliteOptions::new()
        .with_poll_interval(Duration::from_secs(3600))
        .open(place.file())
        .await;
    let store = store.expect("a store");
    place
        .store()
        .await
        .append(append())
        .await
        .expect("a receipt");
    let head = timeout(SOON, store.wait_beyond(Position::ZERO, None))
        .await
        .expect("no waiting");
    assert_eq!(head.expect("a head"), Position::new(1));
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Bread {}

#[events]
impl Bread {
    fn baked() -> Self {
        Self {}
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
struct Meat {}

#[events]
impl Meat {
    fn cut() -> Self {
        Self {}
    }
}

struct Shop {
    _app: Application,
}

impl From<Application> for Shop {
    fn from(app: Application) -> Self {
        Self { _app: app }
    }
}

#[derive(System)]
#[expect(dead_code, reason = "it is only looked at")]
struct Street {
    #[application(aggregates(Bread))]
    baker: Shop,
    #[application(aggregates(Meat))]
    butcher: Shop,
}

async fn acknowledged(store: &impl FollowerStore) -> Acknowledged {
    store.acknowledged().await.expect("an answer")
}

#[tokio::test]
async fn each_handle_says_what_its_own_appends_survive_and_a_system_the_least() {
    let place = Place::new();
    let full = place.store().await;
    let normal = SqliteOptions::new()
        .with_durability(Durability::Normal)
        .open(place.file())
        .await
        .expect("a store");
    let on_disk = acknowledged(&full).await;
    assert!(
        matches!(&on_disk, Acknowledged::OnDisk { remedy } if remedy.contains("docs/backups.md")),
        "{on_disk:?}"
    );
    let written = acknowledged(&normal).await;
    let says_why =
        matches!(&written, Acknowledged::Written { remedy } if remedy.contains("Durability::Full"));
    assert!(says_why, "{written:?}");
    assert_eq!(
        acknowledged(&SqliteStore::in_memory().expect("a store")).await,
        Acknowledged::InMemory
    );

    let log = full.log_id();
    let one = Stores::shared(full.clone());

    let several = [
        Stores::shared(full.clone()).with("butcher", normal.clone()),
        Stores::shared(normal).with("baker", full),
    ];
    for (stores, expected) in [(one, &on_disk)]
        .into_iter()
        .chain(several.map(|stores| (stores, &written)))
    {
        let street = Street::start(stores, Runner::inline())
            .await
            .expect("a system");
        let health = street.health().await.expect("its health");
        assert_eq!(health.acknowledged, [(log, expected.clone())].into());
    }
}
