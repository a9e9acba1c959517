//! Names of parts that the system lacks, or that are of another kind.

use std::convert::Infallible;

use eventsourcing_core::{
    Aggregate, Application, DEFAULT_TIMEOUT, Policy, Projection, Receipt, RecordedEvent, RunningSystem, System,
    SystemBuilder, UnitOfWork, event,
};
use serde::{Deserialize, Serialize};

#[derive(Aggregate, Clone, Debug, Serialize, Deserialize)]
struct Door;

#[event]
impl Door {
    fn built() -> Self {
        Self
    }
}

struct Doors;

impl From<Application> for Doors {
    fn from(_: Application) -> Self {
        Self
    }
}

impl Policy<Door> for Doors {
    type Error = Infallible;

    async fn react(&self, _: &RecordedEvent<Door>, _: &mut UnitOfWork) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Default)]
struct Feed;

impl Projection<Door> for Feed {
    type Error = Infallible;

    async fn project(&self, _: &RecordedEvent<Door>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(System)]
struct House {
    #[application(aggregates(Door))]
    doors: Doors,
    #[application(name = "guard", aggregates(), follows(doors: Door))]
    watch: Doors,
    #[projection(follows(doors: Door))]
    feed: Feed,
}

#[derive(System)]
struct Shed {
    #[application(aggregates(Door))]
    doors: Doors,
    #[projection(follows(doors: Door))]
    feed: Feed,
}

async fn names(house: RunningSystem<House>, builder: SystemBuilder<House>, receipt: Receipt) {
    let _ = house.wait_for(&receipt, House::WATCH, DEFAULT_TIMEOUT).await;
    let _ = house.wait_for(&receipt, House::FEED, DEFAULT_TIMEOUT).await;

    // A name that no part has.
    let _ = House::GUARD;

    // A part of another system.
    let _ = house.rebuild(Shed::FEED);

    // A projection has no partitions, and a policy is not rebuilt.
    let _ = builder.with_partitions(House::FEED, 2);
    let _ = house.rebuild(House::WATCH);

    // An application that follows nothing is not waited for.
    let _ = house.parking(House::DOORS);
}

fn main() {}
