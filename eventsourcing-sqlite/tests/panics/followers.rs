//! Followers: a panic stops, retries or parks its event, as configured; it is visible, and no effect is lost or
//! repeated.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eventsourcing_core::store::{FollowerStore, Version};
use eventsourcing_core::{
    Application, FollowerName, Id, OnFailure, Root, Runner, RunningSystem, Stores,
};
use eventsourcing_sqlite::SqliteStore;
use tokio::time::{sleep, timeout};

use crate::points::{POISON, Point, When, arm, disarm, turn, unharmed};
use crate::shop::{
    EachTime, FOLLOWERS, Mirror, Numbers, Order, Parcel, ParcelEvent, Shop, TIMEOUT, Watch, Weight,
    parcel_of, poisonous_parcel,
};
use crate::{append_former, orders, place, runtime, stores, takes_all, whens};

/// The points that followers reach.
pub(crate) const OF_FOLLOWERS: &[Point] = &[
    Point::DecodeEvent,
    Point::Upcast,
    Point::Split,
    Point::Clock,
    Point::React,
    Point::CreateWithin,
    Point::FoldRecorded,
    Point::EncodeRecorded,
    Point::DecodeLoaded,
    Point::EncodeOwnState,
    Point::OwnSnapshotPolicy,
    Point::TimerKey,
    Point::EncodeTimer,
    Point::DecodeTimer,
    Point::Due,
    Point::ProjectInMemory,
    Point::ProjectInSql,
    Point::ProjectElsewhere,
    Point::ErrorDisplay,
    Point::ErrorDebug,
    Point::ErrorSource,
];

/// The configuration of the shop's followers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    runner: Runner,
    partitions: u32,
    on_failure: OnFailure,
}

impl Way {
    pub(crate) fn new(runner: Runner, on_failure: OnFailure) -> Self {
        Self {
            runner,
            partitions: 1,
            on_failure,
        }
    }
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for runner in [
        Runner::inline(),
        Runner::concurrent(),
        Runner::concurrent().without_leases(),
    ] {
        for partitions in [1, 3] {
            for on_failure in [OnFailure::Stop, OnFailure::Retry, OnFailure::Park] {
                ways.push(Way {
                    runner,
                    partitions,
                    on_failure,
                });
            }
        }
    }
    if !takes_all() {
        // One of each kind of runner, of partitions and of failure handling.
        let way = |runner, partitions, on_failure| Way {
            runner,
            partitions,
            on_failure,
        };
        ways = vec![
            way(Runner::inline(), 1, OnFailure::Stop),
            way(Runner::concurrent(), 1, OnFailure::Park),
            way(Runner::concurrent(), 3, OnFailure::Stop),
            way(Runner::concurrent().without_leases(), 1, OnFailure::Retry),
        ];
    }
    ways
}

/// Stores the parcel that the policy loads for the poisonous order.
async fn store_a_poisonous_parcel(store: Arc<dyn FollowerStore>) {
    let filled = ParcelEvent::Filled {
        weight: Weight(POISON),
    };
    let mut parcel = Root::<Parcel>::with_id(poisonous_parcel(), [ParcelEvent::Packed, filled]);
    unharmed(Application::new("shipping", store).save(&mut parcel))
        .await
        .unwrap();
}

/// A running shop, and the effects that it has had elsewhere.
pub(crate) struct Place {
    pub(crate) shop: RunningSystem<Shop>,
    mirrored: Arc<Mutex<Vec<u32>>>,
    pub(crate) store: Arc<dyn FollowerStore>,
}

