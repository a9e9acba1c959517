//! Events of a newer release: a follower that does not need them skips them, one that needs them waits for that release, and
//! none skips an event it needs.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use eventsourcing_core::store::{MemoryStore, StoreError};
use eventsourcing_core::system::{FollowerHealth, FollowerState};
use eventsourcing_core::{
    Aggregate, Application, ApplicationError, Id, OnFailure, Policy, Projection, RecordedEvent,
    Root, Runner, RunningSystem, System, UnitOfWork, event,
};
use serde::{Deserialize, Serialize};

const LEASE: Duration = Duration::from_millis(600);

/// The shelf, the same in both releases.
#[derive(Aggregate, Serialize, Deserialize)]
struct Shelf {
    changes: u64,
}

#[event]
impl Shelf {
    fn built() -> Self {
        Self { changes: 0 }
    }
    fn changed(&mut self) {
        self.changes += 1;
    }
}

struct App {
    app: Application,
}

impl From<Application> for App {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl<A: Aggregate> Policy<A> for App {
    type Error = ApplicationError;

    async fn react(
        &self,
        _: &RecordedEvent<A>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        let shelf = work
            .load_or_create(Id::<Shelf>::named("shelf"), || ShelfEvent::Built)
            .await?;
        shelf.record(ShelfEvent::Changed);
        Ok(())
    }
}

#[derive(Default)]
struct Names(Mutex<Vec<&'static str>>);

impl<A: Aggregate> Projection<A> for Names {
    type Error = Infallible;

    async fn project(&self, event: &RecordedEvent<A>) -> Result<(), Infallible> {
        self.0.lock().unwrap().push(event.name());
        Ok(())
    }
}

macro_rules! release {
    ($name:ident, $($events:tt)*) => {
        mod $name {
            #![allow(dead_code, reason = "not every test uses all of it")]
            use super::*;

            #[derive(Aggregate, Debug, Serialize, Deserialize)]
            pub(crate) struct Jar {
                pub(crate) beans: u32,
            }

            #[event]
            impl Jar {
                pub(crate) fn filled(beans: u32) -> Self {
                    Self { beans }
                }
                $($events)*
            }

            #[derive(System)]
            pub(crate) struct Pantry {
                #[application(aggregates(Jar))]
                pub(crate) jars: App,
                #[application(aggregates(Shelf), follows(jars: Jar))]
                pub(crate) shelves: App,
                /// A projection that needs the events that both releases know.
                #[projection(follows(jars: Jar(Filled)))]
                pub(crate) filled: Names,
                #[projection(follows(jars: Jar))]
                pub(crate) all: Names,
            }

            pub(crate) async fn start(store: &MemoryStore, runner: Runner, partitions: u32) -> RunningSystem<Pantry> {
                let builder = Pantry::builder(store.clone()).with_runner(runner);
                let builder = builder.with_on_failure(Pantry::ALL, OnFailure::Park).with_on_failure(Pantry::SHELVES, OnFailure::Stop);
                builder.with_partitions(Pantry::SHELVES, partitions).start().await.unwrap()
            }
        }
    };
}

release! { old, fn added(&mut self, beans: u32) { self.beans += beans; } }

release! { new,
    #[event(version = 2, upcast(from = 1, with = counted))]
    fn added(&mut self, beans: u32, times: u32) { self.beans += beans * times; }
    fn polished(&mut self) {}
}

fn counted(mut old: serde_json::Value) -> serde_json::Value {
    old["times"] = 1.into();
    old
}

/// A jar with two events that the old release does not know.
async fn new_jar(app: &Application) -> Id<new::Jar> {
    use new::JarEvent::{Added, Filled, Polished};
    let mut jar =
        Root::<new::Jar>::create([Filled { beans: 5 }, Polished, Added { beans: 1, times: 2 }]);
    app.save(&mut jar).await.unwrap();
    jar.id()
}

async fn old_jar(app: &Application) {
    let mut jar = Root::<old::Jar>::create([
        old::JarEvent::Filled { beans: 1 },
        old::JarEvent::Added { beans: 1 },
    ]);
    app.save(&mut jar).await.unwrap();
}

fn follower<'a>(followers: &'a [FollowerHealth], name: &str) -> &'a FollowerHealth {
    followers
        .iter()
        .find(|follower| follower.name == *name)
        .unwrap()
}

