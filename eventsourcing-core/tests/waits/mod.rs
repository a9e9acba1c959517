//! Waits are reliable: after a wait for a receipt its consequences can be read, even during an append of another process.

use std::sync::Arc;
use std::time::Duration;

use eventsourcing_core::store::{EventStore, LogId, MemoryStore, Position};
use eventsourcing_core::{Receipt, ReceiptKind, Root, Runner, RunningSystem, Stores, SystemError};
use eventsourcing_testing::FaultyStore;
use tokio::time::timeout;

use crate::domain::{Jar, JarEvent, Pantry, Shelf, ShelfEvent};
use crate::{TIMEOUT, fill, start};

/// A time in which a wait that ends too early ends.
const SOON: Duration = Duration::from_millis(60);

type Shared = Arc<FaultyStore<MemoryStore>>;

fn store() -> Shared {
    Arc::new(FaultyStore::new(MemoryStore::new()))
}

fn has_seen(pantry: &Pantry, position: Position) -> bool {
    pantry.seen.0.lock().unwrap().contains(&position)
}

async fn write(pantry: &Pantry) -> Receipt {
    let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
    pantry.jars.app.save(&mut jar).await.unwrap()
}

fn is_late<T>(waited: &Result<T, SystemError>) -> bool {
    matches!(waited, Err(SystemError::TimedOut { .. }))
}