impl Place {
    pub(crate) async fn open(store: Arc<dyn FollowerStore>, way: Way) -> Self {
        store_a_poisonous_parcel(Arc::clone(&store)).await;
        let mut stores = Stores::shared(Arc::clone(&store));
        if store.database().is_none() {
            stores = stores.with_read_models(SqliteStore::in_memory().unwrap());
        }
        let mirrored = Arc::default();
        let shop = Shop::builder(stores)
            .with_runner(way.runner)
            .with_clock(Watch)
            .with_ids(Numbers)
            .with_read_back(false)
            .with_partitions(Shop::SHIPPING, way.partitions)
            .with_on_failure_default(way.on_failure)
            .with_application(Shop::ORDERS, |app| {
                app.with_snapshots::<Order>(EachTime(Point::SnapshotPolicy))
            })
            .with_application(Shop::SHIPPING, |app| {
                app.with_snapshots::<Parcel>(EachTime(Point::OwnSnapshotPolicy))
            })
            .with_projection(Shop::MIRROR, Mirror(Arc::clone(&mirrored)));
        Self {
            shop: shop.start().await.unwrap(),
            mirrored,
            store,
        }
    }

    /// Places five orders, each with events after its first; one is poisonous in every way.
    pub(crate) async fn fill(&self) -> Vec<Id<Order>> {
        // This does not use the shop, so an inline runner is not started by commands that are exempt from panics.
        let app = orders(Arc::clone(&self.store));
        let mut placed = Vec::new();
        for quantity in [1, 2, POISON, 3, 4] {
            placed.push(place(&app, quantity).await);
        }
        append_former(&*self.store, placed[2], Version::FIRST).await;
        for (order, quantity) in placed.iter().zip([5, 6, 7, 8, 9]) {
            unharmed(app.update(*order, |order| order.add(quantity)))
                .await
                .unwrap();
        }
        placed
    }

    /// Returns all recorded quantities, sorted.
    fn expected() -> Vec<u32> {
        vec![1, 2, 3, 4, 5, 6, 7, 8, 9, POISON, POISON, POISON, POISON]
    }

    /// Returns the effects: in parcels, by timers, in memory, elsewhere, and in a table.
    async fn effects(&self, placed: &[Id<Order>]) -> [Vec<u32>; 5] {
        let mut filled = Vec::new();
        let mut reminded = Vec::new();
        let mut reported = Vec::new();

        for order in placed {
            for event in self
                .shop
                .shipping
                .app
                .history::<Parcel>(parcel_of(*order))
                .await
                .unwrap()
            {
                match event.payload {
                    ParcelEvent::Packed => {}
                    ParcelEvent::Filled { weight } => filled.push(weight.0),
                    ParcelEvent::Reminded { weight } => reminded.push(weight),
                }
            }
        }
        for row in self
            .shop
            .report
            .0
            .query("SELECT quantity FROM {report}", &[])
            .await
            .unwrap()
        {
            reported.push(u32::try_from(row.get::<i64>("quantity").unwrap()).unwrap());
        }
        let listed = self.shop.list.0.lock().unwrap().clone();
        let mut effects = [
            filled,
            reminded,
            listed,
            self.mirrored.lock().unwrap().clone(),
            reported,
        ];
        effects
            .iter_mut()
            .for_each(|quantities| quantities.sort_unstable());
        effects
    }

    async fn is_complete(&self, placed: &[Id<Order>]) -> bool {
        unharmed(self.effects(placed))
            .await
            .iter()
            .all(|effect| *effect == Self::expected())
    }

