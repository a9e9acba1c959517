//! `verify` finds each follower that has not processed every event once, names the event, and suspects no other follower.
#![allow(clippy::unwrap_used)]

mod domain;
mod lying_store;

use std::convert::Infallible;

use domain::{Jar, JarEvent, Jars, Pantry, Seen};
use eventsourcing_core::store::{
    Acknowledged, EventStore, LogSlice, MemoryStore, Position, StoredEvent,
};
use eventsourcing_core::system::{EventPlace, Finding, VerifyProgress};
use eventsourcing_core::{
    Application, Policy, RecordedEvent, Root, Runner, RunningSystem, System, SystemBuilder,
    UnitOfWork,
};
use eventsourcing_testing::Seed;
use lying_store::{Flaw, LyingStore, log};

/// A policy that reacts to no event, in any number of partitions.
struct Calm(#[expect(dead_code, reason = "a policy has an application")] Application);

impl From<Application> for Calm {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

impl Policy<Jar> for Calm {
    type Error = Infallible;

    async fn react(&self, _: &RecordedEvent<Jar>, _: &mut UnitOfWork) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A system whose followers process a hundred thousand events quickly.
#[derive(System)]
struct Larder {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Jar))]
    jars: Jars,
    #[application(aggregates(), follows(jars: Jar))]
    calm: Calm,
    #[projection(follows(jars: Jar))]
    seen: Seen,
}

/// A store with this number of events of jars, which no follower has processed yet.
async fn store_with(jars: usize, events_each: usize) -> LyingStore {
    let store = MemoryStore::new();
    let app = Application::new("jars", store.clone());
    for _ in 0..jars {
        let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
        (1..events_each).for_each(|_| jar.record(JarEvent::Added { beans: 1 }));
        app.save(&mut jar).await.unwrap();
    }
    LyingStore::new(store)
}

/// Starts the followers and waits until they have processed all events they get.
async fn caught_up(store: &LyingStore) -> RunningSystem<Pantry> {
    let pantry = Pantry::start(store.clone(), Runner::inline())
        .await
        .unwrap();
    pantry.wait_until_caught_up().await.unwrap();
    pantry
}

fn place(event: &StoredEvent) -> (Position, u64) {
    (event.position, event.version.as_u64())
}

fn places<'a>(events: impl IntoIterator<Item = &'a EventPlace>) -> Vec<(Position, u64)> {
    events
        .into_iter()
        .map(|event| (event.position, event.version.as_u64()))
        .collect()
}

