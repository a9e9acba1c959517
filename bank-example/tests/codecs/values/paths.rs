//! The paths by which a value comes back.

use std::convert::Infallible;
use std::io::Cursor;
use std::time::Duration;

use eventsourcing::archive;
use eventsourcing::store::{CommandId, FollowerStore, LogQuery, Position, Version};
use eventsourcing::{
    Aggregate, Application, ApplicationError, Due, Id, Policy, Projection, RecordedEvent,
    RunningSystem, System, Timers, UnitOfWork, event,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;
use uuid::Uuid;

use super::shapes::Shape;

/// An aggregate that keeps a value, without snapshots.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
pub(super) struct Good {
    shape: Shape,
    looked_at: u32,
}

#[event]
impl Good {
    fn kept(shape: Shape) -> Self {
        Self {
            shape,
            looked_at: 0,
        }
    }
    fn looked_at(&mut self) {
        self.looked_at += 1;
    }
}

/// The same stream, as the next release reads it, with an upcaster that takes a JSON value.
mod by_value {
    use super::*;

    #[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
    #[aggregate(name = "Good")]
    pub(crate) struct Good {
        pub(super) shape: Shape,
    }

    #[event]
    impl Good {
        #[event(version = 2, upcast(from = 1, with = as_it_is))]
        fn kept(shape: Shape) -> Self {
            Self { shape }
        }
        fn looked_at(&mut self) {}
    }

    fn as_it_is(old: Value) -> Value {
        old
    }
}

/// The same stream, whose upcaster takes the type.
mod by_type {
    use super::*;

    #[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
    #[aggregate(name = "Good")]
    pub(crate) struct Good {
        pub(super) shape: Shape,
    }

    #[event]
    impl Good {
        #[event(version = 2, upcast(from = 1, with = renamed))]
        fn kept(what: Shape) -> Self {
            Self { shape: what }
        }
        fn looked_at(&mut self) {}
    }

    #[derive(Deserialize)]
    struct Old {
        shape: Shape,
    }

    #[derive(Serialize)]
    struct New {
        what: Shape,
    }

    fn renamed(old: Old) -> New {
        New { what: old.shape }
    }
}

/// A copy that a policy has made, with a snapshot at each version.
#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
#[aggregate(snapshot = every(1))]
pub(super) struct Copied {
    shape: Shape,
    due: Option<Shape>,
}

#[event]
impl Copied {
    fn copied(shape: Shape) -> Self {
        Self { shape, due: None }
    }
    fn became_due(&mut self, shape: Shape) {
        self.due = Some(shape);
    }
}

#[derive(Debug)]
pub(super) struct Goods {
    app: Application,
}

impl From<Application> for Goods {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

impl Goods {
    pub(super) async fn keep(&self, shape: &Shape) -> Result<Id<Good>, ApplicationError> {
        let kept = || GoodEvent::Kept {
            shape: shape.clone(),
        };
        Ok(self.app.create(kept).await?.id)
    }
}

/// Copies each value, and a second time by a timer.
#[derive(Debug)]
pub(super) struct Copies {
    app: Application,
}

impl From<Application> for Copies {
    fn from(app: Application) -> Self {
        Self { app }
    }
}

fn copy_of(id: Id<Good>) -> Id<Copied> {
    Id::named(&format!("copy of {id}"))
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Later {
    of: Id<Good>,
    shape: Shape,
}

impl Policy<Good> for Copies {
    type Error = ApplicationError;

    async fn react(
        &self,
        event: &RecordedEvent<Good>,
        work: &mut UnitOfWork,
    ) -> Result<(), ApplicationError> {
        if let GoodEvent::Kept { shape } = &event.payload {
            work.create(
                copy_of(event.aggregate_id),
                CopiedEvent::Copied {
                    shape: shape.clone(),
                },
            );
            let later = Later {
                of: event.aggregate_id,
                shape: shape.clone(),
            };
            work.schedule(event.recorded_at, event.aggregate_id, &later);
        }
        Ok(())
    }
}

impl Timers for Copies {
    type Timer = Later;
    type Error = ApplicationError;

    async fn due(&self, timer: &Due<Later>, work: &mut UnitOfWork) -> Result<(), ApplicationError> {
        let copy = work.load(copy_of(timer.payload.of)).await?;
        copy.record(CopiedEvent::BecameDue {
            shape: timer.payload.shape.clone(),
        });
        Ok(())
    }
}

/// Remembers each value.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<Uuid, Shape>>);

impl Projection<Good> for Memory {
    type Error = Infallible;

    async fn project(&self, event: &RecordedEvent<Good>) -> Result<(), Infallible> {
        if let GoodEvent::Kept { shape } = &event.payload {
            self.0
                .lock()
                .expect("no panic")
                .insert(event.aggregate_id.as_uuid(), shape.clone());
        }
        Ok(())
    }
}

#[derive(Debug, System)]
pub(super) struct Warehouse {
    #[application(aggregates(Good))]
    pub(super) goods: Goods,
    #[application(aggregates(Copied), follows(goods: Good), timers)]
    pub(super) copies: Copies,
    #[projection(follows(goods: Good))]
    pub(super) memory: Memory,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("no")]
struct No {
    because_of: Shape,
}

fn assert_same(path: &str, came_back: &Shape, shape: &Shape) {
    assert_eq!(came_back, shape, "by way of {path}");
    // Zeros have signs, which `PartialEq` does not mind. Sets have no order.
    let one = format!("{came_back:?}");
    let other = format!("{shape:?}");
    if !one.contains("Hash") {
        assert_eq!(one, other, "by way of {path}");
    }
}

/// Checks the paths that need no follower.
pub(super) async fn check_own(system: &RunningSystem<Warehouse>, id: Id<Good>, shape: &Shape) {
    let app = &system.goods.app;
    let look = |path: &'static str| {
        move |good: &Good| {
            assert_same(path, &good.shape, shape);
            GoodEvent::LookedAt
        }
    };
    app.update(id, look("a load for a command"))
        .await
        .expect("it can go on");
    app.update(id, look("the cache"))
        .await
        .expect("it can go on");
    check_stored(app, id, shape).await;
    let command = app.command(CommandId::new());
    let no = |_: &Good| {
        Err::<GoodEvent, _>(No {
            because_of: shape.clone(),
        })
    };
    command
        .once(command.update(id, no))
        .await
        .expect_err("it refuses");
    let kept = command
        .first_answer::<No>()
        .await
        .expect("it can be read")
        .expect("it is kept")
        .expect_err("no");
    assert_same("a kept rejection", &kept.because_of, shape);
}

/// Checks the paths that begin with the stored event.
async fn check_stored(app: &Application, id: Id<Good>, shape: &Shape) {
    let uuid = id.as_uuid();
    assert_same("a load", &app.load(id).await.expect("a good").shape, shape);
    let past = app.load_at(id, Version::FIRST).await.expect("a good");
    assert_same("a load of the past", &past.shape, shape);
    let history = app.history(id).await.expect("a history");
    let Some(GoodEvent::Kept { shape: kept }) = history.first().map(|event| &event.payload) else {
        panic!("{id}")
    };
    assert_same("the history", kept, shape);
    let upcast = app
        .load(Id::<by_value::Good>::from_uuid(uuid))
        .await
        .expect("the next release reads it");
    assert_same("an upcaster of JSON", &upcast.shape, shape);
    let upcast = app
        .load(Id::<by_type::Good>::from_uuid(uuid))
        .await
        .expect("the next release reads it");
    assert_same("an upcaster of the type", &upcast.shape, shape);
}

/// The values that were accepted.
#[derive(Default)]
pub(super) struct Expected(Vec<(Id<Good>, Shape)>);

impl Expected {
    pub(super) fn add(&mut self, id: Id<Good>, shape: Shape) {
        self.0.push((id, shape));
    }

    /// Requires that each value is found on every path.
    pub(super) async fn check_all(&self, system: &RunningSystem<Warehouse>) {
        let settled =
            tokio::time::timeout(Duration::from_secs(600), system.wait_until_caught_up()).await;
        settled
            .expect("in ten minutes")
            .unwrap_or_else(|error| panic!("{error}"));
        let health = system.health().await.expect("health");
        assert!(health.is_healthy(), "{health:?}");
        for (id, shape) in &self.0 {
            check_stored(&system.goods.app, *id, shape).await;
            let copy = system.copies.app.load(copy_of(*id)).await.expect("a copy");
            assert_same("a policy", &copy.shape, shape);
            assert_same("a timer", copy.due.as_ref().expect("it was due"), shape);
            let seen = system
                .memory
                .0
                .lock()
                .expect("no panic")
                .get(&id.as_uuid())
                .cloned();
            assert_same("a projection", &seen.expect("it was seen"), shape);
        }
        self.check_log(system).await;
    }

    async fn check_log(&self, system: &RunningSystem<Warehouse>) {
        let mut after = Position::ZERO;
        let mut found = 0;
        loop {
            let page = system
                .goods
                .app
                .log(LogQuery::after(after).categories(["Good"]))
                .await
                .expect("a page");
            for event in page.decode::<Good>().expect("it can be read") {
                let GoodEvent::Kept { shape: kept } = &event.payload else {
                    continue;
                };
                let shape = self
                    .0
                    .iter()
                    .find(|(id, _)| *id == event.aggregate_id)
                    .map(|(_, shape)| shape);
                assert_same("the log", kept, shape.expect("it was accepted"));
                found += 1;
            }
            if page.ceiling == after {
                break;
            }
            after = page.ceiling;
        }
        assert_eq!(found, self.0.len());
    }
}

pub(super) async fn export(store: impl FollowerStore) -> Vec<u8> {
    let mut archive = Vec::new();
    archive::export::<Warehouse>(store, &mut archive, |_| {})
        .await
        .expect("it is exported");
    archive
}

pub(super) async fn import(store: impl FollowerStore, archive: Vec<u8>) {
    archive::import(store, Cursor::new(archive), |_| {})
        .await
        .expect("it is imported");
}