    /// Returns when all effects are there, or a failure is visible.
    async fn until_done_or_failing(&self, placed: &[Id<Order>], what: &str) {
        let began = Instant::now();
        loop {
            if let Ok(Err(_)) = timeout(
                Duration::from_millis(100),
                unharmed(self.shop.wait_until_caught_up()),
            )
            .await
            {
                return;
            }
            if self.is_complete(placed).await
                || !unharmed(self.shop.health()).await.unwrap().is_healthy()
            {
                return;
            }
            assert!(
                began.elapsed() < TIMEOUT,
                "{what}: a silent end: {:?}",
                self.effects(placed).await
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Does the work of operators once the cause of failures is gone.
    pub(crate) async fn go_on(&self, what: &str) {
        self.resume_all(what).await;
        for follower in FOLLOWERS {
            let parking = self.shop.parking(FollowerName::new(follower)).unwrap();
            for parked in parking.list().await.unwrap() {
                let retried = parking.retry(&parked.stream).await.unwrap();
                assert!(retried.failure.is_none(), "{what}: {retried:?}");
            }
            for timer in parking.timers().await.unwrap() {
                let failure = parking.retry_timer(&timer.key).await.unwrap();
                assert!(failure.is_none(), "{what}: {failure:?}");
            }
        }
        self.settle(what).await;
    }

    /// Resumes all followers. A partition may still be about to stop, because of an earlier panic.
    async fn resume_all(&self, what: &str) {
        let began = Instant::now();
        loop {
            for follower in FOLLOWERS {
                self.shop.resume(FollowerName::new(follower)).await.unwrap();
            }
            match timeout(TIMEOUT, unharmed(self.shop.wait_until_caught_up())).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => assert!(began.elapsed() < TIMEOUT, "{what}: {error}"),
                Err(_) => panic!(
                    "{what}: it does not settle: {:#?}",
                    self.shop.health().await
                ),
            }
        }
    }

    pub(crate) async fn settle(&self, what: &str) {
        match timeout(TIMEOUT, unharmed(self.shop.wait_until_caught_up())).await {
            Ok(settled) => settled.unwrap_or_else(|error| panic!("{what}: {error}")),
            Err(_) => panic!(
                "{what}: it does not settle: {:#?}",
                self.shop.health().await
            ),
        }
    }
}

#[test]
fn a_panic_in_a_follower_is_seen_and_nothing_is_lost_or_repeated() {
    let _turn = turn();
    let mut fired = Vec::new();
    for &point in OF_FOLLOWERS {
        for way in ways() {
            for when in whens() {
                for (kind, store) in stores() {
                    let what = format!("{point:?}, {when:?}, {kind}, {way:?}");
                    if runtime().block_on(follow(store, way, point, when, &what)) {
                        fired.push(point);
                    }
                }
            }
        }
    }
    for point in OF_FOLLOWERS {
        assert!(fired.contains(point), "{point:?} was never reached");
    }
}

async fn follow(
    store: Arc<dyn FollowerStore>,
    way: Way,
    point: Point,
    when: When,
    what: &str,
) -> bool {
    let place = Place::open(store, way).await;
    arm(point, when);
    let placed = place.fill().await;
    place.until_done_or_failing(&placed, what).await;
    // A clock belongs to no event.
    if way.on_failure == OnFailure::Park && point != Point::Clock {
        place.others_went_on(&placed, what).await;
    }
    let fired = disarm();
    place.go_on(what).await;
    let effects = place.effects(&placed).await;
    assert!(
        effects.iter().all(|effect| *effect == Place::expected()),
        "{what}: {effects:?}"
    );
    place.until_healthy(what).await;
    let verification = place.shop.verify().await.unwrap();
    assert!(verification.agrees(), "{what}: {verification}");
    let stopped = timeout(TIMEOUT, place.shop.stop()).await;
    stopped
        .unwrap_or_else(|_| panic!("{what}: it does not stop"))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    fired > 0
}

impl Place {
    /// Waits for followers that failed after their work was done, and retry a moment later.
    async fn until_healthy(&self, what: &str) {
        let began = Instant::now();
        loop {
            let health = self.shop.health().await.unwrap();
            if health.is_healthy() {
                return;
            }
            assert!(began.elapsed() < TIMEOUT, "{what}: {health:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asserts that a parked event holds up no other.
    async fn others_went_on(&self, placed: &[Id<Order>], what: &str) {
        self.settle(what).await;
        let others: Vec<_> = Self::expected()
            .into_iter()
            .filter(|quantity| ![POISON, 7].contains(quantity))
            .collect();
        for mut effect in unharmed(self.effects(placed)).await {
            effect.retain(|quantity| ![POISON, 7].contains(quantity));
            assert_eq!(effect, others, "{what}");
        }
    }
}