const RUNNERS: [fn() -> Runner; 3] = [Runner::inline, Runner::concurrent, || {
    Runner::concurrent().without_leases()
}];

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_waited_for_beyond_what_the_log_shows() {
    for runner in RUNNERS {
        let store = store();
        let pantry = start(Arc::clone(&store), runner()).await;
        for _ in 0..3 {
            let before = write(&pantry).await;
            pantry.wait_until_caught_up().await.unwrap();
            store.hold_back(store.newest_position().await.unwrap());
            let receipt = write(&pantry).await;
            pantry
                .wait_for(&before, Pantry::SEEN, TIMEOUT)
                .await
                .expect("what was there before is not held back");
            let waited = pantry.wait_for(&receipt, Pantry::SEEN, SOON).await;
            assert!(
                is_late(&waited) && !has_seen(&pantry, receipt.position),
                "{waited:?}"
            );
            assert!(
                timeout(SOON, pantry.wait_until_caught_up()).await.is_err(),
                "the written events are not processed yet"
            );

            store.let_go();
            pantry
                .wait_for(&receipt, Pantry::SEEN, TIMEOUT)
                .await
                .unwrap();
            assert!(has_seen(&pantry, receipt.position));
            timeout(TIMEOUT, pantry.wait_until_caught_up())
                .await
                .expect("nothing is held back")
                .unwrap();
        }
        pantry.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_has_begun_ends_when_the_log_goes_on() {
    for runner in RUNNERS {
        let store = store();
        let pantry = start(Arc::clone(&store), runner()).await;
        store.hold_back(Position::ZERO);
        let receipt = write(&pantry).await;
        let (waited, settled, ()) = tokio::join!(
            pantry.wait_for(&receipt, Pantry::SEEN, TIMEOUT),
            timeout(TIMEOUT, pantry.wait_until_caught_up()),
            async {
                tokio::time::sleep(SOON).await;
                assert!(!has_seen(&pantry, receipt.position));
                store.let_go();
            }
        );
        waited.unwrap();
        settled.expect("it settles").unwrap();
        assert!(has_seen(&pantry, receipt.position));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_nothing_stands_for_what_it_was_decided_on() {
    let store = store();
    let pantry = start(Arc::clone(&store), Runner::concurrent()).await;
    let jar = fill(&pantry, 3).await;
    pantry.wait_until_caught_up().await.unwrap();
    store.hold_back(store.newest_position().await.unwrap());
    let written = pantry.jars.app.update(jar, |jar| jar.add(1)).await.unwrap();
    let is_full = |jar: &Jar| (jar.beans < 4).then_some(JarEvent::Added { beans: 9 });
    let named = pantry
        .jars
        .app
        .command(eventsourcing_core::store::CommandId::new());
    for app in [&pantry.jars.app, &named] {
        let receipt = app.update(jar, is_full).await.unwrap();
        assert_eq!(
            receipt.kind,
            ReceiptKind::NothingRecorded,
            "it has seen the bean that was added"
        );
        assert!(receipt.position >= written.position);
        assert!(is_late(
            &pantry.wait_for(&receipt, Pantry::SEEN, SOON).await
        ));
    }
    store.let_go();
    let receipt = named.update(jar, is_full).await.unwrap();
    pantry
        .wait_for(&receipt, Pantry::SEEN, TIMEOUT)
        .await
        .unwrap();
    assert!(has_seen(&pantry, written.position));
}

/// Jars in one log, the shelf in another.
async fn with_two_logs(runner: Runner) -> (Shared, Shared, RunningSystem<Pantry>) {
    let jars = store();
    let shelves = store();

    let stores = Stores::shared(Arc::clone(&jars)).with("shelves", Arc::clone(&shelves));
    (jars, shelves, Pantry::start(stores, runner).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_waited_for_in_its_own_log() {
    for runner in RUNNERS {
        let (jars, shelves, pantry) = with_two_logs(runner()).await;
        for _ in 0..3 {
            write(&pantry).await;
        }
        pantry.wait_until_caught_up().await.unwrap();
        let of_shelves = async || {
            let mut shelf = Root::<Shelf>::create(ShelfEvent::Built);
            pantry.shelves.app.save(&mut shelf).await.unwrap()
        };
        jars.hold_back(jars.newest_position().await.unwrap());
        let of_jars = write(&pantry).await;
        let receipt = of_shelves().await;

        assert_eq!(
            (of_jars.log, receipt.log),
            (jars.log_id(), shelves.log_id())
        );
        pantry
            .wait_for(&receipt, Pantry::SEEN, TIMEOUT)
            .await
            .expect("the other log does not matter");
        pantry
            .wait_for(&receipt, Pantry::SHELVES, TIMEOUT)
            .await
            .expect("it does not follow this log at all");
        assert!(is_late(
            &pantry.wait_for(&of_jars, Pantry::SEEN, SOON).await
        ));
        jars.let_go();
        pantry
            .wait_for(&of_jars, Pantry::SEEN, TIMEOUT)
            .await
            .unwrap();

        shelves.hold_back(shelves.newest_position().await.unwrap());
        let of_jars = write(&pantry).await;
        let receipt = of_shelves().await;

        pantry
            .wait_for(&of_jars, Pantry::SEEN, TIMEOUT)
            .await
            .expect("the other log does not matter");
        assert!(is_late(
            &pantry.wait_for(&receipt, Pantry::SEEN, SOON).await
        ));
        shelves.let_go();
        pantry
            .wait_for(&receipt, Pantry::SEEN, TIMEOUT)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_receipt_of_an_unknown_log_is_refused() {
    let pantry = start(store(), Runner::concurrent()).await;
    let foreign = Receipt::at(LogId::new(), Position::new(1));
    let error = pantry
        .wait_for(&foreign, Pantry::SEEN, TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(error, SystemError::Invalid { .. }), "{error}");
    assert!(
        error.to_string().contains(&foreign.log.to_string()),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_an_earlier_release_is_waited_for_in_every_log() {
    let (jars, _, pantry) = with_two_logs(Runner::concurrent()).await;
    for _ in 0..5 {
        write(&pantry).await;
    }
    pantry.wait_until_caught_up().await.unwrap();
    jars.hold_back(jars.newest_position().await.unwrap());
    let written = write(&pantry).await;
    let text = format!("{{\"position\":{},\"command_id\":null}}", written.position);
    let earlier: Receipt = serde_json::from_str(&text).unwrap();
    assert!(is_late(
        &pantry.wait_for(&earlier, Pantry::SEEN, SOON).await
    ));
    jars.let_go();
    pantry
        .wait_for(&earlier, Pantry::SEEN, TIMEOUT)
        .await
        .unwrap();
    assert!(has_seen(&pantry, written.position));
    let far = Receipt {
        position: Position::new(1_000_000),
        ..earlier
    };
    pantry
        .wait_for(&far, Pantry::SEEN, TIMEOUT)
        .await
        .expect("it may be of a longer log");
}