async fn changes(store: &MemoryStore) -> u64 {
    let shelf = Application::new("shelves", store.clone())
        .find(Id::<Shelf>::named("shelf"))
        .await
        .unwrap();
    shelf.map_or(0, |shelf| shelf.changes)
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .is_ok(),
        "{what} within 30 seconds"
    );
}

#[tokio::test]
async fn an_aggregate_with_an_unknown_event_is_not_loaded_and_the_error_says_why() {
    let app = Application::new("jars", MemoryStore::new());
    let id: Id<old::Jar> = Id::from_uuid(new_jar(&app).await.as_uuid());
    let errors = [
        app.load(id).await.map(drop),
        app.history(id).await.map(drop),
    ];
    for error in errors.map(Result::unwrap_err) {
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            error
                .to_string()
                .contains(&format!("version 2 of Jar {id} cannot be read")),
            "{error}"
        );
        assert!(
            source.contains("unknown event \"Polished\"") && source.contains("newer release"),
            "{source}"
        );
        assert!(
            matches!(error, ApplicationError::Store(StoreError::Newer { .. })),
            "{error:?}"
        );
    }
    assert_eq!(
        app.load_at(id, eventsourcing_core::store::Version::FIRST)
            .await
            .unwrap()
            .beans,
        5
    );
}

#[tokio::test]
async fn who_names_what_it_needs_passes_over_the_rest_and_who_needs_all_waits() {
    let store = MemoryStore::new();
    let pantry = old::start(&store, Runner::inline(), 1).await;
    old_jar(&pantry.jars.app).await;
    new_jar(&pantry.jars.app).await;
    old_jar(&pantry.jars.app).await;
    let health = pantry.health().await.unwrap();
    let state = |name: &str| follower(&health.followers, name).state.to_string();
    assert_eq!(
        (state("filled"), state("all")),
        ("running".into(), "waiting for a newer release".into())
    );
    assert_eq!((*pantry.filled.0.lock().unwrap()).len(), 3);
    assert_eq!(
        *pantry.all.0.lock().unwrap(),
        ["Filled", "Added", "Filled"],
        "nothing is skipped, nothing parked"
    );
    assert!(!health.is_healthy());
    let FollowerState::WaitingForRelease(failure) = &follower(&health.followers, "shelves").state
    else {
        panic!("{health:?}")
    };
    assert!(
        failure.event.starts_with("Polished of Jar") && failure.cause.contains("newer release"),
        "{failure}"
    );
    assert_eq!(changes(&store).await, 3);
    let error = pantry.wait_until_caught_up().await.unwrap_err().to_string();
    assert!(
        error.contains("Polished") && error.contains("newer release"),
        "{error}"
    );
    pantry.stop().await.unwrap();

    // The newer release continues where the older one waits, and each event is processed once.
    let pantry = new::start(&store, Runner::inline(), 1).await;
    pantry.wait_until_caught_up().await.unwrap();
    assert_eq!(changes(&store).await, 7);
    assert_eq!(pantry.all.0.lock().unwrap().len(), 7);
    assert!(pantry.verify().await.unwrap().agrees());
    pantry.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_the_newer_release_takes_over_from_one_that_waits() {
    for partitions in [1, 4] {
        let store = MemoryStore::new();
        let runner = Runner::concurrent().with_leases(LEASE);
        let old = old::start(&store, runner, partitions).await;
        old_jar(&old.jars.app).await;
        old.wait_until_caught_up().await.unwrap();
        for _ in 0..8 {
            new_jar(&old.jars.app).await;
        }
        let waits = || async {
            let followers = old.health().await.unwrap().followers;
            followers.iter().any(|follower| {
                follower.name == *"shelves"
                    && matches!(follower.state, FollowerState::WaitingForRelease(_))
            })
        };
        until("the old release waits", waits).await;
        assert!(
            changes(&store).await >= 2,
            "it has processed the events it knows"
        );

        let new = new::start(&store, runner, partitions).await;
        until("the new release takes over", || async {
            changes(&store).await == 2 + 8 * 3
        })
        .await;
        let is_ready = || async {
            let followers = old.health().await.unwrap().followers;
            followers
                .iter()
                .filter(|follower| follower.name == *"shelves")
                .all(|follower| follower.failure().is_none())
        };
        until("the old release sees that it is done", is_ready).await;
        old_jar(&old.jars.app).await;
        new.wait_until_caught_up().await.unwrap();
        assert_eq!(changes(&store).await, 2 + 8 * 3 + 2);
        assert!(new.verify().await.unwrap().agrees());
        new.stop().await.unwrap();
        old.stop().await.unwrap();
    }
}
