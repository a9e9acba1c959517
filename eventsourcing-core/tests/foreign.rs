//! Foreign projections: the target gets each event at least once, in order, with its position, by which it recognises
//! repetitions.
#![allow(clippy::unwrap_used)]

mod domain;

use std::sync::{Arc, Mutex};

use domain::{Jar, JarEvent, Jars};
use eventsourcing_core::store::{EventStore, FollowerStore, MemoryStore, Position};
use eventsourcing_core::{
    Id, Projection, RecordedEvent, Runner, RunningSystem, System, SystemBuilder,
};
use eventsourcing_testing::{FaultRates, FaultyStore, Seed};

/// A target that outlives the process, such as a search engine.
#[derive(Default)]
struct Engine {
    /// Everything that was sent.
    sent: Vec<Position>,
    /// The events that an idempotent target keeps: it ignores events at or before its last position.
    taken: Vec<(Position, u32)>,
}

struct Search(Arc<Mutex<Engine>>);

impl Projection<Jar> for Search {
    type Error = std::convert::Infallible;

    async fn project(&self, event: &RecordedEvent<Jar>) -> Result<(), Self::Error> {
        let mut engine = self.0.lock().unwrap();
        engine.sent.push(event.position);
        if engine
            .taken
            .last()
            .is_none_or(|(last, _)| *last < event.position)
        {
            let (JarEvent::Filled { beans }
            | JarEvent::Added { beans }
            | JarEvent::Taken { beans }) = event.payload;
            engine.taken.push((event.position, beans));
        }
        Ok(())
    }
}

#[derive(System)]
struct Pantry {
    #[application(aggregates(Jar))]
    jars: Jars,
    #[projection(foreign, follows(jars: Jar))]
    search: Search,
}

async fn start(store: impl FollowerStore, engine: &Arc<Mutex<Engine>>) -> RunningSystem<Pantry> {
    let builder = Pantry::builder(store).with_runner(Runner::inline());
    builder
        .with_projection(Pantry::SEARCH, Search(Arc::clone(engine)))
        .start()
        .await
        .unwrap()
}

async fn fill(pantry: &Pantry, beans: u32) -> Id<Jar> {
    pantry
        .jars
        .app
        .create(|| JarEvent::Filled { beans })
        .await
        .unwrap()
        .id
}

#[tokio::test]
async fn it_goes_on_where_it_stopped_when_the_process_is_another() {
    let store = Arc::new(MemoryStore::new());
    let engine = Arc::default();

    for beans in 1..=3 {
        let pantry = start(Arc::clone(&store), &engine).await;
        fill(&pantry, beans).await;
        pantry.wait_until_caught_up().await.unwrap();
        pantry.stop().await.unwrap();
    }
    let engine = engine.lock().unwrap();
    assert_eq!(
        engine.sent,
        [1, 2, 3].map(Position::new),
        "nothing is sent twice without need"
    );
    assert_eq!(
        engine
            .taken
            .iter()
            .map(|(_, beans)| *beans)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[test]
fn what_is_sent_twice_has_the_position_it_had_and_nothing_is_left_out() {
    let mut twice = 0;
    for seed in (0..50).map(Seed::new) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        twice += runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let engine = Arc::default();

            let mut random = seed.rng(0);
            for _ in 0..5 {
                let rates = FaultRates {
                    unavailable: 0.05,
                    ..FaultRates::default()
                };
                let store = FaultyStore::new(Arc::clone(&store))
                    .with_rates(Seed::new(random.u64(..)), rates);
                let store = store.with_crash_in(random.u64(1..60));
                work(store, &engine).await;
            }
            let pantry = start(Arc::clone(&store), &engine).await;
            pantry.wait_until_caught_up().await.unwrap();
            let head = store.head().await.unwrap().as_u64();
            let engine = engine.lock().unwrap();
            let taken: Vec<_> = engine
                .taken
                .iter()
                .map(|(position, _)| position.as_u64())
                .collect();
            assert_eq!(taken, (1..=head).collect::<Vec<_>>(), "{seed}");
            engine.sent.len() - taken.len()
        });
    }
    assert!(
        twice > 0,
        "no fault ever came between the target and the step"
    );
}

/// Runs a process that fills jars until it crashes.
async fn work(store: FaultyStore<Arc<MemoryStore>>, engine: &Arc<Mutex<Engine>>) {
    let builder = Pantry::builder(store).with_runner(Runner::inline());
    let Ok(pantry) = builder
        .with_projection(Pantry::SEARCH, Search(Arc::clone(engine)))
        .start()
        .await
    else {
        return;
    };
    for beans in 0..20 {
        let filled = pantry.jars.app.create(|| JarEvent::Filled { beans }).await;
        if filled.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_not_handed_over_is_asked_for() {
    let refused = async |builder: SystemBuilder<Pantry>| {
        builder
            .start()
            .await
            .map(drop)
            .expect_err("it is put together wrongly")
            .to_string()
    };
    let builder = || Pantry::builder(MemoryStore::new());
    let missing = refused(builder()).await;
    assert!(
        missing.contains("pass it to the builder: builder(…).with_projection(\"search\", …)"),
        "{missing}"
    );
    let other_type = refused(builder().with_projection(Pantry::SEARCH, 7)).await;
    assert!(
        other_type.contains("another type than the system declares"),
        "{other_type}"
    );
    let search = || Search(Arc::default());
    let unknown = refused(
        builder()
            .with_projection(Pantry::SEARCH, search())
            .with_projection(eventsourcing_core::ProjectionName::new("reserch"), search()),
    )
    .await;
    assert!(
        unknown.contains("no follower \"reserch\"; it has search"),
        "{unknown}"
    );
}