#[tokio::test]
async fn an_event_that_is_dropped_doubled_or_swapped_is_found_and_named_from_each_of_100_seeds() {
    let first = Seed::from_env();
    for number in 0..100 {
        let seed = Seed::new(first.as_u64().wrapping_add(number));
        let mut rng = seed.rng(0);
        for kind in 0..3 {
            let store = store_with(6, 50).await;
            let mut events = log(&store).await;
            // A follower that does not get the last event is not beyond it either: the event is not lost, but still to come.
            events.pop();
            let event = rng.usize(..events.len());
            let other = rng.usize(..events.len() - 1);

            let other = &events[if other < event { other } else { other + 1 }];
            let event = &events[event];
            let flaw = match kind {
                0 => Flaw::Drop,
                1 => Flaw::Double,
                _ => Flaw::SwapFor(Box::new(other.clone())),
            };
            store.break_at(event.position, flaw.clone());
            let pantry = caught_up(&store).await;
            store.be_honest();

            let verification = pantry.verify().await.unwrap();
            assert!(!verification.agrees(), "{seed}: {flaw:?}");
            for follower in &verification.followers {
                let [difference] = &follower.differences[..] else {
                    panic!("{seed}: {flaw:?}: {verification}")
                };
                assert_eq!(
                    (difference.slice, &difference.follower),
                    (LogSlice::of(event.position), &follower.name)
                );
                match (&flaw, &difference.finding) {
                    (Flaw::Drop, Finding::Missing(found))
                    | (Flaw::Double, Finding::Doubled(found)) => {
                        assert_eq!(places(found), [place(event)], "{seed}");
                    }
                    (Flaw::SwapFor(_), Finding::Exchanged(found)) => {
                        let mut found = places(found);
                        let mut both = [place(event), place(other)];

                        found.sort_unstable();
                        both.sort_unstable();
                        assert_eq!(found, both, "{seed}");
                    }
                    _ => panic!("{seed}: {flaw:?}: {verification}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn one_dropped_one_doubled_and_one_swapped_event_in_100_000_are_found_and_named() {
    let store = store_with(20, 5_000).await;
    let events = log(&store).await;
    let dropped = &events[12_345];
    let doubled = &events[54_321];
    let swapped = &events[77_777];
    let other = &events[99_999];

    store.break_at(dropped.position, Flaw::Drop);
    store.break_at(doubled.position, Flaw::Double);
    store.break_at(swapped.position, Flaw::SwapFor(Box::new(other.clone())));
    let larder = Larder::start(store.clone(), Runner::inline())
        .await
        .unwrap();
    store.be_honest();

    let mut told: Vec<VerifyProgress> = Vec::new();
    let verification = larder
        .verify_with(|progress| told.push(progress.clone()))
        .await
        .unwrap();
    for follower in ["calm", "seen"] {
        let of_follower = told
            .iter()
            .filter(|told| told.follower.as_str() == follower);
        let positions: Vec<_> = of_follower.map(|told| told.position).collect();
        assert!(
            positions.is_sorted() && positions.len() > 1,
            "{positions:?}"
        );
        assert_eq!(
            positions.last(),
            told.iter()
                .find(|told| told.follower.as_str() == follower)
                .map(|told| &told.end)
        );
    }
    assert_eq!(verification.followers.len(), 2);
    for follower in &verification.followers {
        assert_eq!(
            (follower.position.as_u64(), follower.events, follower.slices),
            (100_000, 100_000, 10)
        );
        let [first, second, third] = &follower.differences[..] else {
            panic!("{verification}")
        };
        assert!(
            matches!(&first.finding, Finding::Missing(found) if places(found) == [place(dropped)]),
            "{first}"
        );
        assert!(
            matches!(&second.finding, Finding::Doubled(found) if places(found) == [place(doubled)]),
            "{second}"
        );
        let Finding::Replaced { missing, by } = &third.finding else {
            panic!("{third}")
        };
        assert_eq!(
            places([missing, by]),
            [place(swapped), place(other)],
            "another slice was searched"
        );
    }
    let text = verification.to_string();
    let named = format!(
        "calm, positions 10001–20000: Added of Jar {}, version 2346, at position 12346 is missing",
        dropped.stream.id
    );
    assert!(text.contains(&named), "{text}");
    assert!(
        text.contains("seen: 100000 events up to position 100000: 3 differences"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_named_is_counted() {
    let store = store_with(1, 20).await;
    [3, 4, 5]
        .into_iter()
        .for_each(|position| store.break_at(Position::new(position), Flaw::Drop));
    let pantry = caught_up(&store).await;
    store.be_honest();
    let verification = pantry.verify().await.unwrap().to_string();
    assert!(
        verification.contains("shelves, positions 1–10000: of 20 events 3 did not come"),
        "{verification}"
    );

    let store = store_with(1, 20).await;
    [3, 4, 5]
        .into_iter()
        .for_each(|position| store.break_at(Position::new(position), Flaw::Double));
    let pantry = caught_up(&store).await;
    store.be_honest();
    let verification = pantry.verify().await.unwrap().to_string();
    assert!(
        verification.contains("3 events too many came, in addition to 20 events"),
        "{verification}"
    );
}

/// An added event may come from any place, so it is looked for in the whole log.
#[tokio::test]
async fn an_added_event_from_another_slice_is_found() {
    let store = store_with(11, 1_000).await;
    let events = log(&store).await;
    let event = &events[7];
    let stray = &events[10_500];

    store.break_at(event.position, Flaw::Add(Box::new(stray.clone())));
    let larder = Larder::start(store.clone(), Runner::inline())
        .await
        .unwrap();
    store.be_honest();
    let verification = larder.verify().await.unwrap();
    let [calm, _] = &verification.followers[..] else {
        panic!("{verification}")
    };
    let [difference] = &calm.differences[..] else {
        panic!("{verification}")
    };
    assert_eq!(difference.slice, LogSlice::of(event.position));
    let Finding::Stray(found) = &difference.finding else {
        panic!("{verification}")
    };
    assert_eq!(places([found]), [place(stray)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_follower_is_suspected_while_writers_and_followers_work() {
    for partitions in [1, 3] {
        let store = MemoryStore::new();
        let start = || {
            let builder = SystemBuilder::<Larder>::new(store.clone())
                .with_partitions(Larder::CALM, partitions);
            builder
                .with_runner(
                    Runner::concurrent().with_leases(std::time::Duration::from_millis(300)),
                )
                .start()
        };
        let here = start().await.unwrap();
        let there = start().await.unwrap();

        let app = Application::new("jars", store.clone());
        let writers: Vec<_> = (0..4).map(|_| tokio::spawn(write(app.clone()))).collect();
        let mut rounds = 0;
        let mut least = u64::MAX;
        let mut most = 0;

        while !writers.iter().all(tokio::task::JoinHandle::is_finished) || rounds < 20 {
            let verification = [&here, &there][rounds % 2].verify().await.unwrap();
            assert!(verification.agrees(), "{verification}");
            let events = verification.followers[0].events;
            (rounds, least, most) = (rounds + 1, least.min(events), most.max(events));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        here.wait_until_caught_up().await.unwrap();
        let verification = here.verify().await.unwrap();
        assert!(verification.agrees(), "{verification}");
        assert_eq!(verification.followers[0].events, 4 * 5_000);
        assert!(
            least < most,
            "they were at work: {least} events, then {most}"
        );
        assert_eq!(here.seen.0.lock().unwrap().len(), 4 * 5_000);
        here.stop().await.unwrap();
        there.stop().await.unwrap();
    }
}

/// 100 jars of 50 events each.
async fn write(app: Application) {
    for _ in 0..100 {
        let mut jar = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
        (1..50).for_each(|_| jar.record(JarEvent::Added { beans: 1 }));
        app.save(&mut jar).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Slices that all partitions have passed are compared together, the others one by one.
#[tokio::test]
async fn the_partition_that_lost_an_event_is_named() {
    let store = store_with(250, 100).await;
    let events = log(&store).await;
    for lost in [&events[1_234], &events[24_998]] {
        store.break_at(lost.position, Flaw::Drop);
    }
    let builder = SystemBuilder::<Larder>::new(store.clone()).with_partitions(Larder::CALM, 4);
    let larder = builder.with_runner(Runner::inline()).start().await.unwrap();
    store.be_honest();
    let verification = larder.verify().await.unwrap();
    let [calm, seen] = &verification.followers[..] else {
        panic!("{verification}")
    };
    assert_eq!((calm.events, seen.differences.len()), (25_000, 2));
    let partition =
        |event: &StoredEvent| format!("calm:{}/4", event.stream.id.as_u128() as u32 % 4 + 1);
    let lost = [&events[1_234], &events[24_998]];
    let found: Vec<_> = calm
        .differences
        .iter()
        .map(|found| (found.follower.to_string(), &found.finding))
        .collect();
    assert_eq!(found.len(), 2, "{verification}");
    for ((follower, finding), lost) in found.into_iter().zip(lost) {
        assert_eq!(follower, partition(lost));
        assert!(
            matches!(finding, Finding::Missing(missing) if places(missing) == [place(lost)]),
            "{verification}"
        );
    }
}

#[tokio::test]
async fn store_that_is_not_asked_what_an_acknowledged_append_survives_claims_nothing() {
    let silent = LyingStore::new(MemoryStore::new());
    assert_eq!(silent.acknowledged().await.unwrap(), Acknowledged::Unknown);
    let health = caught_up(&silent).await.health().await.unwrap();
    assert_eq!(
        health.acknowledged,
        [(silent.log_id(), Acknowledged::Unknown)].into()
    );
}

#[tokio::test]
async fn store_without_checksums_runs_followers_counts_their_lag_and_refuses_to_be_verified() {
    let store = store_with(3, 4).await;
    let pantry = caught_up(&store).await;
    // Nothing tells the inline runner of an application outside of its system, so its followers lag behind.
    let mut late = Root::<Jar>::create(JarEvent::Filled { beans: 1 });
    late.record([1, 2, 3].map(|beans| JarEvent::Added { beans }));
    let outside = Application::new("jars", store.clone());
    outside.save(&mut late).await.unwrap();

    let counted = lags(&pantry).await;
    store.refuse_audits();
    assert_eq!(lags(&pantry).await, counted);
    assert!(counted.contains(&4), "{counted:?}");

    pantry.wait_until_caught_up().await.unwrap();
    assert!(lags(&pantry).await.iter().all(|lag| *lag == 0));
    let error = pantry.verify().await.unwrap_err().to_string();
    assert!(
        error.contains("neither checksums nor lists of receipts") && error.contains("AuditStore"),
        "{error}"
    );
}

async fn lags(pantry: &RunningSystem<Pantry>) -> Vec<u64> {
    let health = pantry.health().await.unwrap();
    health
        .followers
        .iter()
        .map(|follower| follower.lag)
        .collect()
}
