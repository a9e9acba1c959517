//! Aggregates that a policy has changed are carried over to the next events without a load, and stale ones change nothing.
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::Arc;

use domain::{Jar, JarEvent, Jars, Shelf, ShelfEvent, shelf};
use eventsourcing_core::store::{FollowerStore, MemoryStore};
use eventsourcing_core::{
    Application, ApplicationError, Id, Policy, RecordedEvent, Runner, RunningSystem, System,
    UnitOfWork,
};
use eventsourcing_testing::{Fault, FaultyStore, Operation};

/// The number of beans of a jar for which the policy only reads the shelf.
const LOOKS: u32 = 1_000;
/// The number for which it also requires beans on the shelf.
const REQUIRES: u32 = 1_001;
/// The number for which it panics if the shelf is empty.
const PANICS: u32 = 1_002;

/// A policy that counts beans on the shelf, and lists the states it has read.
struct Keeper {
    app: Application,
}

impl From<Application> for Keeper {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the shelf is empty")]
    Empty,
    #[error(transparent)]
    App(#[from] ApplicationError),
}

fn list() -> Id<Shelf> {
    Id::named("list")
}

impl Policy<Jar> for Keeper {
    type Error = Refused;

    async fn react(
        &self,
        event: &RecordedEvent<Jar>,
        work: &mut UnitOfWork,
    ) -> Result<(), Refused> {
        let JarEvent::Filled { beans } = event.payload else {
            return Ok(());
        };
        let shelf = work.load_or_create(shelf(), || ShelfEvent::Built).await?;
        if beans < LOOKS {
            shelf.record(ShelfEvent::Changed {
                by: i64::from(beans),
            });
            return Ok(());
        }
        let seen = shelf.beans;
        match beans {
            REQUIRES if seen == 0 => return Err(Refused::Empty),
            PANICS => assert!(seen != 0, "the shelf is empty"),
            _ => {}
        }
        work.load_or_create(list(), || ShelfEvent::Built)
            .await?
            .record(ShelfEvent::Changed { by: seen });
        Ok(())
    }
}

#[derive(System)]
struct Pantry {
    #[application(aggregates(Jar))]
    jars: Jars,

    #[application(aggregates(Shelf), follows(jars: Jar))]
    keeper: Keeper,
}

/// A pantry whose policy processes each jar before the next one is filled.
async fn start() -> (Arc<FaultyStore<MemoryStore>>, RunningSystem<Pantry>) {
    start_on(FaultyStore::new(MemoryStore::new())).await
}

async fn start_on(
    store: FaultyStore<MemoryStore>,
) -> (Arc<FaultyStore<MemoryStore>>, RunningSystem<Pantry>) {
    let store = Arc::new(store);
    let pantry = Pantry::start(Arc::clone(&store), Runner::inline())
        .await
        .unwrap();
    (store, pantry)
}

async fn fill(pantry: &Pantry, beans: u32) {
    let _ = pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans })
        .await
        .unwrap()
        .id;
}

/// Puts beans on the shelf without the policy, as another process would.
async fn change_past(store: &Arc<FaultyStore<MemoryStore>>, by: i64) {
    let app = Application::new("another", Arc::clone(store) as Arc<dyn FollowerStore>);
    app.update(shelf(), |_: &Shelf| ShelfEvent::Changed { by })
        .await
        .unwrap();
}

async fn beans_of(pantry: &Pantry, id: Id<Shelf>) -> (i64, u64) {
    let shelf = pantry.keeper.app.load(id).await.unwrap();
    (shelf.beans, shelf.changes)
}

#[tokio::test]
async fn an_aggregate_that_every_event_changes_is_loaded_once() {
    let (store, pantry) = start().await;
    for beans in 1..=100 {
        fill(&pantry, beans).await;
    }
    assert_eq!(
        store.calls(Operation::Load),
        1,
        "to see that there is no shelf yet"
    );
    assert_eq!(
        store.calls(Operation::ReadStream),
        0,
        "whatever is changed is checked by the append"
    );
    assert_eq!(beans_of(&pantry, shelf()).await, (5_050, 100));
    pantry.stop().await.unwrap();
}

#[tokio::test]
async fn an_aggregate_that_others_have_changed_since_is_loaded_again() {
    let (store, pantry) = start().await;
    for round in 1..=10 {
        fill(&pantry, 1).await;
        change_past(&store, 100).await;
        fill(&pantry, 10).await;
        assert_eq!(
            beans_of(&pantry, shelf()).await,
            (round * 111, round as u64 * 3)
        );
    }
    pantry.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_only_looked_at_is_as_it_is_in_the_store() {
    let (store, pantry) = start().await;
    fill(&pantry, 1).await;
    fill(&pantry, LOOKS).await;
    assert_eq!(beans_of(&pantry, list()).await, (1, 1));
    fill(&pantry, 1).await;
    change_past(&store, 5).await;
    fill(&pantry, LOOKS).await;
    assert_eq!(beans_of(&pantry, list()).await, (1 + 7, 2));
    pantry.stop().await.unwrap();
}

#[tokio::test]
async fn no_failure_comes_of_what_others_have_changed() {
    for jar in [REQUIRES, PANICS] {
        let (store, pantry) = start().await;
        fill(&pantry, 1).await;
        change_past(&store, -1).await;
        fill(&pantry, 0).await;
        change_past(&store, 7).await;
        fill(&pantry, jar).await;
        pantry.wait_until_caught_up().await.unwrap();
        assert_eq!(
            beans_of(&pantry, list()).await,
            (7, 1),
            "not the 0 that the policy has left"
        );
        pantry.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_reply_leaves_nothing_to_the_next_events() {
    let (store, pantry) = start().await;
    fill(&pantry, 1).await;
    // The second jar is filled by the next append, and the shelf is changed by the one after it.
    let appends = store.calls(Operation::Append);
    store.fail_call(Operation::Append, appends + 2, Fault::LostReply);
    fill(&pantry, 2).await;
    fill(&pantry, 3).await;
    pantry.wait_until_caught_up().await.unwrap();
    assert_eq!(beans_of(&pantry, shelf()).await, (6, 3), "each jar once");
    pantry.stop().await.unwrap();
}
