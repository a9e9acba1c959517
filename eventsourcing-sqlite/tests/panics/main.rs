//! A panic injected at every call into user code: it concerns only its command or event, it is never silent, and no
//! effect is lost or repeated once its cause is gone.
//!
//! Each test takes all points. `EVENTSOURCING_PANICS=all` also panics once at the second, third … call of each, and
//! takes every configuration of followers; by default a sample of them.
#![allow(clippy::unwrap_used)]

mod commands;
mod followers;
mod points;
mod read_models;
mod shop;

use std::sync::Arc;

use eventsourcing_core::store::{
    Append, CodecId, Expected, FollowerStore, MemoryStore, NewEvent, Version,
};
use eventsourcing_core::{Application, Id, Root};
use eventsourcing_sqlite::SqliteStore;
use jiff::Timestamp;
use points::{POISON, Point, When, unharmed};
use shop::{EachTime, Numbers, Order, OrderEvent, Quantity, Watch};
use tokio::runtime::{Builder, Runtime};

/// Returns `true` if every combination is to be tried.
fn takes_all() -> bool {
    std::env::var("EVENTSOURCING_PANICS").is_ok_and(|which| which == "all")
}

fn whens() -> Vec<When> {
    let once = if takes_all() { 6 } else { 1 };
    std::iter::once(When::Always)
        .chain((0..once).map(When::OnceAfter))
        .collect()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A new store of each kind.
fn stores() -> [(&'static str, Arc<dyn FollowerStore>); 2] {
    [
        ("memory", Arc::new(MemoryStore::new())),
        (
            "sqlite",
            Arc::new(SqliteStore::in_memory().expect("a database in memory")),
        ),
    ]
}

/// An application of the shop's orders.
fn orders(store: impl FollowerStore) -> Application {
    // As in a release build: written data is not read back to check it.
    let app = Application::new("orders", store)
        .with_clock(Watch)
        .with_ids(Numbers)
        .with_read_back(false);
    app.with_snapshots::<Order>(EachTime(Point::SnapshotPolicy))
}

fn placed(quantity: u32) -> OrderEvent {
    OrderEvent::Placed {
        quantity: Quantity(quantity),
    }
}

/// Places an order without a panic, whatever point is armed.
async fn place(app: &Application, quantity: u32) -> Id<Order> {
    let mut order = Root::<Order>::create(placed(quantity));
    unharmed(app.save(&mut order)).await.unwrap();
    order.id()
}

/// Appends the events that an earlier release would have recorded for an order: the poisonous quantity twice, and then
/// once more.
async fn append_former(store: &dyn FollowerStore, order: Id<Order>, after: Version) {
    let former = |name: &str| NewEvent {
        name: name.into(),
        schema_version: 1,
        codec: CodecId(1),
        payload: format!("{{\"amount\":{POISON}}}").into_bytes(),
        metadata: Vec::new(),
    };
    let events = vec![former("Doubled"), former("Added")];
    let append =
        Append::new(Timestamp::now()).with_events(order.stream(), Expected::Exact(after), events);
    store.append(append).await.unwrap();
}

#[test]
fn every_point_is_reached_by_commands_or_by_followers() {
    let of_both = [commands::OF_COMMANDS, followers::OF_FOLLOWERS].concat();
    for point in points::POINTS {
        assert!(of_both.contains(point), "{point:?} is in no list");
    }
}
